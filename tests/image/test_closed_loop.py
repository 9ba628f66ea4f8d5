"""Networks written through the loop: its laws, and images that are for one chip alone."""

from __future__ import annotations

import numpy as np
import pytest

import softcell
from drawn import normal
from softcell.allocate.plan import make_plan
from softcell.curvature import Calibration, LayerCurvature
from softcell.devices import parse_device
from softcell.errors import InputError
from softcell.feedback import correct_drift, loop
from softcell.feedback.loop import weighted_error
from softcell.feedback.memory import SimulatedMemory
from softcell.image.cell_image import CellImage
from softcell.image.closed_loop import close_loop, folded, write_closed_loop
from softcell.image.header import header_of
from softcell.image.readings import SimulatedChip
from softcell.image.restore import Restoration
from softcell.image.write import write_image
from softcell.streams import Stream
from softcell.weights import StateDictWeights, WeightsReader
from softcell.weights.finite import as_rows

QUIET = "pcm-partial-reset:read_noise=0"
DIGITAL = ("entropy-coded", "strong-digital")
SCHEMES = (
    ("naive", 1.5),
    ("sign+adaptive", 3.0),
    ("combined", 4.0),
    ("coarse-to-fine", 2.5),
    ("hybrid", 2.5),
    ("joint-map", 2.0),
    ("packed", 1.2),
    ("entropy-coded", 2.0),
    ("strong-digital", 2.0),
)


def plan_of(state, scheme, cells, device=QUIET, **options):
    weights = StateDictWeights(state)
    plan = make_plan(weights, parse_device(device), scheme, cells_per_weight=cells, **options)
    return weights, plan


def through(state, scheme, cells, calibration, *, device=QUIET, seed=0, feedback=True, plan=None):
    weights, made = plan_of(state, scheme, cells, device, calibration=calibration)
    plan = plan or made
    memory = SimulatedMemory(plan.device, seed)
    return close_loop(weights, plan, calibration, memory, feedback=feedback)


def matrices(state):
    return [name for name, values in state.items() if values.ndim > 1]


def loss(state, seen, calibration):
    total = 0.0
    for name in matrices(state):
        rows = as_rows(state[name])
        covariance = calibration.layers[name].covariance
        total += weighted_error(rows, as_rows(seen[name]), covariance).sum()
    return total


@pytest.mark.parametrize(("scheme", "cells"), SCHEMES)
def test_with_the_identity_the_closed_loop_is_the_open_one(
    scheme, cells, state_for, calibrated, tmp_path
):
    loop_state = state_for(scheme)
    calibration = calibrated(loop_state, identity=True)
    weights, plan = plan_of(loop_state, scheme, cells, calibration=calibration)
    chip = None if scheme in DIGITAL else "simulated:3"
    for feedback in (False, True):
        memory = SimulatedMemory(plan.device, 3)
        path = tmp_path / f"{feedback}.cells"
        options = {"memory": memory, "chip": chip, "feedback": feedback}
        write_closed_loop(weights, plan, calibration, path, **options)
    opened, closed = (tmp_path / f"{feedback}.cells" for feedback in (False, True))
    assert opened.read_bytes() == closed.read_bytes()
    if scheme in DIGITAL:  # is quantised by the loop, even an open one
        return
    write_image(weights, plan, tmp_path / "plain.cells", chip=chip)
    assert opened.read_bytes() == (tmp_path / "plain.cells").read_bytes()


@pytest.mark.parametrize(("scheme", "cells"), SCHEMES)
def test_on_correlated_inputs_the_loop_errs_less(scheme, cells, state_for, calibrated):
    loop_state = state_for(scheme)
    calibration = calibrated(loop_state)
    ratios = []
    for seed in range(3):
        closed, opened = (
            through(loop_state, scheme, cells, calibration, seed=seed, feedback=feedback)
            for feedback in (True, False)
        )
        ratios.append(
            loss(loop_state, closed.seen, calibration) / loss(loop_state, opened.seen, calibration)
        )
    assert max(ratios) < 0.75


