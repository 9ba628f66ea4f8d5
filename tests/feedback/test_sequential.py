"""Sequential storage: each layer makes up for what the stored layers before it have moved."""

from __future__ import annotations

import copy
import threading

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from softcell.errors import InputError
from softcell.feedback import correct_drift
from softcell.feedback.input_drift import refitted
from softcell.feedback.lockstep import handed_over
from softcell.feedback.matrix_calls import MatrixCall
from softcell.feedback.sequential import SequentialWrite
from softcell.streams import Stream


def filled(module, seed=0, spread=0.4):
    """Give a network weights, and statistics that are not those of any images."""
    for name, tensor in module.state_dict().items():
        values = torch.from_numpy(Stream.of(seed, name).normal(tensor.numel()))
        values = spread * values.reshape(tensor.shape)
        tensor.copy_(values.exp() if name.endswith("running_var") else values)
    return module.eval()


def state_of(module):
    return {name: tensor.numpy().copy() for name, tensor in module.state_dict().items()}


def images(count=64, shape=(3, 8, 8), seed=2):
    numbers = Stream.of(seed, "images").normal(count * int(np.prod(shape)))
    return torch.from_numpy(numbers).reshape(count, *shape)


class Noise:
    """A memory that adds the same noise to a tensor whatever its wanted values, and remembers."""

    def __init__(self, share=0.3, seed=1):
        self.share, self.seed = share, seed
        self.wanted, self.seen = {}, {}

    def __call__(self, name, wanted):
        assert name not in self.wanted
        assert wanted.dtype == np.float32
        noise = Stream.of(self.seed, name).normal(wanted.size).reshape(wanted.shape)
        self.wanted[name] = wanted.copy()
        self.seen[name] = wanted + np.float32(self.share * wanted.std()) * noise
        return self.seen[name]


def loaded(module, state):
    result = copy.deepcopy(module)
    result.load_state_dict({name: torch.from_numpy(np.array(a)) for name, a in state.items()})
    return result


def error(module, state, x):
    """Return the mean squared change of the outputs."""
    with torch.no_grad():
        return float((loaded(module, state)(x) - module(x)).square().mean())


class Convolutions(nn.Module):
    """Plain, depthwise and grouped convolutions, normalisations, biases, a classifier."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding="same", groups=8)
        self.grouped = nn.Conv2d(8, 12, 3, stride=2, padding=1, groups=2)
        self.linear = nn.Linear(12, 5)

    def forward(self, x):
        x = functional.relu6(self.bn(self.first(x)))
        x = functional.relu(self.grouped(functional.relu(self.depthwise(x))))
        return self.linear(x.mean((2, 3)))


def mlp():
    return nn.Sequential(
        nn.Flatten(), nn.Linear(48, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 8)
    )


class Attention(nn.Module):
    """An embedding tied to the output matrix, an attention, a layer used twice."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(11, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.twice = nn.Linear(8, 8)
        self.once = nn.Linear(8, 8)
        self.output = nn.Linear(8, 11, bias=False)
        self.output.weight = self.embedding.weight

    def forward(self, x):
        x = self.embedding(x)
        x = x + self.attention(x, x, x)[0]
        x = x + functional.relu(self.twice(functional.relu(self.twice(x))))
        return self.output(x + functional.gelu(self.once(x)))


CASES = {
    "convolutions": (Convolutions, images(96)),
    "mlp": (mlp, images(256, (3, 4, 4))),
    "attention": (Attention, (images(64, (6,)).abs() * 4).long().clamp(max=10)),
}


