"""Codes column by column: the same levels in the same cells as a tensor in one go."""

from __future__ import annotations

import numpy as np
import pytest

from softcell.allocate.plan import make_plan
from softcell.codes.code import ByColumn
from softcell.devices import parse_device
from softcell.errors import InputError
from softcell.feedback.loop import weighted_error
from softcell.feedback.memory import SimulatedMemory
from softcell.image.cell_image import CellImage
from softcell.image.closed_loop import close_loop, write_closed_loop
from softcell.image.readings import SimulatedChip
from softcell.image.restore import Restoration
from softcell.image.write import write_image
from softcell.weights import StateDictWeights
from softcell.weights.finite import as_rows

QUIET = "pcm-partial-reset:read_noise=0"
SCHEMES = (
    ("naive", 1.5),
    ("sign+adaptive", 3.0),
    ("combined", 4.0),
    ("coarse-to-fine", 2.5),
    ("hybrid", 2.5),
    ("joint-map", 2.0),
    ("packed", 1.2),
)


def planned(state, scheme, cells, device=QUIET, **options):
    weights = StateDictWeights(state)
    return weights, make_plan(
        weights, parse_device(device), scheme, cells_per_weight=cells, **options
    )


@pytest.mark.parametrize(("scheme", "cells"), SCHEMES)
def test_columns_are_what_the_image_holds(scheme, cells, state_for, tmp_path):
    state = dict(state_for(scheme))
    state["fc.weight"] = np.where(np.abs(state["fc.weight"]) < 0.05, 0, state["fc.weight"])
    weights, plan = planned(state, scheme, cells)
    write_image(weights, plan, tmp_path / "x.cells")
    checked = 0
    with CellImage(tmp_path / "x.cells") as image:
        for region in image.regions():
            if region.index is None:
                continue
            tensor = plan.tensors[region.index]
            rows = as_rows(state[tensor.info.name])
            codec = tensor.code.columns(rows, plan.design)
            levels = image.levels(region, 0, region.cells)
            places = [codec.places(k) for k in range(rows.shape[1])]
            for k, at in enumerate(places):
                assert np.array_equal(codec.encode_column(k, rows[:, k]), levels[at])
            used = np.concatenate(places)
            assert len(np.unique(used)) == len(used)
            robust = region.cells - len(used)
            if scheme == "coarse-to-fine":
                assert used.min() == robust > 0
            else:
                assert robust == 0
            checked += len(used)
    assert checked > 400


@pytest.mark.parametrize(("scheme", "cells"), SCHEMES)
def test_what_the_loop_saw_is_what_the_image_gives_back(
    scheme, cells, state_for, calibrated, tmp_path
):
    loop_state = state_for(scheme)
    weights, plan = planned(loop_state, scheme, cells)
    _, written = write_closed_loop(
        weights,
        plan,
        calibrated(loop_state),
        tmp_path / "x.cells",
        memory=SimulatedMemory(plan.device, 5),
        chip="simulated:5",
    )
    with CellImage(tmp_path / "x.cells") as image:
        back = dict(Restoration(image, SimulatedChip(image, seed=5)).tensors())
    for name, values in loop_state.items():
        if values.ndim > 1 and scheme == "coarse-to-fine":
            # A robust cell that is taken for its neighbour is seen at the end alone.
            assert (back[name] == written.seen[name]).mean() > 0.99
        else:
            assert np.array_equal(back[name], written.seen[name]), name
        if values.ndim > 1:
            assert not np.array_equal(written.targets[name], values)


def test_stuck_cells_are_seen_and_made_up_for(loop_state, calibrated, tmp_path):
    device = QUIET + "+stuck:low=0.03,high=0.03"
    calibration = calibrated(loop_state)
    weights, plan = planned(loop_state, "sign", 2.5, device)
    errors = []
    for feedback in (True, False):
        path = tmp_path / "x.cells"
        options = {"memory": SimulatedMemory(plan.device, 5), "chip": "simulated:5"}
        _, written = write_closed_loop(
            weights, plan, calibration, path, feedback=feedback, **options
        )
        with CellImage(path) as image:
            back = dict(Restoration(image, SimulatedChip(image, seed=5)).tensors())
        name = "fc.weight"
        assert np.array_equal(back[name], written.seen[name])
        covariance = calibration.layers[name].covariance
        errors.append(weighted_error(loop_state[name], back[name], covariance).sum())
    assert errors[0] < 0.5 * errors[1]


def test_fixed_length_indices_are_not_written_column_by_column(loop_state, calibrated):
    weights, plan = planned(loop_state, "fixed-length", 3.0)
    tensor = next(t for t in plan.tensors if t.code is not None)
    assert not isinstance(tensor.code, ByColumn)
    with pytest.raises(InputError, match="not written column by column"):
        close_loop(weights, plan, calibrated(loop_state), SimulatedMemory(plan.device, 5))
