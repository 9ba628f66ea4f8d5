import itertools
from functools import partial

import numpy as np
import pytest
import torch
from safetensors import safe_open

from softcell.errors import InputError
from softcell.evaluate.models import TASKS
from softcell.evaluate.networks import (
    BatchNorm,
    CifarResNet,
    DigitsCNN,
    LeNet5,
    LeNet300,
    MobileNetV1Quarter,
    MobileNetV2,
    SqueezeNet,
    with_weights,
)
from softcell.evaluate.networks.mobilenet import SamePadConv
from softcell.evaluate.small_networks import initial_weights
from softcell.streams import Stream

# Counts of the data README and of the literature (Han et al. 2015: 267 k and 431 k).
NETWORKS = [
    (partial(CifarResNet, 20), 271_098, (3, 32, 32), 10),
    (partial(CifarResNet, 32), 466_426, (3, 32, 32), 10),
    (partial(CifarResNet, 56), 857_082, (3, 32, 32), 10),
    (LeNet300, 266_610, (1, 28, 28), 10),
    (LeNet5, 431_080, (1, 28, 28), 10),
    (DigitsCNN, 15_578, (1, 8, 8), 10),
    (SqueezeNet, 1_235_496, (3, 224, 224), 1000),
    (MobileNetV2, 3_487_816, (3, 224, 224), 1000),
    (MobileNetV1Quarter, 475_544, (3, 224, 224), 1000),
]
SHARED = [
    (model.network, model.weights)
    for model in itertools.chain.from_iterable(models.values() for models in TASKS.values())
    if model.weights
]


@pytest.mark.parametrize(("network", "count", "image", "classes"), NETWORKS)
def test_networks_have_their_published_size_and_outputs(network, count, image, classes):
    state = initial_weights(network, Stream.of(0, "test"))
    assert sum(array.size for array in state.values()) == count
    module = with_weights(network, state)
    with torch.inference_mode():
        logits = module(torch.zeros(2, *image))
    assert logits.shape == (2, classes)


@pytest.mark.parametrize(("network", "name"), SHARED)
def test_tensors_bear_the_names_and_shapes_of_the_shared_files(data, network, name):
    with torch.device("meta"):
        ours = {name: list(tensor.shape) for name, tensor in network().state_dict().items()}
    with safe_open(data / name, framework="numpy") as file:
        theirs = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    assert ours == theirs


def test_batch_norm_is_that_of_torch():
    generator = torch.Generator().manual_seed(0)
    ours, theirs = BatchNorm(3, eps=1e-3), torch.nn.BatchNorm2d(3, eps=1e-3)
    state = {
        name: torch.rand(3, generator=generator) + 0.5
        for name in ("weight", "bias", "running_mean", "running_var")
    }
    ours.load_state_dict(state)
    theirs.load_state_dict(state | {"num_batches_tracked": torch.tensor(0)})
    x = torch.randn(5, 3, 4, 4, generator=generator)
    for training in (True, False):  # the first changes the statistics that the second uses
        torch.testing.assert_close(ours.train(training)(x), theirs.train(training)(x))
    torch.testing.assert_close(ours.running_var, theirs.running_var)


@pytest.mark.parametrize("stride", [1, 2])
def test_same_padding_is_that_of_tensorflow(stride):
    # TensorFlow: out = ceil(n / s), total padding (out - 1) s + k - n, its lesser half before.
    size, kernel = 8, 3
    out = -(-size // stride)
    before = ((out - 1) * stride + kernel - size) // 2
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 1, size, size, generator=generator)
    conv = SamePadConv(1, 1, stride=stride, groups=1, bias=False)
    y = conv(x)[0, 0].detach().numpy()
    assert y.shape == (out, out)
    taps = conv.weight[0, 0].detach().numpy()
    padded = np.zeros((size + 4, size + 4), np.float32)
    padded[before : before + size, before : before + size] = x[0, 0]
    for row, column in itertools.product(range(out), repeat=2):
        top, left = row * stride, column * stride
        window = padded[top : top + kernel, left : left + kernel]
        assert y[row, column] == pytest.approx((window * taps).sum(), abs=1e-5)


def test_the_shortcut_pads_channels_before_and_after():
    network = CifarResNet(8)
    block = network.layer2[0].eval()
    with torch.no_grad():
        block.conv2.weight.zero_()  # only the shortcut is left
        x = torch.rand(1, 16, 4, 4)
        y = block(x)
    torch.testing.assert_close(y[:, 8:24], x[:, :, ::2, ::2], rtol=1e-4, atol=1e-4)
    assert (y[:, :8] == 0).all()
    assert (y[:, 24:] == 0).all()


def test_depths_that_no_resnet_has_are_refused():
    with pytest.raises(InputError, match="got 21"):
        CifarResNet(21)


def test_loading_copies_and_draws_nothing():
    state = initial_weights(LeNet300, Stream.of(0, "test"))
    before = torch.get_rng_state()
    module = with_weights(LeNet300, state)
    assert torch.equal(torch.get_rng_state(), before)
    assert not module.training
    assert all(parameter.requires_grad for parameter in module.parameters())
    with torch.no_grad():
        module.fc1.weight.zero_()
    assert state["fc1.weight"].any()


def test_loading_takes_other_number_types():
    state = initial_weights(LeNet300, Stream.of(0, "test"))
    state["fc1.weight"] = state["fc1.weight"].astype(np.float16)
    state["fc2.bias"] = np.full(100, 3, np.int8)
    state["fc3.bias"] = np.full(10, 1e300)
    module = with_weights(LeNet300, state)
    assert module.fc1.weight.dtype == torch.float32
    assert (module.fc2.bias == 3).all()
    assert torch.isinf(module.fc3.bias).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fc3.bias": None}, "'fc3.bias' of shape .* is missing"),
        ({"fc3.bias": np.zeros(11)}, r"'fc3.bias' must have shape \(10,\), got \(11,\)"),
        ({"fc4.bias": np.zeros(10)}, "'fc4.bias' is not part"),
        ({"fc3.bias": np.array(["a"] * 10)}, "'fc3.bias' must hold real numbers"),
        ({"fc3.bias": np.ones(10, complex)}, "'fc3.bias' must hold real numbers"),
    ],
)
def test_wrong_tensors_are_named(change, message):
    state = initial_weights(LeNet300, Stream.of(0, "test")) | change
    with pytest.raises(InputError, match=message):
        with_weights(LeNet300, {k: v for k, v in state.items() if v is not None})