@pytest.mark.parametrize("case", CASES)
def test_a_memory_without_errors_leaves_everything_as_it_is(case):
    make, x = CASES[case]
    module = filled(make())
    state, memory = state_of(module), Noise(share=0)
    corrected = SequentialWrite(module, x)(state, memory)
    assert memory.wanted.keys() == {name for name, array in state.items() if array.ndim > 1}
    for name, array in {**memory.seen, **corrected}.items():
        np.testing.assert_allclose(array, state[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", ["convolutions", "mlp"])
def test_the_shift_brings_the_outputs_closer(case):
    make, x = CASES[case]
    module = filled(make())
    state = state_of(module)
    errors = []
    for share in (0, 0.5, 1):
        sums = 0.0
        for seed in range(4):
            memory = Noise(seed=seed)
            corrected = SequentialWrite(module, x[::2], share=share)(state, memory)
            sums += error(module, {**state, **memory.seen, **corrected}, x[1::2])
        errors.append(sums)
    assert errors[1] < errors[0]
    assert errors[2] < 0.8 * errors[0]


@pytest.mark.parametrize("case", CASES)
def test_vectors_are_those_of_drift_correction(case):
    make, x = CASES[case]
    module = filled(make())
    state = state_of(module)
    for share in (0, 1):
        memory = Noise()
        corrected = SequentialWrite(module, x, share=share)(state, memory)
        expected = correct_drift(module, {**state, **memory.seen}, x)
        assert corrected.keys() == expected.keys()
        for name, array in expected.items():
            assert corrected[name].dtype == np.float32
            np.testing.assert_allclose(corrected[name], array, rtol=1e-4, atol=1e-5)
        if share == 0:
            for name, wanted in memory.wanted.items():
                np.testing.assert_array_equal(wanted, state[name])


def test_only_a_matrix_of_one_use_in_a_layer_is_shifted():
    make, x = CASES["attention"]
    module = filled(make())
    state, memory = state_of(module), Noise()
    state["elsewhere"] = np.eye(3, dtype=np.float32)
    SequentialWrite(module, x)(state, memory)
    moved = {name for name, wanted in memory.wanted.items() if (wanted != state[name]).any()}
    assert moved == {"once.weight"}
    assert list(memory.wanted)[-1] == "once.weight"
    assert {"elsewhere", "embedding.weight", "output.weight"} <= memory.wanted.keys()


def test_a_linear_change_of_the_inputs_is_undone():
    """W* = W A^-1 where the stored network's inputs are A x: the sign and the side matter."""
    module = filled(nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 3, bias=False)))
    state, wanted = state_of(module), {}
    change = np.eye(4, dtype=np.float32) + np.float32(0.3) * np.eye(4, k=1, dtype=np.float32)

    def store(name, array):
        wanted[name] = array
        return change @ array if name == "0.weight" else array

    SequentialWrite(module, images(200, (4,)), damping=1e-9, share=1)(state, store)
    expected = state["1.weight"] @ np.linalg.inv(change)
    np.testing.assert_allclose(wanted["1.weight"], expected, atol=1e-4)
    SequentialWrite(module, images(200, (4,)), damping=1e-9, share=0.25)(state, store)
    expected = 0.25 * expected + 0.75 * state["1.weight"]
    np.testing.assert_allclose(wanted["1.weight"], expected, atol=1e-4)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv2d(4, 6, 3, stride=2, padding=1, dilation=2, groups=2, bias=False), (4, 9, 7)),
        (nn.Conv1d(4, 4, 4, padding="same", groups=4, bias=False), (4, 11)),
        (nn.Conv3d(2, 3, 2, bias=False), (2, 4, 3, 5)),
        (nn.Linear(6, 3, bias=False), (5, 6)),
    ],
)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
def test_the_fit_is_ridge_regression_on_the_windows_of_the_layer(layer, shape):
    """Against the normal equations of the outputs themselves, by automatic differentiation."""
    layer, x, damping = filled(layer).double(), images(12, shape).double(), 0.1
    calls = []

    class Record(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            if any(each is layer.weight for each in args):
                calls.append(MatrixCall(func, *args, **(kwargs or {})))
            return func(*args, **(kwargs or {}))

    with Record(), torch.no_grad():
        output = layer(x)
    (call,) = [call for call in calls if isinstance(call.input, torch.Tensor)]
    torch.testing.assert_close(call(), output)
    target = output + images(1, output.shape, seed=5)[0].double()
    fitted = refitted(
        call, target, share=1, damping=damping, positions=10**6, stream=Stream.of(0, "x")
    )

    # Stationary: half the gradient of the squared error = ridge times the way back.
    def run(weight):
        return torch.func.functional_call(layer, {"weight": weight}, (x,))

    fitted.requires_grad_()
    (gradient,) = torch.autograd.grad(0.5 * (run(fitted) - target).square().sum(), fitted)
    # A unit weight of the first output of a group brings its column's energy to light.
    energies = []
    with torch.no_grad():
        for place in range(0, fitted.numel(), fitted.numel() // call.groups):
            units = torch.eye(fitted.numel()).double()[place : place + fitted[0].numel()]
            energies.append(sum(run(unit.reshape(fitted.shape)).square().sum() for unit in units))
    ridge = damping * torch.stack(energies) / fitted[0].numel()
    ridge = ridge.repeat_interleave(len(fitted) // call.groups)
    back = layer.weight - fitted
    expected = ridge.reshape(-1, *(1,) * (fitted.ndim - 1)) * back
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-4)
    assert back.abs().mean() > 0.01


def test_a_sample_of_the_positions_does_nearly_as_well():
    module, x = filled(Convolutions()), images(96)
    state = state_of(module)
    wanted = {}
    for positions in (20, 1200, 40_000):
        memory = Noise()
        SequentialWrite(module, x, positions=positions)(state, memory)
        wanted[positions] = memory.wanted["depthwise.weight"]
    few, many = (np.square(wanted[n] - wanted[40_000]).mean() for n in (20, 1200))
    moved = np.square(wanted[40_000] - state["depthwise.weight"]).mean()
    assert 0 < many < 0.3 * moved
    assert few > moved


def test_the_result_depends_on_the_seed_alone():
    module, x = filled(Convolutions()), images(32)
    state, results = state_of(module), []
    threads = torch.get_num_threads()
    before = state_of(module)
    for seed in (3, 3, 4):
        memory = Noise()
        corrected = SequentialWrite(module, x, positions=300, seed=seed)(state, memory)
        results.append({**memory.wanted, **corrected})
    for name, array in results[0].items():
        np.testing.assert_array_equal(array, results[1][name])
    assert (results[0]["grouped.weight"] != results[2]["grouped.weight"]).any()
    assert torch.get_num_threads() == threads
    for name, array in state_of(module).items():
        np.testing.assert_array_equal(array, before[name])


def test_inputs_that_are_always_zero_change_nothing():
    module = filled(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)))
    module[0].bias.data.fill_(-100)
    memory = Noise()
    state = state_of(module)
    SequentialWrite(module, images(20, (4,)))(state, memory)
    np.testing.assert_array_equal(memory.wanted["2.weight"], state["2.weight"])