@pytest.mark.parametrize("scheme", ["naive", "sign+adaptive", "packed"])
def test_without_noise_the_loop_changes_nothing_but_what_a_level_is(scheme, loop_state, calibrated):
    calibration = calibrated(loop_state)
    options = {"device": "gaussian:snr_db=80"}
    closed, opened = (
        through(loop_state, scheme, 3.0, calibration, feedback=feedback, **options)
        for feedback in (True, False)
    )
    for name in matrices(loop_state):
        size = loop_state[name].std()
        for written in (closed, opened):
            assert np.std(written.seen[name] - loop_state[name]) < 0.02 * size
        assert np.abs(closed.targets[name] - loop_state[name]).max() < 0.05 * size
        assert np.array_equal(opened.targets[name], loop_state[name])


def test_a_tensor_without_curvature_is_written_as_it_is(loop_state, calibrated):
    calibration = calibrated(loop_state, skip=("deep.weight",))
    for scheme, cells in (("sign+adaptive", 3.0), ("packed", 1.5), ("entropy-coded", 2.0)):
        written = through(loop_state, scheme, cells, calibration)
        if scheme != "entropy-coded":
            assert np.array_equal(written.targets["deep.weight"], loop_state["deep.weight"])
        assert not np.array_equal(written.targets["fc.weight"], loop_state["fc.weight"])


@pytest.mark.parametrize("scheme", ["entropy-coded", "strong-digital"])
@pytest.mark.parametrize("feedback", [True, False])
def test_of_a_digital_code_the_loop_sees_what_the_image_decodes_to(
    scheme, feedback, loop_state, calibrated, tmp_path
):
    calibration = calibrated(loop_state)
    # As a comparison plans it: the open loop knows no curvature.
    known = {"calibration": calibration} if feedback else {}
    weights, plan = plan_of(loop_state, scheme, 2.0, **known)
    header, written = write_closed_loop(
        weights,
        plan,
        calibration,
        tmp_path / "x.cells",
        memory=SimulatedMemory(plan.device, 0),
        chip=None,
        feedback=feedback,
    )
    assert written.cells == 0
    assert header.chip is None
    for seed in (0, 9):
        with CellImage(tmp_path / "x.cells") as image:
            back = dict(Restoration(image, SimulatedChip(image, seed=seed)).tensors())
        for name in loop_state:
            assert np.array_equal(back[name], written.seen[name]), name


def test_blocks_and_threads_do_not_change_an_image(loop_state, calibrated, tmp_path, monkeypatch):
    calibration = calibrated(loop_state)
    whole = loop.feedback_loop
    for scheme, cells in (("packed", 1.2), ("sign+adaptive", 3.0)):
        weights, plan = plan_of(loop_state, scheme, cells, calibration=calibration)
        images = []
        for block in (64, 1, 7):

            def some(*given, block=block):
                return whole(*given, block=block)

            with monkeypatch.context() as patch:
                patch.setattr("softcell.feedback.layer.feedback_loop", some)
                path = tmp_path / f"{block}.cells"
                memory = SimulatedMemory(plan.device, 2)
                options = {"memory": memory, "chip": "simulated:2"}
                write_closed_loop(weights, plan, calibration, path, **options)
            images.append(path.read_bytes())
        assert images[0] == images[1] == images[2]
        with CellImage(path) as image:
            chip = SimulatedChip(image, seed=2)
            one, four = (
                dict(Restoration(image, chip, threads=threads).tensors()) for threads in (1, 4)
            )
        for name in loop_state:
            assert np.array_equal(one[name], four[name])


def test_an_image_is_for_its_own_chip_alone(loop_state, calibrated, tmp_path):
    weights, plan = plan_of(loop_state, "sign", 3.0)
    path, chip = tmp_path / "x.cells", "simulated:4"
    header, written = write_closed_loop(
        weights,
        plan,
        calibrated(loop_state),
        path,
        memory=SimulatedMemory(plan.device, 4),
        chip=chip,
    )
    assert header.chip == chip
    with CellImage(path) as image:
        assert image.header.chip == chip
        assert header_of(image.header.metadata()).chip == chip
        assert written.cells == image.header.analog_cells
        with pytest.raises(
            InputError, match=r"for chip simulated:4 alone, .*simulated:5.*--seed 4"
        ):
            SimulatedChip(image, seed=5)
    with pytest.raises(InputError, match="for chip simulated:4 alone"):
        softcell.read(path, seed=0)
    back = softcell.read(path, seed=4)
    assert np.array_equal(back["fc.weight"], written.seen["fc.weight"])
    # Without a chip the header says nothing of one.
    plain = write_image(weights, plan, tmp_path / "y.cells")
    assert plain.chip is None
    assert "chip" not in plain.metadata()
    assert header_of(plain.metadata()).chip is None


