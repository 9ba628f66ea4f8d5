"""Plans: the count of cells, and what every protection is worth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drawn import laplacian, normal, uniform
from softcell.allocate.plan import make_plan
from softcell.codes.schemes import CONVENTIONAL
from softcell.devices import parse_device
from softcell.errors import InfeasibleError, InputError
from softcell.image.cell_image import CellImage, levels_section
from softcell.image.readings import SimulatedChip
from softcell.image.restore import Restoration
from softcell.image.write import write_image
from softcell.weights import StateDictWeights

DEVICE = parse_device("pcm-partial-reset")
ANALOG = ("naive", "sign+adaptive", "sparsity", "sensitivity", "combined")


ROWS = np.linspace(1, 0, 40)[:, None]
ODD = {
    "plain": {"a": normal(32, 200), "b": normal(32)},
    "tiny": {"a": normal(2, 3), "b": normal(2)},
    "one_weight": {"a": normal(1, 1)},
    "long": {"a": normal(9000, 3)},
    "one_row": {"a": normal(1, 5000)},
    "one_column": {"a": normal(900, 1)},
    "some_zeros": {"a": np.zeros((30, 40), np.float32), "b": normal(10, 400)},
    "all_zeros": {"a": np.zeros((30, 40), np.float32)},
    "vectors": {"a": normal(100), "b": np.float32(3) * normal(4)},
    "scalars": {"a": np.array(3.0, np.float32), "n": np.array(5)},
    "pruned": {"a": normal(40, 300) * (uniform(40, 300) < 0.2)},
    "pruned_by_row": {"a": normal(40, 300) * (uniform(40, 300) < ROWS)},
    "rows_of_any_size": {"a": normal(40, 300) * np.geomspace(1e-3, 1e3, 40)[:, None]},
    "tensors_of_any_size": {
        "a": normal(20, 300) * np.float32(1e-30),
        "b": normal(20, 300) * np.float32(1e30),
        "c": normal(20, 300),
    },
    "subnormal": {"a": normal(20, 30) * np.float32(1e-42), "b": normal(20, 300)},
    "depthwise": {"a": normal(200, 1, 3, 3), "b": normal(30, 400)},
    "constant": {"a": np.full((40, 50), 0.5, np.float32), "b": normal(50, 60)},
    "outlier": {"a": np.append(normal(40, 99), np.full((40, 1), 1e4, np.float32), axis=1)},
    "empty": {"a": np.zeros((0, 7), np.float32), "b": normal(30, 40)},
}
ODD = {name: {k: np.asarray(v, v.dtype) for k, v in net.items()} for name, net in ODD.items()}
for net in ODD.values():
    for key, values in net.items():
        if values.dtype == np.float64:
            net[key] = values.astype(np.float32)


def image_of(state, tmp_path, scheme, **options):
    weights = StateDictWeights(state)
    plan = make_plan(weights, options.pop("device", DEVICE), scheme, **options)
    path = tmp_path / "x.cells"
    return plan, write_image(weights, plan, path), path


def all_ones(plan):
    return all((t.code.cells == 1).all() for t in plan.tensors if t.code is not None)


@pytest.mark.parametrize("scheme", ANALOG)
@pytest.mark.parametrize("name", ODD)
def test_the_target_is_kept_or_every_weight_has_one_cell(name, scheme, tmp_path):
    for target in (1.0, 1.6, 3.3):
        plan, header, _ = image_of(ODD[name], tmp_path, scheme, cells_per_weight=target)
        if header.cells > target * header.weights:
            assert all_ones(plan)
        assert plan.target == target


FAST = ("plain", "all_zeros", "vectors", "scalars", "empty")
NAMES = [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in ODD]


@pytest.mark.parametrize("scheme", ["coarse-to-fine", "hybrid", "joint-map", "entropy-coded"])
@pytest.mark.parametrize("name", NAMES)
def test_the_other_codes_keep_to_the_target(name, scheme, tmp_path):
    state = ODD[name]
    weights = sum(values.size for values in state.values())
    for target in (1.6, 4.0):
        try:
            plan, header, path = image_of(state, tmp_path, scheme, cells_per_weight=target)
        except InfeasibleError:
            assert scheme == "entropy-coded"
            assert weights < 100
            continue
        if header.cells > target * weights:
            codes = [t.code for t in plan.tensors if t.code is not None]
            if scheme == "joint-map":
                assert all((code.cells == 1).all() for code in codes)
            else:
                assert all(not code.bits.any() for code in codes)  # no coarse bits at all
        with CellImage(path) as image:
            restored = dict(Restoration(image, SimulatedChip(image, seed=0)).tensors())
        for key, values in state.items():
            assert restored[key].shape == values.shape
            assert np.isfinite(restored[key]).all()


@pytest.mark.parametrize("scheme", ANALOG)
def test_nearly_all_of_the_target_is_used(scheme, tmp_path):
    for target in (2.0, 3.3):
        _, header, _ = image_of(ODD["plain"], tmp_path, scheme, cells_per_weight=target)
        assert 0.97 * target < header.cells_per_weight <= target


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_the_target_is_kept_by_any_network(data, tmp_path_factory):
    state = {}
    for number in range(data.draw(st.integers(1, 4))):
        shape = data.draw(
            st.one_of(
                st.tuples(st.integers(1, 60), st.integers(1, 60)),
                st.tuples(st.integers(1, 12), st.integers(1, 6), st.integers(1, 3)),
                st.tuples(st.integers(0, 40)),
            )
        )
        scale = data.draw(st.sampled_from([1e-20, 1e-3, 1.0, 1e10]))
        density = data.draw(st.sampled_from([0.0, 0.05, 0.5, 0.97, 1.0]))
        kept = uniform(*shape, seed=number) < density
        state[f"t{number}"] = (normal(*shape, seed=number) * kept * scale).astype(np.float32)
    if sum(values.size for values in state.values()) == 0:
        return
    scheme = data.draw(st.sampled_from(ANALOG))
    target = data.draw(st.floats(1, 9))
    fisher = {name: np.abs(values) + uniform(*values.shape) for name, values in state.items()}
    plan, header, path = image_of(
        state,
        tmp_path_factory.mktemp("any"),
        scheme,
        cells_per_weight=target,
        sensitivity=data.draw(st.sampled_from([None, fisher])),
    )
    assert header.cells <= target * header.weights or all_ones(plan)
    with CellImage(path) as image:
        restored = dict(Restoration(image, SimulatedChip(image, seed=0), threads=1).tensors())
    for name, values in state.items():
        assert restored[name].shape == values.shape
        assert np.isfinite(restored[name]).all()
        assert np.abs(restored[name]).max(initial=0) <= 1.01 * np.abs(values).max(initial=0)


@pytest.mark.parametrize("scheme", [*CONVENTIONAL, "naive", "combined"])
@pytest.mark.parametrize("name", ["plain", "pruned_by_row", "vectors", "some_zeros", "empty"])
def test_the_header_counts_what_is_in_the_file(name, scheme, tmp_path):
    target = None if scheme in CONVENTIONAL else 3.0
    _, header, path = image_of(ODD[name], tmp_path, scheme, cells_per_weight=target)
    with CellImage(path) as image:
        found = image.header
        assert (found.cells, found.weights) == (header.cells, header.weights)
        exported = sum(len(image.levels(region, 0, region.cells)) for region in image.regions())
        assert exported == header.cells == header.analog_cells + header.store_cells
        sections = image._container.sections
        analog = [
            sections[levels_section(i)].length for i, t in enumerate(found.tensors) if t.cells
        ]
        assert sum(analog) == header.analog_cells
        bits = header.store.coded_bits(header.store_bytes)
        if header.store_cells:
            assert sections["store"].length == -(-bits // 8)
            assert header.store_cells == -(-bits // header.store.bits_per_symbol)
    assert header.cells_per_weight == header.cells / sum(v.size for v in ODD[name].values())
    assert 0 <= header.side_cells_per_weight <= header.cells_per_weight


@pytest.mark.parametrize(
    ("scheme", "payload", "side"),
    [("float32", 4 * 6432, 0), ("float16", 2 * 6432, 0), ("int8", 6400 + 2 * 32, 2 * 32)],
)
def test_conventional_payload_and_side_information(scheme, payload, side, tmp_path):
    """32 x 200 weights and 32 of a vector; int8 has a scale of two bytes for each row."""
    _, header, _ = image_of(ODD["plain"], tmp_path, scheme)
    assert (header.payload_bytes, header.store_bytes - header.payload_bytes) == (payload, side)
    cells = -(-header.store.coded_bits(payload + side) // 2)
    assert header.cells == header.store_cells == cells
    assert header.side_cells_per_weight == pytest.approx(
        cells * side / (payload + side) / header.weights
    )
    bits = {"float32": 32, "float16": 16, "int8": 8}[scheme]
    assert header.cells_per_weight == pytest.approx(bits / header.store.bits_per_cell, rel=0.03)


def test_vectors_of_an_analog_scheme_are_side_information(tmp_path):
    _, header, _ = image_of(ODD["vectors"], tmp_path, "combined", cells_per_weight=2.0)
    assert header.payload_bytes == 0
    assert header.side_cells_per_weight == header.cells_per_weight > 8


def test_a_mask_is_paid_only_where_it_pays(tmp_path):
    few = {"a": normal(40, 300) * (uniform(40, 300) < 0.97)}
    many = {"a": normal(40, 300) * (uniform(40, 300) < 0.3)}
    options = {"scheme": "sparsity", "cells_per_weight": 1.6}
    assert not image_of(few, tmp_path, **options)[0].tensors[0].code.mask
    assert image_of(many, tmp_path, **options)[0].tensors[0].code.mask


@pytest.mark.parametrize("scheme", ["sparsity", "combined"])
def test_behind_a_mask_there_may_be_less_than_a_cell_per_weight(scheme, tmp_path):
    left = normal(40, 2000) * (uniform(40, 2000) < 0.05)
    state = {"a": left, "half": normal(40, 25) * (uniform(40, 25) < 0.5)}
    # The mask of 95 % zeros takes 0.15 cells per weight, the signs 0.03.
    for cells, least in ((0.2, 0.2), (0.4, 0.37)):
        plan, header, path = image_of(state, tmp_path, scheme, cells_per_weight=cells)
        assert least < header.cells_per_weight < max(cells, 0.27)
        assert all_ones(plan) == (cells == 0.2)
        # A zero that no mask keeps out would have a whole cell.
        assert all(tensor.code.mask for tensor in plan.tensors)
        with CellImage(path) as image:
            restored = dict(Restoration(image, SimulatedChip(image, seed=3)).tensors())
        for name, values in state.items():
            assert (restored[name][values == 0] == 0).all()
    with pytest.raises(InfeasibleError, match="a cell for each weight that is not masked, 4,"):
        image_of(state, tmp_path, scheme, cells_per_weight=0.04)


@pytest.mark.parametrize("scheme", ["sparsity", "combined"])
def test_masked_zeros_come_back_as_zeros_and_signs_are_exact(scheme, tmp_path):
    state = ODD["pruned"]
    _, _, path = image_of(state, tmp_path, scheme, cells_per_weight=2.0)
    with CellImage(path) as image:
        (restored,) = (v for _, v in Restoration(image, SimulatedChip(image, seed=3)).tensors())
    assert (restored[state["a"] == 0] == 0).all()
    assert (restored[state["a"] > 0] >= 0).all()
    assert (restored[state["a"] < 0] <= 0).all()


@pytest.mark.slow
def test_an_embedding_of_fifty_thousand_rows(tmp_path):
    """Counts for each row would cost more than they are worth; they are tried all the same."""
    state = {"embedding": laplacian(50_000, 16), "head": normal(64, 64)}
    fisher = {"embedding": uniform(50_000, 16, seed=2) ** 8, "head": np.ones((64, 64))}
    for scheme in ("naive", "sparsity", "combined"):
        for felt in (None, fisher):
            _, header, _ = image_of(state, tmp_path, scheme, cells_per_weight=2.5, sensitivity=felt)
            assert 2.3 < header.cells_per_weight <= 2.5


# What cannot be planned


def test_bad_requests_are_refused():
    weights = StateDictWeights(ODD["plain"])
    for cells in (None, 0.99, 65, np.nan, np.inf, -1):
        for scheme in ("inversion", "combined"):
            with pytest.raises((InputError, InfeasibleError), match="cells per weight"):
                make_plan(weights, DEVICE, scheme, cells_per_weight=cells)
    with pytest.raises(InputError, match="an age is from 0 to"):
        make_plan(weights, DEVICE, "int8", age_seconds=-1)
    with pytest.raises(InputError, match="unknown scheme"):
        make_plan(weights, DEVICE, "int7")
    with pytest.raises(InfeasibleError, match="cannot hold error-free bits"):
        make_plan(weights, parse_device("gaussian:snr_db=-15"), "int8")


def test_float16_names_the_tensor_that_does_not_fit(tmp_path):
    with pytest.raises(InputError, match="tensor 'b': a weight of .* is beyond float16"):
        image_of({"b": ODD["tensors_of_any_size"]["b"]}, tmp_path, "float16")
    assert list(tmp_path.iterdir()) == []


def test_a_plan_is_for_its_own_network(tmp_path):
    plan = make_plan(StateDictWeights(ODD["plain"]), DEVICE, "int8")
    for other in ({"a": normal(32, 200)}, {"a": normal(32, 201), "b": normal(32)}):
        with pytest.raises(InputError):
            write_image(StateDictWeights(other), plan, tmp_path / "x.cells")
    assert list(tmp_path.iterdir()) == []
