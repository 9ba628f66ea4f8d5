"""Maps designed for a span of ages: less mean distortion over it than those of either end."""

from __future__ import annotations

import numpy as np
import pytest

from softcell.channel import law_of
from softcell.codes.coarse.design import design_map, estimates
from softcell.codes.joint.design import TABLE_BINS, design_joint_map, joint_estimates
from softcell.codes.maps.source import SHAPES
from softcell.devices import parse_device
from softcell.durations import parse_ages

DEVICE = parse_device("pcm-mushroom")
GAUSSIAN = SHAPES.index(2.0)


def span(*, told):
    return law_of(DEVICE, parse_ages("1m..10y", told=told))


def mean_distortion(design, *, told):
    """Mean over the ages of the span for the best decoder, from the formula of the mean square.

    E (v - e)^2 = E v^2 - E e^2 for a posterior mean e.
    """
    power = design.density @ design.values**2
    seen = 0.0
    matrices = span(told=True).matrices
    matrices = matrices if told else matrices.mean(axis=0, keepdims=True)
    for matrix in matrices:
        rows = matrix[design.levels]
        weight = design.density @ rows
        total = (design.density * design.values) @ rows
        seen += (total**2 / np.maximum(weight, 1e-300)).sum() / len(matrices)
    return (power - seen) / power


def test_one_cell():
    aged = design_map(span(told=True), GAUSSIAN, 0)
    told = mean_distortion(aged, told=True)
    assert told == pytest.approx(aged.distortion, rel=0.02)
    ends = [design_map(law_of(DEVICE, parse_ages(age)), GAUSSIAN, 0) for age in ("1m", "10y")]
    for end in ends:
        assert told < 0.99 * mean_distortion(end, told=True)
    ageless = design_map(span(told=False), GAUSSIAN, 0)
    untold = mean_distortion(ageless, told=False)
    assert untold == pytest.approx(ageless.distortion, rel=0.02)
    assert told < 0.8 * untold
    for other in (aged, *ends):
        assert untold < 0.9 * mean_distortion(other, told=False)


@pytest.mark.parametrize("bits", [1, 2])
def test_a_coarse_and_a_fine_cell(bits):
    told, untold = (
        design_map(span(told=told), GAUSSIAN, bits).distortion for told in (True, False)
    )
    fewer = design_map(span(told=False), GAUSSIAN, bits - 1).distortion
    assert told < 0.8 * untold < 0.8 * fewer


def test_tables_without_the_age_are_those_of_the_average_law():
    law = span(told=False)
    design = design_map(law, GAUSSIAN, 1)
    assert estimates(design, law).shape == (2, 1025)
    np.testing.assert_array_equal(estimates(design, law), estimates(design, law.average))


@pytest.mark.slow
def test_two_cells():
    designs = {
        "told": design_joint_map(span(told=True), GAUSSIAN),
        "untold": design_joint_map(span(told=False), GAUSSIAN),
        "1m": design_joint_map(law_of(DEVICE, parse_ages("1m")), GAUSSIAN),
        "10y": design_joint_map(law_of(DEVICE, parse_ages("10y")), GAUSSIAN),
    }
    told = {name: joint_distortion(design, told=True) for name, design in designs.items()}
    untold = {name: joint_distortion(design, told=False) for name, design in designs.items()}
    assert told["told"] == pytest.approx(designs["told"].distortion, rel=0.01)
    assert untold["untold"] == pytest.approx(designs["untold"].distortion, rel=0.01)
    assert told["told"] < 0.98 * min(told["1m"], told["10y"])
    assert untold["untold"] < 0.7 * min(untold["1m"], untold["10y"], untold["told"])
    assert all(told[name] < untold[name] for name in designs)


def joint_distortion(design, *, told):
    """The same for two cells, whose age is the same: the mixture of products."""
    matrices = span(told=True).matrices
    merged = matrices.reshape(len(matrices), 256, TABLE_BINS, -1).sum(axis=3)
    symbols = design.first.astype(int) * 256 + design.second
    mass = np.bincount(symbols, design.density, 65536).reshape(256, 256)
    moment = np.bincount(symbols, design.density * design.values, 65536).reshape(256, 256)
    weight = np.stack([m.T @ mass @ m for m in merged]) / len(merged)
    total = np.stack([m.T @ moment @ m for m in merged]) / len(merged)
    if not told:
        weight, total = weight.sum(axis=0), total.sum(axis=0)
        table = joint_estimates(design, span(told=False))[:-1, :-1]
        known = weight > 1e-12
        np.testing.assert_allclose(table[known], (total / weight)[known], rtol=1e-3, atol=1e-4)
    power = design.density @ design.values**2
    return (power - (total**2 / np.maximum(weight, 1e-300)).sum()) / power
