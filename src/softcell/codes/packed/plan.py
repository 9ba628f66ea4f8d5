"""Which rows share cells and which get several, from trial runs of the feedback loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from softcell.allocate.curves import Curve
from softcell.allocate.layer import feedback_layer
from softcell.allocate.setting import Setting
from softcell.allocate.sharing import share, steepest_first
from softcell.channel import channel_of
from softcell.codes.maps.lower_envelope import falling_hull
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
    PackedCodec,
    encode_packed_side,
    scale_index,
)
from softcell.devices import SimulatedCells
from softcell.errors import InfeasibleError
from softcell.feedback.layer import FeedbackLayer
from softcell.feedback.memory import SimulatedMemory, into

REACHES: Mapping[int, tuple[float, ...]] = {
    THIRD: (2.2, 2.9, 3.7),
    HALF: (2.2, 2.6, 3.1, 3.7),
    SINGLE: (2.6, 3.1, 3.7),
    DOUBLE: (3.4, 4.4),
    TRIPLE: (4.4,),
}
"""Scales that are tried for each class, in root mean squares of a row's weights."""

_TRIAL_WEIGHTS = 1 << 22
"""Weights that go through the loop together in trials."""

_TRIAL_SEED = 0  # of a chip that nothing is written to: its regions have names of their own
_ROUNDS = 20


@dataclass(frozen=True, eq=False)
class PackedTrial:
    """What each class would cost each row of a layer.

    Args:
        columns: Weights of a row.
        losses: Least loss over the scales tried, shape (rows, classes).
        scales: The scale that has it, in eighths of octaves, same shape.
    """

    columns: int
    losses: NDArray[np.float64] = field(repr=False)
    scales: NDArray[np.int32] = field(repr=False)


def plan_codes(setting: Setting) -> dict[str, PackedCode]:
    """Return the packed code of every matrix.

    Every matrix is stored on a simulated chip in each class at several scales, in the loop if its
    curvature is known; then cells go to the rows whose loss falls most, until the target is met.

    Raises:
        InfeasibleError: The target is less than what is stored besides the matrices.
        InputError: The store has no hard decisions.
    """
    trials: dict[str, PackedTrial] = {}
    for done, tensor in enumerate(setting.matrices, start=1):
        name = tensor.info.name
        layer = feedback_layer(setting.weights, tensor, setting.calibration)
        trials[name] = try_classes(layer, setting)
        if setting.progress:
            setting.progress("trials", done, len(setting.matrices))
    budget = setting.target - setting.store.cells(setting.fixed_bytes)
    best: dict[str, PackedCode] | None = None
    unused, margin = np.inf, 0.0
    for _ in range(_ROUNDS):
        codes = share_cells(trials, max(budget, 0.0))
        over = _cells(setting, trials, codes) - setting.target
        if over <= 0:
            if -over < unused:
                best, unused = codes, -over
            if over > -1e-3 * setting.target:
                break
            budget -= 0.7 * over
        elif budget <= 0:
            break
        else:
            # Rows without a partner can bring as much again: ever more is left for them.
            budget -= over + margin
            margin += 1e-3 * setting.target
    if best is None:
        needed = (setting.target + over) / setting.target * setting.cells_per_weight
        raise InfeasibleError(
            f"vectors, classes and scales alone take {needed:.3f} cells per weight; ask for "
            "more than that"
        )
    return best


