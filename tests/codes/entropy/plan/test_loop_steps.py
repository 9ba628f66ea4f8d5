"""Steps of weights that are quantised in the loop."""

from __future__ import annotations

import numpy as np
import pytest

from drawn import normal
from softcell.allocate.plan import make_plan
from softcell.codes.entropy.stream import decode
from softcell.curvature import Calibration, LayerCurvature
from softcell.devices import parse_device
from softcell.errors import InfeasibleError
from softcell.feedback.memory import SimulatedMemory
from softcell.image.closed_loop import close_loop, write_closed_loop
from softcell.weights import StateDictWeights
from softcell.weights.finite import as_rows

DEVICE = parse_device("pcm-partial-reset")


def curvature(rows, columns, *, felt=1.0, groups=1, seed=0):
    covariance = []
    for group in range(groups):
        mixing = normal(columns, max(columns // 3, 1), seed=100 + seed + group).astype(np.float64)
        square = mixing @ mixing.T + 0.02 * np.eye(columns)
        covariance.append((felt * (square + square.T) / 2).astype(np.float32))
    means = np.einsum("gkk->g", np.array(covariance)) / columns
    return LayerCurvature(np.array(covariance), np.repeat(means, rows // groups).astype(np.float32))


STATE = {"a": normal(60, 90), "b": 0.02 * normal(40, 30, seed=1), "bias": normal(60, seed=2)}
CALIBRATION = Calibration(
    {"a": curvature(60, 90), "b": curvature(40, 30, groups=4, seed=5)}, {}, 1, "fisher"
)


def planned(cells, scheme="entropy-coded", calibration=CALIBRATION, state=STATE):
    weights = StateDictWeights(state)
    return weights, make_plan(
        weights, DEVICE, scheme, cells_per_weight=cells, calibration=calibration
    )


@pytest.mark.parametrize(
    ("scheme", "cells", "used"),
    # A code word of strong digital storage is one part in some tens of so small a network.
    [("entropy-coded", cells, 0.99) for cells in (0.8, 2.0, 6.0)] + [("strong-digital", 2.0, 0.95)],
)
def test_a_plan_keeps_to_its_target_and_uses_it(scheme, cells, used, tmp_path):
    weights, plan = planned(cells, scheme)
    header, _ = write_closed_loop(
        weights,
        plan,
        CALIBRATION,
        tmp_path / "x.cells",
        memory=SimulatedMemory(DEVICE, 0),
        chip=None,
    )
    assert used * cells <= header.cells_per_weight <= cells


def test_steps_are_kept_as_they_are_and_so_are_their_multiples():
    weights, plan = planned(2.0)
    seen = close_loop(weights, plan, CALIBRATION, SimulatedMemory(DEVICE, 0)).seen
    for tensor in plan.tensors:
        if tensor.code is None:
            continue
        rows = as_rows(seen[tensor.info.name])
        steps = tensor.code.row_steps(len(rows))
        halves = rows / steps[:, None] * 2
        assert np.allclose(halves, np.rint(halves), atol=1e-6)
        data = tensor.code.stream(rows)
        again = decode(data.tobytes(), rows.shape)
        assert np.array_equal(again, rows)
        assert tensor.code.stream(again).tobytes() == data.tobytes()


def test_rows_that_are_felt_more_have_smaller_steps():
    rows = np.ones(60, np.float32)
    rows[:30] = 16.0
    one = curvature(60, 90)
    mean = np.einsum("gkk->", one.covariance) / 90
    layers = {"a": LayerCurvature(one.covariance, (rows / rows.mean() * mean).astype(np.float32))}
    _, plan = planned(2.0, calibration=Calibration(layers, {}, 1, "fisher"))
    steps = plan.tensors[0].code.row_steps(60)
    assert np.allclose(steps[30:] / steps[:30], 4.0, rtol=0.1)


def test_layers_that_are_felt_more_have_smaller_steps():
    ratios = []
    for felt in (1, 16):
        layers = {"a": curvature(60, 90, felt=felt), "b": curvature(40, 30, felt=2500, seed=5)}
        _, plan = planned(2.0, calibration=Calibration(layers, {}, 1, "fisher"))
        first, second = (t.code.row_steps(t.info.shape[0]).mean() for t in plan.tensors[:2])
        ratios.append(first / second)
    assert ratios[0] / ratios[1] == pytest.approx(4, rel=0.1)


def test_groups_of_another_scale_are_felt_as_such():
    one = curvature(40, 30, groups=2, seed=5)
    scale = np.array([1, 64], np.float32)
    scaled = LayerCurvature(one.covariance * scale[:, None, None], one.rows * np.repeat(scale, 20))
    _, plan = planned(3.0, calibration=Calibration({"b": scaled}, {}, 1, "fisher"))
    steps = plan.tensors[1].code.row_steps(40)
    assert steps[:20].mean() / steps[20:].mean() == pytest.approx(8, rel=0.25)


def test_more_cells_are_smaller_errors():
    losses = []
    for cells in (0.6, 1.0, 2.0, 4.0, 8.0):
        weights, plan = planned(cells)
        seen = close_loop(weights, plan, CALIBRATION, SimulatedMemory(DEVICE, 0)).seen
        losses.append(float(np.mean((seen["a"] - STATE["a"]) ** 2)))
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 1e-6


def test_rows_of_zeros_cost_next_to_nothing():
    state = {"a": STATE["a"] * (np.arange(60) % 4 == 0)[:, None].astype(np.float32)}
    calibration = Calibration({"a": CALIBRATION.layers["a"]}, {}, 1, "fisher")
    weights, plan = planned(1.0, state=state, calibration=calibration)
    seen = close_loop(weights, plan, calibration, SimulatedMemory(DEVICE, 0)).seen["a"]
    assert (seen[np.arange(60) % 4 != 0] == 0).all()
    some = np.arange(60) % 4 == 0
    assert np.mean((seen - state["a"])[some] ** 2) < 0.02  # some four cells for each of them


def test_too_few_cells_are_told():
    with pytest.raises(InfeasibleError, match="vectors and integers alone take"):
        planned(0.005)
    with pytest.raises(InfeasibleError, match="so few cells"):
        planned(0.085)


def test_a_network_without_matrices_has_no_codes():
    _, plan = planned(
        8.0, state={"bias": STATE["bias"]}, calibration=Calibration({}, {}, 1, "inputs")
    )
    assert [tensor.code for tensor in plan.tensors] == [None]
