"""Levels of inputs that differ a little from row to row."""

from __future__ import annotations

import numpy as np
import pytest

from softcell.devices.measurements import grouped_inputs

RANDOM = np.random.default_rng(6)


@pytest.mark.parametrize("spacing", ["linear", "logarithmic"])
@pytest.mark.parametrize("each", [3, 30])
def test_jitter_is_grouped(spacing, each):
    levels = np.linspace(1, 3, 9) if spacing == "linear" else 10.0 ** np.arange(9)
    inputs = np.tile(levels, each)
    jitter = 0.005 * RANDOM.uniform(-1, 1, inputs.size)
    jittered = inputs + jitter if spacing == "linear" else inputs * (1 + jitter)
    found, place, width = grouped_inputs(jittered)
    assert found == pytest.approx(levels, rel=0.01)
    assert (place == np.tile(np.arange(9), each)).all()
    assert width <= 0.011 * levels[-1]


@pytest.mark.parametrize(
    "levels",
    [
        [1, 2, 3],
        [1, 10, 100, 1000],
        [1, 2, 5, 10, 20, 50, 100],
        [1.0, 1.1, 2.0, 2.1, 3.0, 3.1],
        [0, 1e-9, 2e-9],
        [-2, -1, 0, 1, 2],
        [0.7, 0.71, 0.72, 1.5],
        [0.7, 0.71, 0.72, 0.73, 1.5, 1.51, 1.52, 1.53],
    ],
)
def test_levels_that_are_meant_stay_as_they_are(levels):
    found, place, width = grouped_inputs(np.repeat(levels, 5))
    assert found.tolist() == levels
    assert (place == np.repeat(np.arange(len(levels)), 5)).all()
    assert width == 0


def test_rounding_of_sums_is_no_level():
    found, _, _ = grouped_inputs(np.array([0.1 + 0.2, 0.3, 0.3, 0.6, 0.6]))
    assert found == pytest.approx([0.3, 0.6])


def test_what_has_no_levels_is_left_alone():
    inputs = RANDOM.uniform(1, 3, 200)
    assert len(grouped_inputs(inputs)[0]) == 200