def test_half_precision_networks_and_progress():
    module = filled(mlp()).to(torch.bfloat16)
    state = {name: tensor.float().numpy() for name, tensor in module.state_dict().items()}
    calls = []
    x = images(32, (3, 4, 4)).to(torch.bfloat16)
    SequentialWrite(module, x)(state, Noise(), progress=lambda *done: calls.append(done))
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_what_store_or_the_module_raises_comes_through_and_ends_both_networks():
    module, x = filled(mlp()), images(16, (3, 4, 4))

    def full(name, wanted):
        if name == "3.weight":
            raise RuntimeError("the memory is full")
        return wanted

    running = threading.active_count()
    with pytest.raises(RuntimeError, match="the memory is full"):
        SequentialWrite(module, x)(state_of(module), full)

    def broken(*_):
        raise ZeroDivisionError("broken")

    for fails_at in (1, 2, 3):  # while uses are counted, in the float and in the stored network
        count = iter(range(1, 9))
        hook = module[4].register_forward_hook(
            lambda *_, count=count, at=fails_at: broken() if next(count) == at else None
        )
        with pytest.raises(ZeroDivisionError, match="broken"):
            SequentialWrite(module, x)(state_of(module), Noise())
        hook.remove()
    assert threading.active_count() == running


def test_one_computation_rests_while_the_other_works():
    log = []

    def run(hand):
        try:
            for i in range(3):
                log.append(f"made {i}")
                hand(i)
        finally:
            log.append("ended")

    items = handed_over(run)
    assert log == []
    for i in items:
        log.append(f"used {i}")
        if i == 1:
            break
    items.close()
    assert log == ["made 0", "used 0", "made 1", "used 1", "ended"]


def test_layers_that_depend_on_the_weights_are_refused():
    class Fickle(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            x = self.first(x)
            return self.second(x) if self.first.weight[0, 0] > 0 else x

    module = Fickle()
    for sign in (1, -1):
        module.first.weight.data[0, 0] = sign
        with pytest.raises(InputError, match="must not depend on the weights"):
            SequentialWrite(module, images(8, (4,)))(state_of(module), lambda _, wanted: -wanted)


def test_refuses_what_does_not_fit():
    module, x = filled(mlp()), images(16, (3, 4, 4))
    state = state_of(module)
    with pytest.raises(InputError, match="images must have shape"):
        SequentialWrite(module, x[:0])
    with pytest.raises(InputError, match="share must be from 0 to 1, got 2"):
        SequentialWrite(module, x, share=2)
    with pytest.raises(InputError, match="damping must be above 0, got 0"):
        SequentialWrite(module, x, damping=0)
    with pytest.raises(InputError, match="positions must be at least 1, got 0"):
        SequentialWrite(module, x, positions=0)
    with pytest.raises(InputError, match=r"'1.weight' must have shape \(32, 48\), got \(3, 3\)"):
        SequentialWrite(module, x)({**state, "1.weight": np.eye(3)}, Noise())
    with pytest.raises(InputError, match=r"'3.weight' must have shape \(32, 32\), got \(32,\)"):
        SequentialWrite(module, x)(state, lambda name, w: w if name == "1.weight" else w[0])
    plain = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    with pytest.raises(InputError, match="where '1.weight' is used, the inputs are not finite"):
        SequentialWrite(plain, x[:, 0, 0])(state_of(plain), lambda _, w: w * np.float32("inf"))
    with pytest.raises(InputError, match="the outputs are not finite in the float network"):
        SequentialWrite(module, x * float("nan"))(state, Noise())
    # All stored inputs of the second layer are 1, exactly: no rounding makes the fit regular.
    same = nn.Sequential(nn.Linear(1, 4, bias=False), nn.Linear(4, 4, bias=False))
    with pytest.raises(InputError, match="where '1.weight' is used, the fit is singular"):
        SequentialWrite(same, torch.ones(16, 1), damping=1e-300)(
            state_of(same), lambda _, w: np.ones_like(w)
        )
    with pytest.raises(InputError, match="'1.bias' of shape .* is missing"):
        SequentialWrite(module, x)({n: a for n, a in state.items() if n != "1.bias"}, Noise())
