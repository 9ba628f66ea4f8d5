"""Images and plans from before decode and write as they did; comparisons come out the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import softcell
from softcell.allocate.plan_file import load_plan, require_network
from softcell.image.cell_image import STORE, CellImage
from softcell.image.scrambling import scrambling_bytes
from softcell.image.write import write_image
from softcell.weights import parse_weights

FOLDER = Path(__file__).parent / "vectors" / "images"
VECTORS = json.loads((FOLDER / "vectors.json").read_text())

ALIKE = 0.999
"""Share of numbers that must be the same to the bit: tables are floating-point, and on another
processor a reading at the edge of a bin may fall into the next."""


def network() -> dict[str, np.ndarray]:
    """Return the tensors in the order in which the images have them, in their own types."""
    order = [tensor.info.name for tensor in load_plan(FOLDER / "float32.json").tensors]
    tensors = load_file(FOLDER / "network.safetensors")
    return {name: tensors[name] for name in order}


@pytest.mark.parametrize("case", VECTORS["decoded"], ids=lambda case: case["image"])
def test_an_image_decodes_to_what_it_did(case):
    tensors = softcell.read(FOLDER / case["image"], **case["reading"])
    with np.load(FOLDER / case["tensors"]) as expected:
        assert list(tensors) == list(expected)
        same = [(tensors[name] == expected[name]).reshape(-1) for name in expected]
        assert all(tensors[name].dtype == expected[name].dtype for name in expected)
    assert np.concatenate(same).mean() >= ALIKE


def share_alike(one, region, image, same):
    """Return the share of equal levels in a region of one image and the same one of another."""
    assert region.cells == same.cells
    levels = (each.levels(at, 0, at.cells) for each, at in ((one, region), (image, same)))
    return np.equal(*levels).mean()


def planned(case):
    """Return a case as a parameter: joint maps for a span are designs of some seconds each."""
    slow = case["plan"].startswith("joint-map-1d-10y")
    return pytest.param(case, id=case["plan"], marks=[pytest.mark.slow] if slow else [])


PLANNED = [planned(case) for case in VECTORS["decoded"] if "plan" in case]


@pytest.mark.parametrize("case", PLANNED)
def test_a_plan_writes_the_image_that_it_did(case, tmp_path):
    plan = load_plan(FOLDER / case["plan"])
    with parse_weights(network()) as weights:
        require_network(plan, weights)
        write_image(weights, plan, tmp_path / "again.cells")
    with CellImage(tmp_path / "again.cells") as again, CellImage(FOLDER / case["image"]) as image:
        # Images from before were not scrambled.
        assert again.header.metadata() == image.header.metadata() | {"scrambled": True}
        assert list(again.regions()) == list(image.regions())
        for region in image.regions():
            if region.index is not None:
                assert share_alike(again, region, image, region) >= ALIKE
        coded, before = (each.sections(STORE).get("") for each in (again, image))
        if before is not None:
            assert (coded ^ scrambling_bytes(0, len(coded)) == before).mean() >= ALIKE


@pytest.mark.parametrize("name", ["joint-map-1d-10y", "joint-map-1d-10y-untold"])
def test_a_matrix_of_joint_cells_for_a_span_is_written_as_it_was(name, tmp_path):
    """One design of the three of the whole plan, which is slow."""
    plan = load_plan(FOLDER / f"{name}.json")
    (tensor,) = (each for each in plan.tensors if each.info.name == "fc.weight")
    with parse_weights({"fc.weight": network()["fc.weight"]}) as weights:
        write_image(weights, replace(plan, tensors=(tensor,)), tmp_path / "one.cells")
    with CellImage(tmp_path / "one.cells") as one, CellImage(FOLDER / f"{name}.cells") as image:
        assert one.header.store == image.header.store
        (region,), (same,) = (
            [region for region in each.regions() if region.label == "cells/fc.weight"]
            for each in (one, image)
        )
        assert share_alike(one, region, image, same) >= ALIKE


def test_a_comparison_comes_out_as_it_did():
    state = network()
    probe = np.random.default_rng(5).normal(size=(40, 16)).astype(np.float32)
    signs = state["fc.weight"].astype(np.float64) @ probe > 0

    def evaluate(tensors) -> float:
        return float(((np.asarray(tensors["fc.weight"], np.float64) @ probe > 0) == signs).mean())

    schemes = [row["scheme"] for row in VECTORS["compare"]]
    found = softcell.compare(state, evaluate, schemes=schemes, cells_per_weight=(2.5,), seeds=2)
    for result, row in zip(found, VECTORS["compare"], strict=True):
        assert result.cells_per_weight == row["cells_per_weight"]
        assert result.side_cells_per_weight == row["side_cells_per_weight"]
        assert result.accuracies == pytest.approx(row["accuracies"], abs=0.003)
