import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from softcell.curvature import diagonal_fisher, layer_curvatures
from softcell.curvature import layer as layers_of
from softcell.errors import InputError


class Grouped(nn.Module):
    """Grouped and depthwise convolutions and a classifier."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 6, 3, groups=2)
        self.depthwise = nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.linear = nn.Linear(24, 5)

    def forward(self, x):
        x = self.depthwise(torch.tanh(self.conv(x)))
        return self.linear(torch.tanh(x).flatten(1))


class Tied(nn.Module):
    """A language model with attention, whose embedding is also its output matrix."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(7, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.output = nn.Linear(8, 7, bias=False)
        self.output.weight = self.embedding.weight

    def forward(self, tokens):
        x = self.embedding(tokens)
        return self.output(x + self.attention(x, x, x, need_weights=False)[0])


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def filled(module, seed=1, scale=0.5):
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.data = scale * torch.randn(parameter.shape, generator=generator)
    return module.eval()


def tokens_of(count):
    return torch.randint(0, 6, (count, 5), generator=torch.Generator().manual_seed(0))


NETWORKS = {
    "grouped": (Grouped, random(16, 4, 4, 4)),
    "tied": (Tied, tokens_of(16)),
}


@pytest.mark.parametrize("network", NETWORKS)
def test_the_diagonal_is_that_of_the_diagonal_fisher(network):
    make, images = NETWORKS[network]
    module = filled(make())
    layers = layer_curvatures(module, images, seed=3)
    fisher = diagonal_fisher(module, images, seed=3)
    assert set(layers) == {name for name, values in fisher.items() if values.ndim > 1}
    for name, layer in layers.items():
        for each in filter(None, (layer, layer.across)):
            squares = each.matrix(fisher[name])
            np.testing.assert_allclose(each.rows, squares.mean(axis=1), rtol=1e-5)
            by_group = squares.reshape(each.groups, -1, each.columns).mean(axis=1)
            diagonal = np.diagonal(each.covariance, axis1=1, axis2=2)
            np.testing.assert_allclose(diagonal, by_group, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("kind", ["fisher", "inputs"])
def test_covariances_are_symmetric_and_positive_semidefinite(network, kind):
    make, images = NETWORKS[network]
    for layer in layer_curvatures(filled(make()), images, seed=0, kind=kind).values():
        for matrix in layer.covariance:
            np.testing.assert_array_equal(matrix, matrix.T)
            values = np.linalg.eigvalsh(matrix.astype(np.float64))
            assert values[0] > -1e-5 * values[-1]
            assert values[-1] > 0
        by_group = layer.rows.reshape(layer.groups, -1).mean(axis=1)
        trace = np.trace(layer.covariance, axis1=1, axis2=2) / layer.columns
        np.testing.assert_allclose(by_group, trace, rtol=1e-4)


def test_a_softmax_regression_has_the_covariance_of_the_formula():
    """E_x sum_r (diag(p) - p p^T)_rr x x^T / classes; joined, E_x (diag(p) - p p^T) (x) x x^T."""
    module = filled(nn.Linear(6, 4, bias=False))
    x = random(10, 6, seed=2)
    with torch.no_grad():
        p = module(x).softmax(dim=1)
        metric = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
        variance = metric.diagonal(dim1=1, dim2=2)
        expected = torch.einsum("nr,ni,nj->ij", variance, x, x) / (len(x) * 4)
        rows = (variance * x.square().mean(dim=1, keepdim=True)).mean(dim=0)
        joined = torch.einsum("nrs,ni,nj->risj", metric, x, x).reshape(24, 24) / len(x)
    layer = layer_curvatures(module, x.repeat(2000, 1), seed=0)["weight"]
    # 5,000 batches; a product of two Gaussian numbers has a relative deviation of at most about
    # sqrt(2 / 5000) = 2 % of sqrt(C_ii C_jj): five of those.
    scale = np.sqrt(np.outer(expected.diagonal(), expected.diagonal()))
    assert np.abs((layer.covariance[0] - expected.numpy()) / scale).max() < 0.1
    assert np.abs(expected.numpy() / scale - np.eye(6)).max() > 0.3  # far from diagonal
    np.testing.assert_allclose(layer.rows, rows, rtol=0.1)
    assert layer.across.covariance.shape == (1, 24, 24)
    scale = np.sqrt(np.outer(joined.diagonal(), joined.diagonal()))
    assert np.abs((layer.across.covariance[0] - joined.numpy()) / scale).max() < 0.1


def test_the_covariance_predicts_the_divergence_of_a_change_in_one_row():
    module = filled(nn.Linear(6, 4, bias=False)).double()
    x = random(12, 6, seed=2).double()
    layer = layer_curvatures(module, x.repeat(1000, 1), seed=1)["weight"]
    with torch.no_grad():
        before = functional.log_softmax(module(x), dim=1)
        change = 1e-3 * random(4, 6, seed=5).double()
        total = predicted = 0.0
        for r in range(4):
            moved = module.weight.clone()
            moved[r] += change[r]
            after = functional.log_softmax(x @ moved.T, dim=1)
            total += float((before.exp() * (before - after)).sum(dim=1).mean())
            d = change[r].numpy()
            share = layer.rows[r] / layer.rows.mean()
            predicted += 0.5 * share * float(d @ layer.covariance[0] @ d)
    # The rows' covariances differ in more than their size, so that this is no equality.
    assert predicted == pytest.approx(total, rel=0.25)


def test_joined_outputs_know_that_a_common_shift_of_the_logits_does_nothing():
    module = filled(nn.Linear(6, 4, bias=False))
    layer = layer_curvatures(module, random(4000, 6), seed=1)["weight"]
    assert layer.across.matrix(np.zeros((4, 6))).shape == (1, 24)
    shift = random(1, 6, seed=5).expand(4, 6).numpy()

    def loss(change):
        d = layer.across.matrix(change)[0]
        return float(d @ layer.across.covariance[0] @ d)

    turned = shift * np.array([[1], [-1], [1], [-1]], np.float32)
    assert loss(shift) < 0.08 * loss(turned)
    apart = np.einsum("ri,ij,rj->", shift, layer.covariance[0], shift)
    assert apart > 0.1 * loss(turned)  # row by row that cannot be seen


def test_what_outputs_have_to_do_with_each_other_by_chance_is_left_out():
    """Outputs that are independent in truth, on few images: nearly nothing between them remains."""

    class Independent(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(8, 3))

        def forward(self, x):
            choices = (x[:, :, None] * self.weight[None].mT).sum(dim=1)  # 8 binary choices
            return torch.stack([choices, torch.zeros_like(choices)], dim=2)

    def between(images):
        covariance = layer_curvatures(Independent(), images, seed=0, batch=1)["weight"].across
        blocks = covariance.covariance[0].reshape(8, 3, 8, 3).swapaxes(1, 2)
        own = np.eye(8, dtype=bool)
        return np.square(blocks[~own]).sum() / np.square(blocks[own]).sum()

    # Unshrunk it would be about 7 outputs over 40 images.
    assert between(random(40, 3, seed=9)) < 0.02
    assert between(torch.zeros(1, 3) + 1) == 0  # a single batch says nothing


def test_a_grouped_convolution_is_its_groups_side_by_side():
    whole = nn.Conv2d(4, 6, 3, groups=2, bias=False)
    halves = [nn.Conv2d(2, 3, 3, bias=False) for _ in range(2)]
    for half, weight in zip(halves, whole.weight.data.chunk(2)):
        half.weight.data = weight.clone()

    class Apart(nn.Module):
        def __init__(self):
            super().__init__()
            self.halves = nn.ModuleList(halves)

        def forward(self, x):
            parts = [half(part) for half, part in zip(self.halves, x.chunk(2, dim=1))]
            return torch.cat(parts, dim=1).flatten(1)

    x = random(10, 4, 5, 5)
    for kind in ("fisher", "inputs"):
        one = layer_curvatures(nn.Sequential(whole, nn.Flatten()), x, seed=4, kind=kind)
        two = layer_curvatures(Apart(), x, seed=4, kind=kind)
        for group in range(2):
            part = two[f"halves.{group}.weight"]
            covariance = one["0.weight"].covariance[group]
            np.testing.assert_allclose(covariance, part.covariance[0], rtol=1e-3, atol=1e-6)
            rows = one["0.weight"].rows.reshape(2, 3)[group]
            np.testing.assert_allclose(rows, part.rows, rtol=1e-4)


def test_a_tied_matrix_sums_what_its_uses_give():
    module = filled(Tied())
    tokens = tokens_of(12)
    layers = layer_curvatures(module, tokens, seed=0)
    assert layers["embedding.weight"] is layers["output.weight"]
    assert layers["attention.in_proj_weight"].covariance.shape == (3, 8, 8)
    moments = layer_curvatures(module, tokens, seed=0, kind="inputs")
    with torch.no_grad():
        x = module.embedding(tokens)
        y = (x + module.attention(x, x, x)[0]).flatten(0, 1).numpy()
    counts = np.bincount(tokens.flatten(), minlength=7) / len(tokens)
    expected = y.T @ y / len(tokens) + np.eye(8) * counts.mean()
    tied = moments["embedding.weight"]
    np.testing.assert_allclose(tied.covariance[0], expected, rtol=1e-4, atol=1e-5)
    # Rows differ by how often their word is looked up.
    np.testing.assert_allclose(tied.rows - tied.rows[6], counts, atol=1e-4)


def test_input_moments_leave_outputs_and_module_alone():
    module = filled(Tied()).train()
    tokens, outputs = tokens_of(8), []
    module.register_forward_hook(lambda _module, _inputs, result: outputs.append(result))
    layer_curvatures(module, tokens, seed=0, batch=8, kind="inputs")
    assert module.training
    with torch.no_grad():
        expected = module.eval()(tokens)
    torch.testing.assert_close(outputs[0], expected)


@pytest.mark.parametrize("kind", ["fisher", "inputs"])
def test_wide_matrices_are_cut_into_blocks(monkeypatch, kind):
    module = filled(nn.Linear(12, 3, bias=False))
    x = random(8, 12)
    whole = layer_curvatures(module, x, seed=0, kind=kind)["weight"]
    monkeypatch.setattr(layers_of, "WIDEST", 8)
    monkeypatch.setattr(layers_of, "_BLOCK", 4)
    cut = layer_curvatures(module, x, seed=0, kind=kind)["weight"]
    assert cut.covariance.shape == (3, 4, 4)
    assert cut.rows.shape == (9,)
    for block in range(3):
        part = slice(4 * block, 4 * block + 4)
        expected = whole.covariance[0, part, part]
        np.testing.assert_allclose(cut.covariance[block], expected, rtol=1e-4, atol=1e-7)
    if kind == "fisher":
        squares = cut.matrix(diagonal_fisher(module, x, seed=0)["weight"])
        np.testing.assert_allclose(cut.rows, squares.mean(axis=1), rtol=1e-5)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("kind", ["fisher", "inputs"])
def test_the_result_is_the_same_on_any_number_of_threads(network, kind):
    make, images = NETWORKS[network]
    module, results, threads = filled(make()), [], torch.get_num_threads()
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            results.append(layer_curvatures(module, images, seed=0, kind=kind))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    one, other = results
    for name in one:
        np.testing.assert_array_equal(one[name].covariance, other[name].covariance)
        np.testing.assert_array_equal(one[name].rows, other[name].rows)


def test_the_seed_decides():
    module, images = filled(Grouped()), random(8, 4, 4, 4)
    one, same, other = (layer_curvatures(module, images, seed=s) for s in (0, 0, 1))
    np.testing.assert_array_equal(one["conv.weight"].covariance, same["conv.weight"].covariance)
    assert (one["conv.weight"].covariance != other["conv.weight"].covariance).any()


def test_weights_that_nothing_depends_on_have_no_curvature():
    class Idle(nn.Linear):
        def __init__(self):
            super().__init__(3, 2)
            self.unused = nn.Parameter(torch.ones(4, 5))

    layers = layer_curvatures(Idle(), random(4, 3), seed=0)
    assert not layers["unused"].covariance.any()
    assert "unused" not in layer_curvatures(Idle(), random(4, 3), seed=0, kind="inputs")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "hessian"}, "fisher, inputs, got 'hessian'"),
        ({"batch": 0}, "batch must be at least 1, got 0"),
        ({"batch": 0, "kind": "inputs"}, "batch must be at least 1, got 0"),
        ({"images": torch.zeros(0, 3), "kind": "inputs"}, "images must"),
        ({"images": torch.full((4, 3), torch.inf), "kind": "inputs"}, "finite"),
    ],
)
def test_bad_arguments_of_curvatures_are_named(change, message):
    arguments = {"images": random(4, 3), "seed": 0} | change
    with pytest.raises(InputError, match=message):
        layer_curvatures(nn.Linear(3, 2), arguments.pop("images"), **arguments)
