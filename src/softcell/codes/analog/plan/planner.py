"""The analog codes of a plan: ranges of every tensor, and the best share of cells for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from softcell.allocate.setting import Setting
from softcell.allocate.survey import TensorSurvey
from softcell.codes.analog.code import AnalogCode
from softcell.codes.analog.plan.cells import MOST, even_cells, sensitive_cells
from softcell.codes.analog.plan.ranges import LARGE_CELLS, TensorRanges, class_cells, tensor_ranges
from softcell.codes.analog.plan.stored import masks_zeros, stored_magnitudes
from softcell.codes.analog.side_information import side_bits
from softcell.progress import Progress
from softcell.weights.finite import as_rows, finite_weights

_RUN_WEIGHTS = 1 << 20

_ROUNDS = 10
"""Rounds in which a budget is corrected by what its shares cost in side information."""

_FEWEST_COLUMNS = (1, 32, 512, np.inf)
"""Weights that a row needs to be given cells of its own: each is tried."""

Cells = dict[str, NDArray[np.uint8]]
"""Cells of a weight by tensor, shape (rows, ranges)."""

Codes = Mapping[str, AnalogCode]
"""Codes by tensor."""


class AnalogPlanner:
    """Ranges of every analog tensor.

    Args:
        setting: What has to be stored.
        large: Share of the weights that form the class of large ones; 0 for one class.
        reads: Cells of a (small) weight by tensor, for which ranges are chosen.
        progress: Called after every tensor.
    """

    def __init__(
        self,
        setting: Setting,
        *,
        large: float,
        reads: Mapping[str, float],
        progress: Progress | None = None,
    ) -> None:
        self._setting, self._tensors = setting, setting.matrices
        self._ranges: dict[str, TensorRanges] = {}
        self._counts: dict[str, NDArray[np.int64]] = {}
        for done, s in enumerate(self._tensors, start=1):
            self._ranges[s.info.name] = tensor_ranges(
                stored_magnitudes(setting, s),
                setting.scheme,
                setting.channel,
                reads=reads[s.info.name],
                large=large,
            )
            self._counts[s.info.name] = self._count(s)
            if progress:
                progress("ranges", done, len(self._tensors))

    def codes(self) -> Codes:
        """Return the codes that keep to the target and leave the least expected loss.

        Every weight has one cell where even that is more than the target.
        """
        best = self._codes({s.info.name: self._ones(s) for s in self._tensors})
        least = self._loss(best)
        budget = self._cells(best) + self._setting.target - self.total(best)
        for share in self._shares():
            for codes in self._filling(share, budget):
                if (loss := self._loss(codes)) < least:
                    best, least = codes, loss
        return best

    def _filling(self, share: Callable[[float], Cells], budget: float) -> Iterator[Codes]:
        """Yield codes that keep to the target, and come ever closer to it.

        What the shares of a budget cost in side information is known only when they are there.
        """
        target = self._setting.target
        enough, too_much, step = 0.0, np.inf, 1.0
        for _ in range(_ROUNDS):
            codes = self._codes(share(budget))
            spare = target - self.total(codes)
            if spare >= 0:
                yield codes
                if spare <= 1e-4 * target or not self._setting.scheme.has("sensitivity"):
                    return
                enough = max(enough, budget)
                budget = min(budget + spare, (enough + too_much) / 2)
            else:
                too_much = min(too_much, budget)
                budget = max(budget + step * spare, (enough + too_much) / 2)
                step *= 2

    def total(self, codes: Codes) -> int:
        """Return all cells that a decoder needs."""
        return self._setting.cells(
            (int(np.ceil(side_bits(code, counts.sum(axis=0)) / 8)), _own_cells(code, counts))
            for code, counts in ((code, self._counts[name]) for name, code in codes.items())
        )

    def _code(self, s: TensorSurvey, cells: NDArray[np.uint8]) -> AnalogCode:
        ranges = self._ranges[s.info.name].ranges
        return AnalogCode(self._setting.scheme.has("sign"), self._mask(s), ranges, cells)

    def _codes(self, cells: Cells) -> Codes:
        return {s.info.name: self._code(s, cells[s.info.name]) for s in self._tensors}

    def _mask(self, s: TensorSurvey) -> bool:
        return len(self._ranges[s.info.name].ranges) > 1 or masks_zeros(self._setting, s)

    def _ones(self, s: TensorSurvey) -> NDArray[np.uint8]:
        return np.ones((s.rows, len(self._ranges[s.info.name].ranges)), np.uint8)

    def _count(self, s: TensorSurvey) -> NDArray[np.int64]:
        """Return a tensor's weights by row and class, class 0 included."""
        kinds = len(self._ranges[s.info.name].ranges) + 1
        counts = np.zeros((s.rows, kinds), np.int64)
        counts[:, 1] = s.columns
        if not self._mask(s):
            return counts
        code = self._code(s, self._ones(s))
        rows = as_rows(finite_weights(self._setting.weights, s.info.name))
        step = max(_RUN_WEIGHTS // s.columns, 1)
        for first in range(0, s.rows, step):
            classes = code.classes(rows[first : first + step])
            for kind in range(kinds):
                counts[first : first + step, kind] = (classes == kind).sum(axis=1)
        return counts

    def _cells(self, codes: Codes) -> int:
        return sum(_own_cells(code, self._counts[name]) for name, code in codes.items())

    def _loss(self, codes: Codes) -> float:
        """Return the expected loss: squared errors, each times what the loss feels of it."""
        total = 0.0
        for s in self._tensors:
            ranges, counts = self._ranges[s.info.name], self._counts[s.info.name][:, 1:]
            error = ranges.bias + ranges.variance / codes[s.info.name].cells
            total += float((s.importance * (counts * error).sum(axis=1)).sum())
        return total

    def _shares(self) -> list[Callable[[float], Cells]]:
        """Return the ways to share a number of cells that are worth a try."""
        if not self._tensors:
            return []
        if not self._setting.scheme.has("sensitivity"):
            return [self._evenly]
        columns = [s.columns for s in self._tensors]
        # Limits that tell the same tensors apart are one.
        limits = {sum(c < limit for c in columns): limit for limit in _FEWEST_COLUMNS}
        return [partial(self._by_loss, fewest_columns=limit) for limit in limits.values()]

    def _evenly(self, budget: float) -> Cells:
        """Give each class its part of one and the same number of cells."""

        def at(mean: float) -> tuple[Cells, int]:
            cells, used = {}, 0
            for name, counts in self._counts.items():
                columns = [
                    even_cells(len(counts), mean * part, counts[:, kind])
                    for kind, part in enumerate(class_cells(counts.shape[1] - 1), start=1)
                ]
                cells[name] = np.stack(columns, axis=1)
                used += int((cells[name] * counts[:, 1:]).sum())
            return cells, used

        low, high = 1.0 / LARGE_CELLS, float(MOST)
        if at(high)[1] <= budget:
            return at(high)[0]
        while high - low > 1e-6:
            middle = (low + high) / 2
            low, high = (middle, high) if at(middle)[1] <= budget else (low, middle)
        return at(low)[0]

    def _by_loss(self, budget: float, *, fewest_columns: float) -> Cells:
        """Give cells where they take most from the loss; rows too short have the tensor's mean."""
        gains, sizes = [], []
        for s in self._tensors:
            felt = s.importance
            if s.columns < fewest_columns:
                felt = np.full(s.rows, felt.mean())
            # Class by class, so that equal rows of a class stand in line for what is left over.
            gains.append(self._ranges[s.info.name].variance[:, None] * felt[None, :])
            sizes.append(self._counts[s.info.name][:, 1:].T)
        shared = sensitive_cells(
            np.concatenate([g.ravel() for g in gains]),
            np.concatenate([n.ravel() for n in sizes]),
            budget,
        )
        ends = np.cumsum([size.size for size in sizes])
        return {
            s.info.name: np.ascontiguousarray(part.reshape(size.shape).T)
            for s, size, part in zip(self._tensors, sizes, np.split(shared, ends[:-1]))
        }


def _own_cells(code: AnalogCode, counts: NDArray[np.int64]) -> int:
    """Return the cells of a tensor with so many weights by row and class."""
    return int((counts[:, 1:] * code.cells).sum())
