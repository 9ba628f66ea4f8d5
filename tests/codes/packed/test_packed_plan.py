"""Which rows share cells: the target is kept and spent, and more cells are smaller losses."""

from __future__ import annotations

import numpy as np
import pytest

from softcell.allocate.plan import make_plan
from softcell.channel import channel_of
from softcell.codes.code import Design
from softcell.codes.packed.code import (
    CELLS,
    DOUBLE,
    HALF,
    NONE,
    SHARING,
    SINGLE,
    THIRD,
    TRIPLE,
    PackedCode,
)
from softcell.codes.packed.plan import REACHES, PackedTrial, share_cells
from softcell.codes.store.soft_store import design_soft_store
from softcell.curvature import Calibration, LayerCurvature
from softcell.devices import parse_device
from softcell.durations import Ages
from softcell.errors import InfeasibleError, InputError
from softcell.feedback.loop import weighted_error
from softcell.feedback.memory import SimulatedMemory
from softcell.image.closed_loop import close_loop, write_closed_loop
from softcell.streams import Stream
from softcell.weights import StateDictWeights

DEVICE = parse_device("pcm-partial-reset:read_noise=0")
STATE = {
    "a": Stream.of(0, "a").normal(48 * 30).reshape(48, 30),
    "b": Stream.of(0, "b").normal(32 * 20).reshape(32, 20) * np.float32(0.02),
    "bias": Stream.of(0, "c").normal(48),
}


