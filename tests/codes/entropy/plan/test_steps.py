"""Entropy-coded plans: the target, steps by sensitivity, through image and back."""

from __future__ import annotations

import numpy as np
import pytest

from softcell.allocate.plan import make_plan
from softcell.devices import parse_device
from softcell.errors import DecodingError, InfeasibleError, InputError
from softcell.image.cell_image import CellImage
from softcell.image.readings import SimulatedChip
from softcell.image.restore import Restoration
from softcell.image.write import write_image
from softcell.weights import StateDictWeights

DEVICE = parse_device("pcm-partial-reset")


def network() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(4)
    return {
        "loud": (0.5 * rng.normal(size=(32, 16, 3, 3))).astype(np.float32),
        "quiet": (0.01 * rng.laplace(size=(64, 100))).astype(np.float32),
        "bias": rng.normal(size=64).astype(np.float32),
        "zeros": np.zeros((4, 8), np.float32),
    }


def stored(
    tmp_path, state, cells, scheme="entropy-coded", sensitivity=None, device=DEVICE, age=0.0
):
    weights = StateDictWeights(state)
    plan = make_plan(weights, device, scheme, cells_per_weight=cells, sensitivity=sensitivity)
    header = write_image(weights, plan, tmp_path / "x.cells")
    with CellImage(tmp_path / "x.cells") as image:
        chip = SimulatedChip(image, seed=2, age_seconds=age)
        return plan, header, dict(Restoration(image, chip).tensors())


def relative_error(state, restored, name):
    return np.mean((restored[name] - state[name]) ** 2) / np.mean(state[name] ** 2)


@pytest.mark.parametrize("scheme", ["entropy-coded", "strong-digital"])
@pytest.mark.parametrize("cells", [0.3, 0.75, 1.5, 4.0])
def test_the_target_is_kept_and_nearly_used(tmp_path, scheme, cells):
    state = network()
    _, header, restored = stored(tmp_path, state, cells, scheme)
    # Frames of the LDPC code come whole: on so small a network one is a tenth of all.
    least = 0.93 if scheme == "entropy-coded" else 0.8
    assert least * cells < header.cells_per_weight <= cells
    np.testing.assert_array_equal(restored["zeros"], state["zeros"])
    np.testing.assert_array_equal(restored["bias"], state["bias"].astype(np.float16))


def test_soft_decisions_make_room_for_more_bits(tmp_path):
    state = network()
    hard = relative_error(state, stored(tmp_path, state, 2.0)[2], "loud")
    soft = relative_error(state, stored(tmp_path, state, 2.0, "strong-digital")[2], "loud")
    assert 10 * np.log10(hard / soft) > 2.0


def test_more_cells_gain_six_decibels_a_bit(tmp_path):
    state = network()
    error = [
        relative_error(state, stored(tmp_path, state, cells)[2], "loud") for cells in (2.0, 3.0)
    ]
    gained = 10 * np.log10(error[0] / error[1])
    assert abs(gained - 6.02 * 1.957) < 0.7


def test_without_sensitivity_a_relative_error_counts_the_same_everywhere(tmp_path):
    state = network()
    restored = stored(tmp_path, state, 2.0)[2]
    ratio = relative_error(state, restored, "loud") / relative_error(state, restored, "quiet")
    assert 0.7 < ratio < 1.4


def test_steps_follow_one_over_the_root_of_the_sensitivity(tmp_path):
    state = network()
    fisher = {name: np.full(v.shape, 1.0, np.float32) for name, v in state.items()}
    fisher["quiet"] *= 10_000
    plan, _, _ = stored(tmp_path, state, 2.0, sensitivity=fisher)
    steps = {t.info.name: t.code.step for t in plan.tensors if t.info.name in ("loud", "quiet")}
    assert steps["loud"] / steps["quiet"] == pytest.approx(100)


def test_too_few_cells_are_refused(tmp_path):
    with pytest.raises(InfeasibleError, match="cells per weight"):
        stored(tmp_path, network(), 0.001)
    with pytest.raises(InputError, match="0 to 64"):
        stored(tmp_path, network(), 65.0)


@pytest.mark.parametrize("scheme", ["entropy-coded", "strong-digital"])
def test_a_stream_whose_code_words_fail_is_refused(tmp_path, scheme):
    device = parse_device("pcm-mushroom")
    state = network()
    with pytest.raises(DecodingError, match="is lost") as told:
        stored(tmp_path, state, 2.0, scheme, device=device, age=3.2e8)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("scheme", ["coarse-to-fine", "hybrid"])
@pytest.mark.parametrize("cells", [1.2, 2.0, 3.5, 9.0])
def test_coarse_codes_keep_the_target_and_improve_with_it(tmp_path, scheme, cells):
    state = network()
    _, header, restored = stored(tmp_path, state, cells, scheme)
    assert header.cells_per_weight <= cells
    if cells < 4:
        assert header.cells_per_weight > 0.97 * cells
    db = -10 * np.log10(relative_error(state, restored, "loud"))
    assert db > min(10 + 11 * (cells - 1.2), 35)
    np.testing.assert_allclose(restored["zeros"], 0, atol=1e-12)
