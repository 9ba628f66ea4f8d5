import copy

import pytest
import torch
from torch import nn

from softcell.errors import InputError
from softcell.feedback import correct_drift
from softcell.training import Distillation, DriftCorrected, NoisyStorage, StoredWeights


@pytest.fixture
def clean():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(
            *(nn.Conv2d(2, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU()),
            *(nn.Conv2d(6, 5, 3, bias=False), nn.BatchNorm2d(5, affine=False), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(20, 4, bias=False), nn.BatchNorm1d(4)),
        )
        for part in network:
            if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d)):
                part.running_mean.uniform_(-0.2, 0.2)
                part.running_var.uniform_(0.5, 2)
                if part.affine:
                    nn.init.uniform_(part.weight, 0.5, 2)
                    nn.init.uniform_(part.bias, -1, 1)
    return network.eval()


@pytest.fixture
def images():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return torch.rand(64, 2, 6, 6)


def noisy(clean):
    """Return a network whose matrices came back with noise and drift, in training mode."""
    storage = lambda name, _: NoisyStorage(0.4, gain=0.8, seed=1, label=name)  # noqa: E731
    state = StoredWeights(copy.deepcopy(clean), storage).state()
    module = copy.deepcopy(clean)
    module.load_state_dict({name: torch.from_numpy(values) for name, values in state.items()})
    return module.train(), state


def test_it_is_what_correction_makes_of_the_stored_network(clean, images):
    module, state = noisy(clean)
    DriftCorrected(module, clean)
    given = module(images).detach()
    corrected = correct_drift(clean, state, images)
    stored = copy.deepcopy(clean)
    stored.load_state_dict({n: torch.from_numpy(v) for n, v in (state | dict(corrected)).items()})
    with torch.no_grad():
        torch.testing.assert_close(given, stored(images), rtol=1e-4, atol=1e-4)
        assert (given - clean(images)).abs().max() > 0.05
    # Batches differ from what the statistics say; only the drift against the float network counts.
    torch.testing.assert_close(given.mean(0), clean(images).mean(0).detach(), rtol=1e-4, atol=1e-4)


def test_nothing_changes_where_nothing_has_drifted(clean, images):
    module = copy.deepcopy(clean).train()
    DriftCorrected(module, clean)
    torch.testing.assert_close(module(images), clean(images), rtol=1e-4, atol=1e-4)


def test_the_float_network_teaches_without_a_pass_of_its_own(clean, images):
    module, _ = noisy(clean)
    corrected = DriftCorrected(module, clean)
    labels, outputs = torch.zeros(64, dtype=torch.int64), module(images)
    loss = corrected.distillation(2.0)(outputs, images, labels)
    assert torch.equal(loss, Distillation(clean, temperature=2.0)(outputs, images, labels))
    loss.backward()
    assert all(each.grad is not None for each in module.parameters())
    assert all(each.grad is None for each in clean.parameters())


def test_evaluation_and_what_was_removed_are_left_alone(clean, images):
    module, _ = noisy(clean)
    trained = copy.deepcopy(module)(images)
    still = copy.deepcopy(module).eval()(images)
    corrected = DriftCorrected(module, clean)
    assert torch.equal(module.eval()(images), still)
    corrected.remove()
    module.load_state_dict(noisy(clean)[0].state_dict())
    assert torch.equal(module.train()(images), trained)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in clean.modules())


def test_the_networks_must_have_the_same_normalisations(clean):
    with pytest.raises(InputError, match="of the same normalisations"):
        DriftCorrected(clean, clean[:3])
    with pytest.raises(InputError, match="of the same normalisations"):
        DriftCorrected(nn.Linear(1, 1), nn.Linear(1, 1))