def test_corrected_vectors_are_those_that_are_stored(loop_state, calibrated, tmp_path):
    calibration = calibrated(loop_state)
    weights, plan = plan_of(loop_state, "sign", 3.0)
    asked = {}

    def correct(seen):
        asked.update(seen)
        return {"bn.running_mean": np.full(16, 0.5, np.float32), "fc.bias": seen["fc.bias"] + 1}

    path = tmp_path / "x.cells"
    _, written = write_closed_loop(
        weights,
        plan,
        calibration,
        path,
        memory=SimulatedMemory(plan.device, 1),
        chip="simulated:1",
        correct=correct,
    )
    back = softcell.read(path, seed=1)
    for name in matrices(loop_state):
        assert np.array_equal(asked[name], written.seen[name])
        assert np.array_equal(back[name], written.seen[name])
    assert np.allclose(back["fc.bias"], loop_state["fc.bias"] + 1, rtol=2e-3)
    # (x - 0.5) / sqrt(1 + eps) * weight + bias, folded to two numbers.
    shift = 0.5 * loop_state["bn.weight"]
    assert np.allclose(back["bn.bias"], loop_state["bn.bias"] - shift, atol=2e-3)
    assert np.allclose(back["bn.weight"], loop_state["bn.weight"], rtol=2e-3)
    assert (back["bn.running_mean"] == 0).all()
    assert (back["bn.running_var"] == 1).all()


def test_drift_correction_of_a_network_through_the_loop(tmp_path):
    import torch
    from torch import nn

    from softcell.curvature import calibrate

    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(12, 20), nn.BatchNorm1d(20), nn.ReLU(), nn.Linear(20, 5)).eval()
    images = torch.randn(64, 12) @ torch.randn(12, 12) + 1
    calibration = calibrate(net, images[:32], seed=0)
    state = {name: tensor.numpy() for name, tensor in net.state_dict().items()}
    weights = folded(StateDictWeights(state), calibration)
    plan = make_plan(
        weights, parse_device(QUIET), "packed", cells_per_weight=1.6, calibration=calibration
    )
    outputs = []
    for number, correct in enumerate((None, lambda seen: correct_drift(net, seen, images))):
        path = tmp_path / f"{number}.cells"
        options = {"memory": SimulatedMemory(plan.device, 0), "chip": "simulated:0"}
        write_closed_loop(weights, plan, calibration, path, correct=correct, **options)
        back = {n: torch.from_numpy(np.array(v)) for n, v in softcell.read(path, seed=0).items()}
        with torch.no_grad():
            outputs.append(torch.func.functional_call(net, back, (images,)))
    with torch.no_grad():
        wanted = net(images)
    error = [float((output.mean(0) - wanted.mean(0)).abs().mean()) for output in outputs]
    assert error[1] < 0.5 * error[0]


@pytest.mark.parametrize(
    ("scheme", "cells"), [("sign", 5.0), ("packed", 2.0), ("entropy-coded", 3.0)]
)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_short_number_formats(scheme, cells, dtype, calibrated, tmp_path, loop_state):
    import torch

    tensors = {
        name: torch.from_numpy(values).to(getattr(torch, dtype))
        for name, values in loop_state.items()
        if name.startswith(("fc", "deep"))
    }
    from safetensors.torch import save_file

    save_file(tensors, tmp_path / "w.safetensors")
    state = {name: tensor.float().numpy() for name, tensor in tensors.items()}
    calibration = calibrated(state)
    with WeightsReader(tmp_path / "w.safetensors") as weights:
        plan = make_plan(
            weights, parse_device(QUIET), scheme, cells_per_weight=cells, calibration=calibration
        )
        path = tmp_path / "x.cells"
        chip = None if scheme in DIGITAL else "simulated:6"
        _, written = write_closed_loop(
            weights, plan, calibration, path, memory=SimulatedMemory(plan.device, 6), chip=chip
        )
    back = softcell.read(path, seed=6)
    for name, values in state.items():
        assert np.array_equal(back[name], written.seen[name].astype(np.float32))
        assert np.corrcoef(back[name].reshape(-1), values.reshape(-1))[0, 1] > 0.9