def curvature(rows, columns, felt, seed):
    mixing = Stream.of(seed, "m").normal(columns * (columns // 3)).reshape(columns, -1)
    square = mixing @ mixing.T + 0.02 * np.eye(columns, dtype=np.float32)
    square = (square + square.T) / 2
    mean = np.trace(square) / columns
    # Some rows are felt ten times as much as others.
    spread = np.logspace(0, 1, rows)
    spread *= mean * felt / spread.mean()
    return LayerCurvature(felt * square[None], spread.astype(np.float32))


CALIBRATION = Calibration(
    {"a": curvature(48, 30, 1.0, 1), "b": curvature(32, 20, 2500.0, 2)}, {}, 1, "fisher"
)


def planned(cells, calibration=CALIBRATION, state=STATE, device=DEVICE):
    weights = StateDictWeights(state)
    return weights, make_plan(
        weights, device, "packed", cells_per_weight=cells, calibration=calibration
    )


def loss(plan_and_weights, seed=3):
    weights, plan = plan_and_weights
    seen = close_loop(weights, plan, CALIBRATION, SimulatedMemory(plan.device, seed)).seen
    total = 0.0
    for name, layer in CALIBRATION.layers.items():
        error = weighted_error(STATE[name], seen[name], layer.covariance)
        total += float((error * layer.rows / layer.rows.mean()).sum())
    return total


@pytest.mark.parametrize("cells", [0.4, 0.75, 1.1, 2.0, 2.9])
def test_a_plan_keeps_to_its_target_and_spends_it(cells, tmp_path):
    weights, plan = planned(cells)
    header, written = write_closed_loop(
        weights,
        plan,
        CALIBRATION,
        tmp_path / "x.cells",
        memory=SimulatedMemory(DEVICE, 0),
        chip="simulated:0",
    )
    # A row of these small matrices is about one part in a hundred of all cells.
    assert 0.96 * cells <= header.cells_per_weight <= cells
    assert written.cells == sum(
        t.code.cells(t.info.size // t.code.rows) for t in plan.tensors if t.code is not None
    )


def test_more_cells_are_a_smaller_loss():
    losses = [loss(planned(cells)) for cells in (0.3, 0.5, 0.8, 1.2, 1.9, 2.9)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.02 * losses[0]


def test_rows_that_are_felt_more_have_more_cells():
    _, plan = planned(0.9)
    for tensor in plan.tensors[:2]:
        cells = CELLS[tensor.code.classes]
        half = len(cells) // 2
        assert cells[half:].mean() > 1.2 * cells[:half].mean()


def test_rows_that_share_cells_are_complete():
    for cells in (0.35, 0.5, 0.7):
        _, plan = planned(cells)
        for tensor in plan.tensors[:2]:
            for kind, number in SHARING.items():
                assert np.count_nonzero(tensor.code.classes == kind) % number == 0


def test_an_open_loop_is_planned_by_its_own_errors():
    opened, closed = (planned(0.8, calibration=known) for known in (None, CALIBRATION))
    assert loss(closed) < loss(opened)


def test_too_few_cells_are_told():
    with pytest.raises(InfeasibleError, match=r"alone take 0\.\d+ cells per weight"):
        planned(0.05)
    _, plan = planned(0.35)  # and what is told is not too much
    assert plan.target == 0.35


def test_a_store_of_soft_decisions_has_no_robust_cells():
    design = Design(DEVICE, Ages(0.0, 0.0), design_soft_store(channel_of(DEVICE)))
    code = PackedCode(np.zeros(5, np.uint8), np.zeros(5, np.int32))
    with pytest.raises(InputError, match="hard decisions"):
        code.columns(np.zeros((5, 6), np.float32), design)


@pytest.mark.parametrize(
    "matrix",
    [
        np.zeros((5, 6), np.float32),
        STATE["a"][:1],
        STATE["a"][:, :1],
        STATE["a"] * (np.arange(48) % 2 == 0)[:, None].astype(np.float32),
        STATE["a"][:2, :1],
    ],
    ids=["zeros", "row", "column", "rows of zeros", "two weights"],
)
def test_odd_matrices(matrix):
    weights, plan = planned(64.0, calibration=None, state={"a": np.ascontiguousarray(matrix)})
    nothing = Calibration({}, {}, 1, "inputs")
    seen = close_loop(weights, plan, nothing, SimulatedMemory(DEVICE, 0)).seen["a"]
    assert np.isfinite(seen).all()
    zero = ~matrix.any(axis=1)
    assert (plan.tensors[0].code.classes[zero] == NONE).all()
    assert (seen[zero] == 0).all()
    assert np.mean((seen - matrix) ** 2) <= 0.1 * np.mean(matrix**2)


class TestShares:
    def test_losses_that_never_fall_get_no_cells(self):
        trial = PackedTrial(10, np.ones((4, 6)), np.zeros((4, 6), np.int32))
        assert share_cells({"a": trial}, 1e6)["a"].classes.tolist() == [NONE] * 4

    def test_all_that_helps_is_bought_where_there_is_enough(self):
        losses = np.tile(np.array([9.0, 6, 4, 2, 1, 0.5]), (3, 1))
        trial = PackedTrial(10, losses, np.arange(18, dtype=np.int32).reshape(3, 6))
        code = share_cells({"a": trial}, 1e6)["a"]
        assert code.classes.tolist() == [TRIPLE] * 3
        assert code.scales.tolist() == [5, 11, 17]

    def test_classes_off_the_convex_hull_are_left_out(self):
        # Two thirds of the way for a cell, and next to nothing for half a one.
        losses = np.array([[9.0, 8.9, 8.8, 3, 2.9, 0.1]])
        trial = PackedTrial(10, losses, np.zeros((1, 6), np.int32))
        for budget, kind in ((9, NONE), (10, SINGLE), (29, SINGLE), (30, TRIPLE)):
            assert share_cells({"a": trial}, budget)["a"].classes.tolist() == [kind]

    def test_rows_without_others_to_share_with_go_on(self):
        losses = np.tile(np.array([9.0, 5.0, 4.9, 4.8, 4.7, 4.6]), (5, 1))
        trial = PackedTrial(30, losses, np.zeros((5, 6), np.int32))
        kinds = share_cells({"a": trial}, 55)["a"].classes
        assert sorted(kinds.tolist()) == [THIRD] * 3 + [HALF] * 2
        losses = np.tile(np.array([9.0, 8.9, 1.0, 0.99, 0.98, 0.97]), (5, 1))
        trial = PackedTrial(30, losses, np.zeros((5, 6), np.int32))
        kinds = share_cells({"a": trial}, 80)["a"].classes
        assert sorted(kinds.tolist()) == [HALF] * 4 + [SINGLE]

    def test_every_class_is_tried(self):
        assert sorted(REACHES) == [THIRD, HALF, SINGLE, DOUBLE, TRIPLE]
