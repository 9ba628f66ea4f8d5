"""A small network whose layers have correlated inputs, for the tests of the closed loop."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

import drawn
from softcell.curvature import Calibration, LayerCurvature

normal = partial(drawn.normal, label="loop")


def curvature(rows, columns, *, groups=1, seed=0, identity=False):
    """Curvature of inputs that go together: a few directions carry nearly all of it."""
    made = []
    for group in range(groups):
        if identity:
            made.append(np.eye(columns, dtype=np.float32))
            continue
        mixing = normal(columns, max(columns // 3, 1), seed=seed + group).astype(np.float64)
        square = (mixing @ mixing.T + 0.02 * np.eye(columns)).astype(np.float32)
        made.append((square + square.T) / 2)
    covariance = np.array(made, np.float32)
    means = np.einsum("gkk->g", covariance) / columns
    felt = np.repeat(means, rows // groups) * np.linspace(0.5, 1.5, rows)
    return LayerCurvature(covariance, felt.astype(np.float32))


def calibration_of(state, *, identity=False, skip=()):
    layers = {}
    for seed, (name, values) in enumerate(state.items()):
        if values.ndim < 2 or name in skip:
            continue
        rows, groups = len(values), len(values) if values.shape[1:] == (1, 3, 3) else 1
        own = curvature(rows, values.size // rows, groups=groups, seed=10 * seed, identity=identity)
        if groups > 1:
            joined = curvature(1, values.size, seed=10 * seed + 5, identity=identity)
            own = replace(own, across=replace(joined, joined=True))
        layers[name] = own
    norms = {"bn": 1e-5} if "bn.weight" in state else {}
    return Calibration(layers, norms, 1, "inputs")


STATE = {
    "conv.weight": 0.1 * normal(16, 4, 3, 3),
    "bn.weight": 1 + 0.1 * normal(16, seed=1),
    "bn.bias": 0.1 * normal(16, seed=2),
    "bn.running_mean": np.zeros(16, np.float32),
    "bn.running_var": np.ones(16, np.float32),
    "deep.weight": 0.3 * normal(16, 1, 3, 3, seed=3),
    "fc.weight": 0.2 * normal(10, 48, seed=4),
    "fc.bias": 0.1 * normal(10, seed=5),
    "steps": np.array(7),
}


@pytest.fixture(scope="session")
def loop_state():
    """Tensors of the small network."""
    return {
        name: np.asarray(v) if v.ndim == 0 else v.astype(np.float32) for name, v in STATE.items()
    }


@pytest.fixture(scope="session")
def state_for(loop_state):
    """Give the tensors to try a scheme with: `state_for(scheme)`."""

    def some(scheme):
        if scheme not in ("coarse-to-fine", "hybrid", "joint-map"):
            return loop_state
        # Each density that weights may have is a design of some seconds: one matrix will do.
        return {name: v for name, v in loop_state.items() if v.ndim < 2 or name == "fc.weight"}

    return some


@pytest.fixture(scope="session")
def calibrated():
    """Make a calibration for some tensors: `calibrated(state, identity=False, skip=())`."""
    return calibration_of
