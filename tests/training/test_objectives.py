import numpy as np
import pytest
import torch
from torch import nn

from softcell.errors import InputError
from softcell.training import CrossEntropy, Distillation, Mixture

X = torch.tensor([[1.0, 2.0], [0.5, -1.0]])
LABELS = torch.tensor([0, 2])
OUTPUTS = torch.tensor([[0.2, -0.4, 1.0], [2.0, 0.1, 0.3]])


def teacher():
    layer = nn.Linear(2, 3)
    layer.weight.data = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, -0.5]])
    nn.init.zeros_(layer.bias)
    return layer


def softmax(logits):
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def test_cross_entropy():
    q = softmax(OUTPUTS.double().numpy())
    expected = -np.mean([np.log(q[0, 0]), np.log(q[1, 2])])
    assert CrossEntropy()(OUTPUTS, X, LABELS).item() == pytest.approx(expected, rel=1e-6)
    smooth = 0.7 * expected - 0.3 * np.log(q).mean()
    assert CrossEntropy(0.3)(OUTPUTS, X, LABELS).item() == pytest.approx(smooth, rel=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_distillation_is_the_divergence_from_the_teacher(temperature):
    network = teacher()
    logits = network(X).detach().double().numpy()
    p, q = softmax(logits / temperature), softmax(OUTPUTS.double().numpy() / temperature)
    expected = temperature**2 * (p * np.log(p / q)).sum(axis=1).mean()
    objective = Distillation(network, temperature=temperature)
    assert objective(OUTPUTS, X, LABELS).item() == pytest.approx(expected, rel=1e-5)
    assert objective(network(X), X, LABELS).item() == pytest.approx(0, abs=1e-6)


def test_the_teacher_is_a_frozen_copy():
    network = teacher().train()
    objective = Distillation(network)
    before = objective(OUTPUTS, X, LABELS).item()
    nn.init.ones_(network.weight)
    assert objective(OUTPUTS, X, LABELS).item() == before
    outputs = OUTPUTS.clone().requires_grad_()
    objective(outputs, X, LABELS).backward()
    assert outputs.grad is not None
    (kept,) = objective.teachers
    assert all(each.grad is None for each in kept.parameters())
    assert not kept.training


def test_of_several_teachers_the_mean_probabilities_are_taught():
    first, second = teacher(), teacher()
    second.weight.data = torch.tensor([[0.0, -1.0], [2.0, 0.5], [0.0, 1.0]])
    logits = [each(X).detach().double().numpy() for each in (first, second)]
    p = sum(softmax(each / 2) for each in logits) / 2
    q = softmax(OUTPUTS.double().numpy() / 2)
    expected = 4 * (p * np.log(p / q)).sum(axis=1).mean()
    objective = Distillation(first, second, temperature=2.0)
    assert objective(OUTPUTS, X, LABELS).item() == pytest.approx(expected, rel=1e-5)


def test_mixture():
    parts = CrossEntropy(), Distillation(teacher(), temperature=2.0)
    losses = [part(OUTPUTS, X, LABELS).item() for part in parts]
    mixed = Mixture([(0.25, parts[0]), (2.0, parts[1])])(OUTPUTS, X, LABELS).item()
    assert mixed == pytest.approx(0.25 * losses[0] + 2 * losses[1], rel=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda: CrossEntropy(1.0),
        lambda: Distillation(teacher(), temperature=0.0),
        lambda: Distillation(),
        lambda: Mixture([]),
        lambda: Mixture([(-1.0, CrossEntropy())]),
    ],
)
def test_bad_arguments(make):
    with pytest.raises(InputError):
        make()
