import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from softcell.curvature import diagonal_fisher, load_fisher, save_fisher
from softcell.errors import FormatError, InputError
from softcell.weights.tensor_file import write_tensors


class TinyNetwork(nn.Module):
    """A convolution, a normalisation with buffers and a classifier: 57 parameters."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 2)
        self.norm = nn.BatchNorm2d(3)
        self.linear = nn.Linear(12, 3)

    def forward(self, x):
        x = torch.tanh(self.norm(self.conv(x)))
        return self.linear(x.flatten(1))


class TiedLanguageModel(nn.Module):
    """Logits (batch, positions, 5) whose embedding is also the output matrix."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.mix = nn.Linear(4, 4)
        self.output = nn.Linear(4, 5, bias=False)
        self.output.weight = self.embedding.weight

    def forward(self, tokens):
        return self.output(torch.tanh(self.mix(self.embedding(tokens))))


def filled(module, seed, scale=0.7):
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.data = scale * torch.randn(parameter.shape, generator=generator)
    return module.eval()


def exact_fisher(module, images):
    """F_ii = mean over predictions of sum_jk J_ji (diag(p) - p p^T)_jk J_ki, by the Jacobian."""
    weights = dict(module.named_parameters())

    def logits(values):
        return torch.func.functional_call(module, values, (images,)).flatten(0, -2)

    jacobian = torch.func.jacrev(logits)(weights)
    p = logits(weights).softmax(dim=1)
    metric = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    result = {}
    for name, j in jacobian.items():
        flat = j.flatten(2)
        full = torch.einsum("nji,njk,nki->i", flat, metric, flat) / len(p)
        result[name] = full.reshape(j.shape[2:]).detach().numpy()
    return result


def images_of(count, seed=0):
    return torch.randn(count, 1, 3, 3, generator=torch.Generator().manual_seed(seed))


def flat(fisher, names):
    return np.concatenate([fisher[name].ravel() for name in names])


@pytest.mark.parametrize("batch", [1, 4])
def test_fisher_agrees_with_the_explicit_jacobian(batch):
    module = filled(TinyNetwork(), seed=1)
    images = images_of(4)
    exact = exact_fisher(module, images)
    # 2000 squared gradients; each has a relative standard deviation of sqrt(2) when it is
    # Gaussian, so 3.2 % on their mean: five of those allowed for any weight, and 3 % on the sum.
    repeats = 500 * batch
    fisher = diagonal_fisher(module, images.repeat(repeats, 1, 1, 1), seed=5, batch=batch)
    estimate, truth = flat(fisher, exact), flat(exact, exact)
    live = truth > 1e-6 * truth.max()
    assert live.mean() > 0.9
    assert np.abs(estimate[live] / truth[live] - 1).max() < 0.2
    assert estimate.sum() == pytest.approx(truth.sum(), rel=0.04)


def test_fisher_predicts_the_divergence_of_a_small_perturbation():
    module = filled(TinyNetwork(), seed=2).double()
    images = images_of(16, seed=3).double()
    exact = exact_fisher(module, images)
    fisher = diagonal_fisher(module, images.repeat(100, 1, 1, 1), seed=0)
    sizes = {"conv.weight": 1e-3, "norm.weight": 3e-4, "linear.weight": 5e-4, "linear.bias": 2e-3}
    generator = torch.Generator().manual_seed(4)
    before = functional.log_softmax(module(images), dim=1).detach()
    original = {name: p.detach().clone() for name, p in module.named_parameters()}
    divergences = []
    for _ in range(400):
        changed = dict(original)
        for name, size in sizes.items():
            sign = torch.randint(0, 2, original[name].shape, generator=generator) * 2 - 1
            changed[name] = original[name] + size * sign
        logits = torch.func.functional_call(module, changed, (images,))
        after = functional.log_softmax(logits, dim=1)
        divergences.append(float((before.exp() * (before - after)).sum(dim=1).mean()))
    measured = np.mean(divergences)
    error = np.std(divergences) / math.sqrt(len(divergences))
    for source, extra in ((exact, 0.0), (fisher, 0.1)):
        predicted = 0.5 * sum(source[name].sum() * size**2 for name, size in sizes.items())
        assert abs(predicted - measured) < 4 * error + 0.01 * measured + extra * measured


def test_fisher_of_a_language_model_is_per_position_and_shared_by_tied_weights():
    module = filled(TiedLanguageModel(), seed=6)
    tokens = torch.randint(0, 5, (3, 4), generator=torch.Generator().manual_seed(0))
    exact = exact_fisher(module, tokens)
    fisher = diagonal_fisher(module, tokens.repeat(1500, 1), seed=1)
    assert set(fisher) == {"embedding.weight", "mix.weight", "mix.bias", "output.weight"}
    np.testing.assert_array_equal(fisher["output.weight"], fisher["embedding.weight"])
    for name, truth in exact.items():
        assert fisher[name].shape == truth.shape
        assert fisher[name].sum() == pytest.approx(truth.sum(), rel=0.1)


