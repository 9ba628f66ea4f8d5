import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from softcell.curvature import layer_curvatures


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def by_unfold(conv, x):
    """Second moments of the patches of a 2-d convolution by torch's own im2col."""
    pad, stride, dilation = conv.padding, conv.stride, conv.dilation
    patches = functional.unfold(x, conv.kernel_size, dilation, pad, stride)
    patches = patches.reshape(len(x), conv.groups, -1, patches.shape[-1]).double()
    return (torch.einsum("ngip,ngjp->gij", patches, patches) / len(x)).numpy()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"padding": 1, "stride": 2},
        {"padding": (2, 1), "dilation": (2, 1), "kernel_size": (2, 3)},
        {"groups": 2, "padding": 1},
        {"groups": 4, "out_channels": 8},
    ],
)
def test_input_moments_are_those_of_the_patches(options):
    conv = nn.Conv2d(**({"in_channels": 4, "out_channels": 6, "kernel_size": 3} | options))
    x = random(7, 4, 6, 5)
    layer = layer_curvatures(nn.Sequential(conv, nn.Flatten()), x, seed=0, kind="inputs")
    layer = layer["0.weight"]
    np.testing.assert_allclose(layer.covariance, by_unfold(conv, x), rtol=1e-5, atol=1e-5)
    assert layer.rows.shape == (conv.out_channels,)
    assert len(np.unique(layer.rows)) == conv.groups


@pytest.mark.parametrize(("make", "shape"), [(nn.Conv1d, (9,)), (nn.Conv3d, (4, 5, 4))])
@pytest.mark.filterwarnings("ignore:Using padding=.same.")
@pytest.mark.parametrize("mode", ["same", "circular"])
def test_input_moments_predict_the_change_of_the_outputs(make, shape, mode):
    """sum_r dW_r C dW_r^T is the squared change of the outputs, whatever the convolution is."""
    padding = {"padding": "same"} if mode == "same" else {"padding": 2, "padding_mode": mode}
    conv = make(4, 6, 2, groups=2, **padding)
    x = random(5, 4, *shape)
    module = nn.Sequential(conv, nn.Flatten())
    layer = layer_curvatures(module, x, seed=0, kind="inputs")["0.weight"]
    change = random(*conv.weight.shape, seed=3)
    with torch.no_grad():
        before = conv(x)
        conv.weight += change
        moved = float((conv(x) - before).square().sum()) / len(x)
    d = layer.matrix(change.numpy()).reshape(2, 3, -1)
    assert np.einsum("gri,gij,grj->", d, layer.covariance, d) == pytest.approx(moved, rel=1e-4)


def test_attention_projections_see_query_key_and_value():
    attention = nn.MultiheadAttention(8, 2, batch_first=True)

    class Crossed(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = attention

        def forward(self, x):
            return self.attention(x, 2 * x[:, :3], 3 * x[:, :3])[0]

    x = random(6, 5, 8)
    layers = layer_curvatures(Crossed(), x, seed=0, kind="inputs")
    for group, each in enumerate((x, 2 * x[:, :3], 3 * x[:, :3])):
        flat = each.reshape(-1, 8).numpy()
        expected = flat.T @ flat / 6
        covariance = layers["attention.in_proj_weight"].covariance[group]
        np.testing.assert_allclose(covariance, expected, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        weight, bias = attention.out_proj.weight.clone(), attention.out_proj.bias.clone()
        attention.out_proj.weight.copy_(torch.eye(8))
        attention.out_proj.bias.zero_()
        seen = Crossed()(x).reshape(-1, 8).numpy()
        attention.out_proj.weight.copy_(weight)
        attention.out_proj.bias.copy_(bias)
    out = layers["attention.out_proj.weight"].covariance[0]
    np.testing.assert_allclose(out, seen.T @ seen / 6, rtol=1e-4, atol=1e-5)


def test_layers_that_pad_by_themselves_are_seen_as_they_compute():
    class Padded(nn.Conv2d):
        def forward(self, input):
            return super().forward(functional.pad(input, (0, 1, 0, 1)))

    conv, x = Padded(2, 3, 3, stride=2), random(4, 2, 6, 6)
    found = layer_curvatures(nn.Sequential(conv, nn.Flatten()), x, seed=0, kind="inputs")
    expected = by_unfold(conv, functional.pad(x, (0, 1, 0, 1)))
    np.testing.assert_allclose(found["0.weight"].covariance, expected, rtol=1e-5, atol=1e-5)