ODD = {
    "zero": np.zeros((6, 8), np.float32),
    "row": normal(1, 60),
    "column": normal(60, 1, seed=1),
    "one": normal(1, 1, seed=2),
    "zero rows": normal(9, 12, seed=3) * (np.arange(9) % 3 == 0)[:, None].astype(np.float32),
    "same": np.full((5, 7), 0.3, np.float32),
    "none": np.zeros((0, 4), np.float32),
    "vector": normal(30, seed=4),
}


@pytest.mark.parametrize(("scheme", "cells"), SCHEMES)
def test_odd_shapes(scheme, cells, calibrated, tmp_path):
    state = dict(ODD)
    if scheme in ("coarse-to-fine", "hybrid", "joint-map"):
        # Each density that weights may have is a design of some seconds.
        del state["zero rows"], state["same"], state["column"]
    calibration = calibrated({name: v for name, v in state.items() if v.size})
    weights, plan = plan_of(state, scheme, 4 * cells, calibration=calibration)
    path = tmp_path / "x.cells"
    chip = None if scheme in DIGITAL else "simulated:0"
    memory = SimulatedMemory(plan.device, 0)
    _, written = write_closed_loop(weights, plan, calibration, path, memory=memory, chip=chip)
    back = softcell.read(path, seed=0)
    for name, values in state.items():
        assert back[name].shape == values.shape
        assert np.isfinite(back[name]).all()
        if scheme != "coarse-to-fine":
            assert np.array_equal(back[name], written.seen[name]), name


@pytest.mark.parametrize(
    ("scheme", "cells"), [("sign", 3.0), ("packed", 0.5), ("entropy-coded", 2.0)]
)
def test_a_network_of_vectors_alone(scheme, cells, loop_state, calibrated, tmp_path):
    state = {name: v for name, v in loop_state.items() if v.ndim < 2}
    calibration = calibrated(state)
    weights, plan = plan_of(state, scheme, 8.0, calibration=calibration)
    path = tmp_path / "x.cells"
    assert not plan.uses_cells
    memory = SimulatedMemory(plan.device, 0)
    write_closed_loop(weights, plan, calibration, path, memory=memory, chip=None)
    back = softcell.read(path, seed=3)
    for name, values in state.items():
        assert np.allclose(back[name], values, rtol=1e-3)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_vectors_of_any_precision_are_corrected_and_kept_ones_are_not(dtype, tmp_path):
    state = {
        "w": Stream.of(0, "w").normal(64 * 48).reshape(64, 48),
        "bias": np.linspace(-1, 1, 64).astype(dtype),
    }
    eye = np.eye(48, dtype=np.float32)[None]
    layers = {"w": LayerCurvature(eye, np.ones(64, np.float32))}
    calibration = Calibration(layers, {}, 1, "fisher", {})
    for keep, gain in ((), 1.0), (("bias",), 0.0):
        with StateDictWeights(state) as weights:
            plan = make_plan(
                weights,
                parse_device("pcm-partial-reset"),
                "entropy-coded",
                cells_per_weight=3,
                calibration=calibration,
                keep=keep,
            )
            write_closed_loop(
                weights,
                plan,
                calibration,
                tmp_path / "x.cells",
                memory=SimulatedMemory(plan.device, 0),
                chip=None,
                correct=lambda seen: {"bias": seen["bias"] + 1},
                keep=keep,
            )
        back = softcell.read(tmp_path / "x.cells")["bias"]
        assert np.allclose(back, state["bias"].astype(np.float32) + gain, atol=2e-3)
