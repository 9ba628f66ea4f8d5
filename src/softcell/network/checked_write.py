"""A network through the feedback loop, and what other inputs say of that: the loop falls back."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from softcell.allocate import Plan
from softcell.atomic_file import AtomicFile
from softcell.curvature import Calibration
from softcell.curvature.procedures import CLOSED, FALL_BACKS, OPEN, calibration_by, curvature_by
from softcell.feedback.memory import SimulatedMemory
from softcell.image.closed_loop import WrittenNetwork, losses
from softcell.image.header import ImageHeader
from softcell.image.loop_check import MatrixCheck, best_procedure, check_matrices
from softcell.network.corrections import factors, group_errors
from softcell.network.loop_check import CORRECTED, LoopCheck
from softcell.network.network import Network, opened
from softcell.network.write import commit_with_chip, write_network
from softcell.progress import Progress
from softcell.weights.finite import as_rows

_EXPECTED, _SMALL, _LARGE = 3.0, 0.01, 0.5
"""A divergence is as expected up to this multiple of what is predicted, or where it is small; a
large one is looked into however it was predicted."""

SURPRISING = 2.0
"""A calibration is doubted that was off by more than this factor when it was made."""

_WORTH = 0.5
"""Part of the open loop's divergence up to which the closed loop is worth it, whatever was
predicted."""

_BETTER = 0.97
"""Another procedure is taken if it leaves no more than this part of the divergence."""


@dataclass(frozen=True, eq=False)
class _Attempt:
    """One way to write a network, and what came of it."""

    procedures: Mapping[str, str]
    calibration: Calibration
    plan: Plan
    header: ImageHeader
    written: WrittenNetwork
    matrices: tuple[MatrixCheck, ...]
    measured: float | None

    def better(self, other: _Attempt) -> bool:
        """Say whether this one is clearly better in whole, or nothing is known in whole."""
        if self.measured is None or other.measured is None:
            return True
        return self.measured <= _BETTER * other.measured


def write_checked(
    network: Network,
    plan: Callable[[Network], Plan],
    path: Path | str,
    *,
    chip: Path | str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[ImageHeader, Plan, LoopCheck]:
    """Write a network through the feedback loop, and fall back where that does harm.

    Where the network's outputs diverge by more than the curvature predicts, or the calibration was
    off when it was made, a matrix whose own outputs err more with feedback than without goes by
    what serves it best: the moments of other inputs, more damping, or an open loop. If that does
    not do, these are tried for all matrices together, and so are sensitivities that are corrected
    by what errors in groups of layers were measured to do; the least divergence is taken. All is
    measured on inputs that were held out.

    Args:
        network: The network, with its calibration.
        plan: Plans it for the loop, by the calibration that it is given.
        path: Image to write.
        chip: File to keep the chip in, if any; it appears together with the image.
        seed: Which simulated chip it is written to.
        progress: Called as the work goes on.

    Returns:
        The image's header, the plan that it was written by, and what was found.
    """
    with ExitStack() as unfinished:
        attempts = _Attempts(network, plan, path, seed, progress)
        unfinished.callback(attempts.discard)
        best, check = _best(attempts)
        header = attempts.kept(best)
        commit_with_chip(attempts.file, path, chip, seed=seed, progress=progress)
    return header, best.plan, check


def checked(
    network: Network, plan: Callable[[Network], Plan], *, progress: Progress | None = None
) -> tuple[Network, Plan, LoopCheck]:
    """Return how a network is best written, before a real chip is: `write_checked` on a simulated
    one.

    Args:
        network: The network, with its calibration.
        plan: Plans it for the loop.
        progress: Called as the work goes on.

    Returns:
        The network with the calibration that it is to be written by, its plan, and what was found.
    """
    with tempfile.TemporaryDirectory(prefix="softcell-") as folder:
        attempts = _Attempts(network, plan, Path(folder) / "image.cells", 0, progress)
        best, check = _best(attempts)
        attempts.discard()
    return replace(network, calibration=best.calibration), best.plan, check


def _best(attempts: _Attempts) -> tuple[_Attempt, LoopCheck]:
    """Return the attempt that serves held-out inputs best, and what was found on the way."""
    first = best = attempts.made({})
    predicted = attempts.predicted(first)
    doubted = attempts.doubted(first, predicted)
    harmful = _harmful(first) if doubted else []
    for last in (False, True):
        if not harmful:
            break
        found = dict.fromkeys(harmful, OPEN) if last else attempts.fall_backs(best, harmful)
        other = attempts.made({**best.procedures, **found})
        harmful = _harmful(other)
        best = other if other.better(best) else best
    tried: dict[str, float] = {}
    procedure = CLOSED
    if _unexpected(best.measured, predicted):
        closed = best.measured or 0.0
        for name, other in attempts.for_all(best):
            tried[name] = np.inf if other.measured is None else other.measured
            if other.better(best):
                best, procedure = other, name
            if name == OPEN and closed <= _WORTH * tried[name]:
                break
    held = attempts.calibration.held
    check = LoopCheck(
        0 if held is None else held.inputs,
        best.matrices,
        predicted,
        first.measured,
        tried,
        procedure,
        best.measured,
        attempts.calibration.surprise,
        doubted,
    )
    return best, check


class _Attempts:
    """Writes a network in several ways to one place."""

    def __init__(
        self,
        network: Network,
        plan: Callable[[Network], Plan],
        path: Path | str,
        seed: int,
        progress: Progress | None,
    ) -> None:
        self._network, self._plan, self._path = network, plan, path
        self._seed, self._progress = seed, progress
        self.calibration = network.require_calibration()
        self.file = AtomicFile(path)
        self._last: _Attempt | None = None

    def made(
        self, procedures: Mapping[str, str], scales: Mapping[str, float] | None = None
    ) -> _Attempt:
        """Plan and write the network, and measure."""
        calibration = calibration_by(self.calibration, procedures).scaled(scales or {})
        network = replace(self._network, calibration=calibration)
        plan = self._plan(network)
        header, written = self._write(network, plan)
        matrices = check_matrices(
            plan, written, self.calibration, dict(procedures), self._memory(plan)
        )
        measured = None
        if network.divergence is not None:
            measured = network.divergence({**written.seen, **written.corrected})
        of = procedures, calibration, plan, header, written, tuple(matrices), measured
        self._last = _Attempt(*of)
        return self._last

    def doubted(self, attempt: _Attempt, predicted: float | None) -> bool:
        """Whether the errors of single matrices' outputs decide.

        Those of a convolution add up over places in their own ways: where the network's outputs are
        as predicted, a loop that goes by these outputs is right.
        """
        if self.calibration.kind == "inputs":
            return True
        if attempt.measured is not None:
            return _unexpected(attempt.measured, predicted)
        return (self.calibration.surprise or 0.0) > SURPRISING

    def fall_backs(self, attempt: _Attempt, names: list[str]) -> dict[str, str]:
        """Return what serves each of these matrices best."""
        memory = self._memory(attempt.plan)
        return {
            name: best_procedure(
                attempt.plan,
                name,
                as_rows(attempt.written.wanted[name]),
                self.calibration,
                memory,
            )
            for name in names
        }

    def for_all(self, best: _Attempt) -> Iterator[tuple[str, _Attempt]]:
        """Write the network in the open loop, by corrected sensitivities and by each procedure."""
        names = [n for n in self.calibration.layers if self.calibration.curvature(n) is not None]
        yield OPEN, self.made(dict.fromkeys(names, OPEN))
        scales = self._corrections(best)
        if len(set(scales.values())) > 1:  # only ratios between matrices matter
            yield CORRECTED, self.made(best.procedures, scales)
        for procedure in FALL_BACKS:
            if procedure != OPEN and any(
                curvature_by(self.calibration, name, procedure) is not None for name in names
            ):
                yield procedure, self.made(dict.fromkeys(names, procedure))

    def predicted(self, attempt: _Attempt) -> float | None:
        """Return the divergence that the curvature lets one expect."""
        found = losses(attempt.written, self.calibration)
        return sum(found.values()) if found else None

    def kept(self, attempt: _Attempt) -> ImageHeader:
        """Return the header of an attempt, whose image is there then."""
        if attempt is not self._last:
            network = replace(self._network, calibration=attempt.calibration)
            return self._write(network, attempt.plan)[0]
        return attempt.header

    def discard(self) -> None:
        """Remove what was not committed."""
        self.file.discard()

    def _write(self, network: Network, plan: Plan) -> tuple[ImageHeader, WrittenNetwork]:
        self.file.discard()
        self.file = AtomicFile(self._path)
        header, written = write_network(
            network, plan, self.file, seed=self._seed, progress=self._progress
        )
        assert written is not None  # it went through the loop
        return header, written

    def _memory(self, plan: Plan) -> SimulatedMemory:
        return SimulatedMemory(plan.device, self._seed, plan.procedure.verify_reads)

    def _corrections(self, attempt: _Attempt) -> dict[str, float]:
        network = self._network
        if network.divergence is None:
            return {}
        with opened(network, attempt.plan.procedure) as weights:
            state = {name: weights.read(name) for name in weights.names}
        found = group_errors(
            state,
            attempt.written,
            self.calibration,
            network.divergence,
            network.correct,
            progress=self._progress,
        )
        return factors(found)


def _harmful(attempt: _Attempt) -> list[str]:
    return [m.tensor for m in attempt.matrices if m.harmful]


def _unexpected(measured: float | None, predicted: float | None) -> bool:
    if measured is None or measured <= _SMALL:
        return False
    return not measured <= min(_EXPECTED * (np.inf if predicted is None else predicted), _LARGE)
