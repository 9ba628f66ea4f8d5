"""Fixed-length plans: the target, what sensitivity changes, protection, through image and back."""

from __future__ import annotations

import numpy as np
import pytest

from softcell.allocate.plan import make_plan
from softcell.channel import channel_of
from softcell.codes.analog.value_range import Histogram
from softcell.codes.fixed_length.cells import bit_variances
from softcell.codes.fixed_length.code import FixedLengthCode
from softcell.codes.fixed_length.plan import choose_formats, expected_distortion
from softcell.codes.store.modulation import design_modulation
from softcell.devices import parse_device
from softcell.image.cell_image import CellImage
from softcell.image.readings import SimulatedChip
from softcell.image.restore import Restoration
from softcell.image.write import write_image
from softcell.weights import StateDictWeights

DEVICE = parse_device("pcm-partial-reset")


def network() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(4)
    return {
        "loud": (0.5 * rng.normal(size=(64, 16, 3, 3))).astype(np.float32),
        "quiet": (0.01 * rng.laplace(size=(64, 200))).astype(np.float32),
        "bias": rng.normal(size=64).astype(np.float32),
        "zeros": np.zeros((4, 8), np.float32),
    }


def stored(tmp_path, state, cells, sensitivity=None, device=DEVICE, age=0.0, read_at=None):
    weights = StateDictWeights(state)
    plan = make_plan(
        weights,
        device,
        "fixed-length",
        cells_per_weight=cells,
        sensitivity=sensitivity,
        age_seconds=age,
    )
    header = write_image(weights, plan, tmp_path / "x.cells")
    with CellImage(tmp_path / "x.cells") as image:
        chip = SimulatedChip(image, seed=2, age_seconds=age if read_at is None else read_at)
        return plan, header, dict(Restoration(image, chip).tensors())


def decibels(state, restored, name):
    error = np.mean((restored[name] - state[name].astype(np.float64)) ** 2)
    return 10 * np.log10(np.mean(state[name].astype(np.float64) ** 2) / error)


@pytest.mark.parametrize("cells", [1.0, 1.5, 2.0, 3.0, 4.0])
def test_the_target_is_kept_and_nearly_used(tmp_path, cells):
    state = network()
    _, header, restored = stored(tmp_path, state, cells)
    assert 0.97 * cells < header.cells_per_weight <= cells
    assert all(restored[name].shape == values.shape for name, values in state.items())
    np.testing.assert_array_equal(restored["zeros"], state["zeros"])
    np.testing.assert_array_equal(restored["bias"], state["bias"].astype(np.float16))
    # Uniform quantisation gains 5 to 6 dB a bit, and a cell holds nearly two.
    assert decibels(state, restored, "loud") > 6.0 + 9.5 * (cells - 1)
    assert decibels(state, restored, "quiet") > 6.0 + 9.5 * (cells - 1)


def test_beyond_eight_bits_nothing_is_spent(tmp_path):
    _, header, _ = stored(tmp_path, network(), 9.0)
    assert header.cells_per_weight < 4.3


def test_sensitive_rows_get_more_bits(tmp_path):
    state = {"loud": network()["loud"]}
    fisher = {"loud": np.ones(state["loud"].shape, np.float32)}
    fisher["loud"][:32] *= 256.0
    plan, _, restored = stored(tmp_path, state, 2.0, fisher)
    code = next(t.code for t in plan.tensors if t.info.name == "loud")
    assert isinstance(code, FixedLengthCode)
    bits = np.array([code.formats[way].bits for way in code.rows])
    assert bits[:32].mean() > bits[32:].mean() + 2
    error = ((restored["loud"] - state["loud"]) ** 2).reshape(64, -1).mean(axis=1)
    assert error[32:].mean() > 30 * error[:32].mean()


def test_top_bits_are_protected_where_cells_are_noisy(tmp_path):
    rng = np.random.default_rng(0)
    state = {"w": rng.normal(size=(100, 400)).astype(np.float32)}
    plan, header, _ = stored(tmp_path, state, 3.0)
    code = plan.tensors[0].code
    assert code.label_bits == 3
    assert all(each.protected > 0 for each in code.formats)
    assert header.payload_bytes == -(-code.protected_bits(400) // 8)


def test_nothing_is_protected_on_cells_without_errors(tmp_path):
    rng = np.random.default_rng(0)
    state = {"w": rng.normal(size=(100, 400)).astype(np.float32)}
    plan, _, restored = stored(tmp_path, state, 1.5, device=parse_device("ideal"))
    code = plan.tensors[0].code
    assert code.protected_bits(400) == 0
    assert decibels(state, restored, "w") > 18.0


def test_readable_at_another_age_and_on_a_noisy_cell(tmp_path):
    rng = np.random.default_rng(0)
    state = {"w": rng.normal(size=(64, 400)).astype(np.float32)}
    device = parse_device("pcm-mushroom")
    _, _, restored = stored(tmp_path, state, 4.0, device=device, age=86400.0, read_at=3600.0)
    assert decibels(state, restored, "w") > 10.0


def test_expected_distortion_of_a_uniform_density():
    histogram = Histogram.of(np.random.default_rng(0).uniform(0, 1, 400_000), magnitudes=True)
    for bits in (2, 4, 8):
        step = np.array([2.0 ** (1 - bits)])
        plain = expected_distortion(histogram, bits, 0.0, step)
        assert plain == pytest.approx(step**2 / 12, rel=0.06)
        noisy = expected_distortion(histogram, bits, 0.5, step)
        assert noisy - plain == pytest.approx(step**2 / 2)


def test_formats_lie_on_a_convex_curve():
    channel = channel_of(DEVICE)
    variances = bit_variances(channel, design_modulation(channel, 8))
    histogram = Histogram.of(np.random.default_rng(0).laplace(size=100_000), magnitudes=True)
    formats, cells, distortion = choose_formats(histogram, variances, 1.96)
    assert len(formats) == len(cells) == len(distortion)
    slopes = np.diff(distortion) / np.diff(cells)
    assert (np.diff(cells) > 0).all()
    assert (slopes < 0).all()
    assert (np.diff(slopes) > 0).all()


ODD = {
    "zeros": np.zeros((30, 40), np.float32),
    "one weight": np.full((1, 1), -3.0, np.float32),
    "one row": np.linspace(-1, 1, 3000, dtype=np.float32)[None],
    "one column": np.linspace(-1, 1, 900, dtype=np.float32)[:, None],
    "subnormal": np.full((30, 40), 1e-42, np.float32),
    "huge": np.linspace(-3e38, 3e38, 1200, dtype=np.float32).reshape(30, 40),
    "empty": np.zeros((0, 5), np.float32),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_tensors_come_back(tmp_path, name):
    state = {"odd": ODD[name], "vector": np.arange(5, dtype=np.float32)}
    _, header, restored = stored(tmp_path, state, 4.0)
    assert restored["odd"].shape == ODD[name].shape
    assert np.isfinite(restored["odd"]).all()
    if ODD[name].size > 800:
        assert header.cells_per_weight <= 4.0
    largest = float(np.abs(ODD[name]).max(initial=0.0))
    np.testing.assert_allclose(restored["odd"], ODD[name], atol=0.05 * largest + 1e-30)


def test_the_result_does_not_depend_on_threads(tmp_path):
    stored(tmp_path, network(), 2.0)
    with CellImage(tmp_path / "x.cells") as image:
        chip = SimulatedChip(image, seed=2)
        one, three = (
            {name: v.tobytes() for name, v in Restoration(image, chip, threads=n).tensors()}
            for n in (1, 3)
        )
    assert one == three