def test_sparse_embedding_gradients_count_like_dense_ones():
    dense, sparse = nn.Embedding(5, 3), nn.Embedding(5, 3, sparse=True)
    sparse.load_state_dict(dense.state_dict())
    tokens = torch.tensor([[0], [3], [3]])
    a = diagonal_fisher(nn.Sequential(dense, nn.Flatten()), tokens, seed=0)
    b = diagonal_fisher(nn.Sequential(sparse, nn.Flatten()), tokens, seed=0)
    np.testing.assert_allclose(a["0.weight"], b["0.weight"], rtol=1e-6)
    assert (a["0.weight"][[1, 2, 4]] == 0).all()
    assert (a["0.weight"][[0, 3]] > 0).all()


def test_the_module_is_left_as_it_was():
    module = filled(TinyNetwork(), seed=1)
    module.train()
    module.linear.eval()
    module.linear.bias.requires_grad_(False)
    module.conv.weight.grad = torch.ones_like(module.conv.weight)
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    random_state = torch.get_rng_state()
    fisher = diagonal_fisher(module, images_of(8), seed=0)
    assert module.training
    assert module.norm.training
    assert not module.linear.training
    assert not module.linear.bias.requires_grad
    assert (module.conv.weight.grad == 1).all()
    assert module.linear.weight.grad is None
    assert torch.equal(torch.get_rng_state(), random_state)
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, state[name]), name
    # Frozen parameters have a Fisher all the same; buffers have none.
    assert set(fisher) == {name for name, _ in module.named_parameters()}
    assert fisher["linear.bias"].dtype == np.float32
    assert (fisher["linear.bias"] > 0).all()


def test_the_mode_is_restored_after_an_error():
    module = TinyNetwork().train()
    with pytest.raises(RuntimeError):
        diagonal_fisher(module, torch.zeros(2, 7, 3, 3), seed=0)
    assert module.training


def test_the_seed_decides():
    module = filled(TinyNetwork(), seed=1)
    one, same, other = (diagonal_fisher(module, images_of(8), seed=s) for s in (0, 0, 1))
    for name in one:
        np.testing.assert_array_equal(one[name], same[name])
    assert (one["linear.weight"] != other["linear.weight"]).any()


def test_threads_do_not_change_a_bit():
    module, threads, results = filled(TinyNetwork(), seed=1), torch.get_num_threads(), []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            results.append(diagonal_fisher(module, images_of(8), seed=0))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    for name, values in results[0].items():
        np.testing.assert_array_equal(values, results[1][name])


def test_progress_is_told():
    calls = []
    diagonal_fisher(
        filled(TinyNetwork(), seed=1), images_of(6), seed=0, progress=lambda *c: calls.append(c)
    )
    assert calls == [("calibration inputs", 4, 6), ("calibration inputs", 6, 6)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": torch.zeros(0, 1, 3, 3)}, "images must"),
        ({"batch": 0}, "batch must be at least 1, got 0"),
        ({"seed": -1}, "seed must"),
        ({"module": nn.Flatten(0)}, "logits of shape"),
        ({"module": nn.Flatten(1)}, "by a gradient"),
        ({"images": torch.full((4, 1, 3, 3), torch.nan)}, "not finite"),
    ],
)
def test_bad_arguments_are_named(change, message):
    arguments = {"module": TinyNetwork(), "images": images_of(4), "seed": 0} | change
    module, images = arguments.pop("module"), arguments.pop("images")
    with pytest.raises(InputError, match=message):
        diagonal_fisher(module, images, **arguments)


def test_a_fisher_survives_its_file(tmp_path):
    fisher = {"a.weight": np.array([[0.0, 1e-30], [2.5, 7.0]], np.float32)}
    save_fisher(tmp_path / "f.safetensors", fisher)
    restored = load_fisher(tmp_path / "f.safetensors")
    assert list(restored) == ["a.weight"]
    np.testing.assert_array_equal(restored["a.weight"], fisher["a.weight"])


def test_files_that_hold_no_fisher_are_refused(tmp_path):
    write_tensors(tmp_path / "weights", {"w": np.ones(2, np.float32)}, {})
    with pytest.raises(FormatError, match="no diagonal Fisher"):
        load_fisher(tmp_path / "weights")
    save_fisher(tmp_path / "negative", {"w": np.array([-1.0], np.float32)})
    with pytest.raises(FormatError, match="negative or infinite"):
        load_fisher(tmp_path / "negative")
    with pytest.raises(InputError, match="is not a file"):
        load_fisher(tmp_path / "absent")