def try_classes(layer: FeedbackLayer, setting: Setting) -> PackedTrial:
    """Store a layer on a simulated chip in each class of rows, at several scales, and read it.

    Rows do not depend on each other, so that copies of the layer in several classes and scales go
    through the loop side by side.

    Args:
        layer: The layer.
        setting: What to design for.
    """
    rows, columns = layer.weights.shape
    device = setting.design.device
    memory = SimulatedMemory(device, _TRIAL_SEED, setting.verify_reads)
    size = np.sqrt(np.square(layer.weights, dtype=np.float64).mean(axis=1))
    losses = np.full((rows, len(CELLS)), np.inf)
    scales = np.zeros((rows, len(CELLS)), np.int32)
    losses[:, NONE] = layer.loss(np.zeros_like(layer.weights))
    variants = [(kind, reach) for kind, reaches in REACHES.items() for reach in reaches]
    at_a_time = max(_TRIAL_WEIGHTS // layer.weights.size, 1) if layer.groups == 1 else 1
    for first in range(0, len(variants), at_a_time):
        chosen = variants[first : first + at_a_time]
        classes = np.repeat(np.array([kind for kind, _ in chosen], np.uint8), rows)
        for number, (kind, _) in enumerate(chosen):
            # Rows that are left over have no others to share cells with.
            end = (number + 1) * rows
            classes[end - rows % SHARING.get(kind, 1) : end] = SINGLE
        code = PackedCode(classes, scale_index(np.concatenate([size * r for _, r in chosen])))
        copies = layer.repeated(len(chosen))
        codec = code.columns(copies.weights, setting.design)
        region = f"trial/{first}/{layer.name}"
        targets, _ = copies.store(into(memory, region, codec, channel_of(device)))
        seen = _read_back(targets, codec, setting, region)
        for number, (kind, _) in enumerate(chosen):
            own = slice(number * rows, (number + 1) * rows)
            loss = layer.loss(seen[own])
            better = (loss < losses[:, kind]) & (classes[own] == kind)
            losses[better, kind] = loss[better]
            scales[better, kind] = code.scales[own][better]
    return PackedTrial(columns, np.where(np.isinf(losses), losses[:, NONE, None], losses), scales)


def share_cells(trials: Mapping[str, PackedTrial], budget: float) -> dict[str, PackedCode]:
    """Give every row the class that its loss is worth.

    Each row climbs the lower convex hull of its losses over cells; cells go where one takes most
    from the loss, until the budget is spent. A row that is left without others to share its cells
    with has more of them.

    Args:
        trials: What the classes cost, by tensor.
        budget: Cells to spend.

    Returns:
        A code for each tensor.

    Example:
        >>> trial = PackedTrial(
        ...     columns=10,
        ...     losses=np.array([[9.0, 7, 4, 3, 1, 0.9], [90, 80, 40, 10, 9, 8.9]]),
        ...     scales=np.zeros((2, 6), np.int32),
        ... )
        >>> share_cells({"a": trial}, 10)["a"].classes.tolist()
        [0, 3]
    """
    hulls = {name: [_hull(row) for row in trial.losses] for name, trial in trials.items()}
    curves = [_curve(trials[name], rows) for name, rows in hulls.items()]
    return {
        name: _grouped(np.array([hull[n] for hull, n in zip(rows, taken)], np.uint8), trials[name])
        for (name, rows), taken in zip(hulls.items(), share(steepest_first(curves), budget))
    }


def _hull(losses: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the classes on a row's lower convex hull, from none on."""
    return falling_hull(CELLS, losses)


def _curve(trial: PackedTrial, hulls: Sequence[NDArray[np.int64]]) -> Curve:
    gain = np.zeros((len(hulls), len(CELLS) - 1))
    cost = np.zeros_like(gain)
    for row, (losses, hull) in enumerate(zip(trial.losses, hulls)):
        more = np.diff(CELLS[hull])
        gain[row, : more.size] = -np.diff(losses[hull]) / (more * trial.columns)
        cost[row, : more.size] = trial.columns * more
    return Curve(gain, cost)


def _grouped(kinds: NDArray[np.uint8], trial: PackedTrial) -> PackedCode:
    """Return the code; rows that are too many for their groups go on to more cells."""
    for kind, number in SHARING.items():
        rows = np.flatnonzero(kinds == kind)
        gain = trial.losses[rows, kind] - trial.losses[rows, kind + 1]
        most = np.argsort(-gain, kind="stable")[: len(rows) % number]
        kinds[rows[most]] = kind + 1
    return PackedCode(kinds, trial.scales[np.arange(len(kinds)), kinds])


def _read_back(
    targets: NDArray[np.float32],
    codec: PackedCodec,
    setting: Setting,
    region: str,
) -> NDArray[np.float32]:
    """Return what the cells of a trial give at the age that the plan is for."""
    device = setting.design.device
    levels = codec.encode(targets)
    chip = SimulatedCells(device, _TRIAL_SEED)
    written = chip.write(region, levels.reshape(-1))
    readings = chip.read(region, device.age(written, setting.channel.age_seconds))
    return codec.decode(readings.reshape(levels.shape), setting.channel)


def _cells(
    setting: Setting, trials: Mapping[str, PackedTrial], codes: Mapping[str, PackedCode]
) -> int:
    return setting.cells(
        (len(encode_packed_side(code)), code.cells(trials[name].columns))
        for name, code in codes.items()
    )
