"""Which code, with which parameters, for which tensor: made before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from softcell.allocate.cells import even_cells, sensitive_cells
from softcell.allocate.ranges import TensorRanges, choose_large, class_cells, tensor_ranges
from softcell.allocate.scheme import Scheme, parse_scheme
from softcell.allocate.survey import (
    Progress,
    TensorSurvey,
    as_rows,
    finite_weights,
    survey,
)
from softcell.channel import Channel, channel_of
from softcell.codes.analog import AnalogCode, Histogram, side_bits
from softcell.codes.digital import FORMATS, DigitalStore, design_store
from softcell.devices import Device
from softcell.errors import InputError
from softcell.weights import TensorInfo, Weights

_MASKED_ZEROS = 0.05
"""Share of zeros from which a mask pays for itself."""


@dataclass(frozen=True, eq=False)
class TensorPlan:
    """How one tensor is stored.

    Args:
        info: Its name, shape and type.
        kind: "analog", a number format, or "raw".
        code: The analog code, for that kind.
    """

    info: TensorInfo
    kind: str
    code: AnalogCode | None = None


@dataclass(frozen=True, eq=False)
class Plan:
    """How a network is stored on a device.

    Args:
        scheme: Name of the scheme.
        device: The device.
        age_seconds: Age up to which the cells must be readable.
        store: The device's error-free digital storage at that age.
        tensors: One plan for each tensor, in the order of the weights.
        target: Cells per weight that were asked for; None for a conventional scheme.
    """

    scheme: str
    device: Device
    age_seconds: float
    store: DigitalStore
    tensors: tuple[TensorPlan, ...] = field(repr=False)
    target: float | None = None

    @property
    def weights(self) -> int:
        """Number of weights of the network: all of its parameters and buffers."""
        return sum(tensor.info.size for tensor in self.tensors)


def make_plan(
    weights: Weights,
    device: Device,
    scheme: str | Scheme,
    *,
    cells_per_weight: float | None = None,
    age_seconds: float = 0.0,
    sensitivity: Mapping[str, NDArray[np.floating]] | None = None,
    progress: Progress | None = None,
) -> Plan:
    """Plan the storage of a network.

    Args:
        weights: The network's tensors; each is read two or three times, one at a time.
        device: The device to store on.
        scheme: A scheme or its name.
        cells_per_weight: All cells, side information included, over the number of weights. The
            plan stays below, unless one cell for each weight is already more.
        age_seconds: Age up to which the cells must be readable.
        sensitivity: Diagonal Fisher information by tensor, for the scheme "sensitivity".
        progress: Called as the work goes on.

    Raises:
        InputError: The weights or the number of cells cannot be used.
        InfeasibleError: The device cannot hold error-free bits for the side information.
    """
    scheme = parse_scheme(scheme) if isinstance(scheme, str) else scheme
    analog = scheme.number_format is None
    if analog and cells_per_weight is None:
        raise InputError(f"scheme {scheme.name!r} needs a number of cells per weight")
    if analog and not 1 <= float(cells_per_weight or 0) <= 64:
        raise InputError(
            f"the analog code takes 1 to 64 cells per weight, got {cells_per_weight:g}"
        )
    channel = channel_of(device, age_seconds)
    store = design_store(channel)
    surveys = survey(weights, scheme, sensitivity=sensitivity, progress=progress)
    codes: dict[str, AnalogCode] = {}
    if analog:
        planner = _Planner(weights, scheme, channel, store, surveys, float(cells_per_weight or 0))
        codes = planner.codes(progress)
    tensors = tuple(TensorPlan(s.info, s.kind, codes.get(s.info.name)) for s in surveys)
    target = float(cells_per_weight) if analog and cells_per_weight is not None else None
    return Plan(scheme.name, device, age_seconds, store, tensors, target)


class _Planner:
    """The steps from surveys to analog codes, and what they share."""

    def __init__(
        self,
        weights: Weights,
        scheme: Scheme,
        channel: Channel,
        store: DigitalStore,
        surveys: list[TensorSurvey],
        cells_per_weight: float,
    ) -> None:
        self._weights, self._scheme = weights, scheme
        self._channel, self._store = channel, store
        self._analog = [s for s in surveys if s.kind == "analog"]
        self._fixed_bits = 8.0 * sum(
            s.info.nbytes if s.kind == "raw" else FORMATS[s.kind].size(s.info.shape)
            for s in surveys
            if s.kind != "analog"
        )
        self._budget = cells_per_weight * sum(s.info.size for s in surveys)

    def codes(self, progress: Progress | None) -> dict[str, AnalogCode]:
        """Return the code of every analog tensor."""
        stored = sum(s.info.size - (s.zeros if self._masks_zeros(s) else 0) for s in self._analog)
        if stored == 0:
            return {s.info.name: self._empty_code(s) for s in self._analog}
        signs = stored if self._scheme.has("sign") else 0
        spare = self._budget - self._cells_of_bits(self._fixed_bits + signs)
        large = 0.0
        if self._scheme.has("sparsity"):
            large = choose_large(
                self._pooled(),
                self._scheme,
                self._channel,
                cells_per_weight=spare / stored,
                bits_per_cell=self._store.bits_per_cell,
            )
        reads = max(spare / stored, 1.0) / (1 + large)
        ranges, counts = self._ranges(large, dict.fromkeys(self._names, reads), progress)
        codes = self._allocate(ranges, counts)
        if self._scheme.has("adaptive") and self._scheme.has("sensitivity"):
            means = {name: float(code.cells[:, 0].mean()) for name, code in codes.items()}
            ranges, counts = self._ranges(large, means, progress)
            codes = self._allocate(ranges, counts)
        return codes

    @property
    def _names(self) -> list[str]:
        return [s.info.name for s in self._analog]

    def _masks_zeros(self, tensor: TensorSurvey) -> bool:
        return self._scheme.has("sparsity") and tensor.zeros > _MASKED_ZEROS * tensor.info.size

    def _cells_of_bits(self, bits: float) -> float:
        """Return the cells of the digital store for so many bits, with a margin for rounding."""
        return 1.001 * bits / self._store.bits_per_cell + 2 * self._store.code.parity + 64

    def _pooled(self) -> Histogram:
        """Return the sizes of all weights, each in units of its tensor's deviation."""
        parts = []
        for s in self._analog:
            scale = np.sqrt(s.variance * s.info.size / max(s.info.size - s.zeros, 1))
            if scale > 0:
                parts.append((s.magnitudes.values / scale, s.magnitudes.counts))
        values = np.concatenate([v for v, _ in parts])
        counts = np.concatenate([c for _, c in parts])
        edges = np.linspace(0, values.max() * (1 + 1e-9), 513)
        total = np.histogram(values, edges, weights=counts)[0]
        centres = (edges[1:] + edges[:-1]) / 2
        return Histogram(centres[total > 0], total[total > 0])

    def _ranges(
        self, large: float, reads: dict[str, float], progress: Progress | None
    ) -> tuple[dict[str, TensorRanges], dict[str, NDArray[np.int64]]]:
        """Return ranges of every tensor and its weights by row and class, class 0 included."""
        ranges, counts = {}, {}
        for done, s in enumerate(self._analog, start=1):
            name = s.info.name
            chosen = tensor_ranges(
                s.magnitudes, self._scheme, self._channel, reads=reads[name], large=large
            )
            ranges[name] = chosen
            mask = len(chosen.ranges) > 1 or self._masks_zeros(s)
            counts[name] = np.zeros((s.rows, len(chosen.ranges) + 1), np.int64)
            counts[name][:, 1] = s.columns
            if mask:
                rows = as_rows(finite_weights(self._weights, name))
                cells = np.ones((s.rows, len(chosen.ranges)), np.uint8)
                code = AnalogCode(True, True, chosen.ranges, cells)
                for i in range(s.rows):
                    kinds = code.classes(rows[i : i + 1])
                    counts[name][i] = np.bincount(kinds[0], minlength=counts[name].shape[1])
            if progress:
                progress("ranges", done, len(self._analog))
        return ranges, counts

    def _allocate(
        self, ranges: dict[str, TensorRanges], counts: dict[str, NDArray[np.int64]]
    ) -> dict[str, AnalogCode]:
        """Share the cells that side information leaves."""
        codes = {}
        for s in self._analog:
            name = s.info.name
            chosen = ranges[name].ranges
            mask = len(chosen) > 1 or self._masks_zeros(s)
            cells = np.ones((s.rows, len(chosen)), np.uint8)
            if self._scheme.has("sensitivity"):
                cells[::2] = 4  # a stand-in of likely width, to count the side information
            codes[name] = AnalogCode(self._scheme.has("sign"), mask, chosen, cells)
        bits = self._fixed_bits + sum(
            side_bits(codes[name], counts[name].sum(axis=0)) for name in self._names
        )
        budget = self._budget - self._cells_of_bits(bits)
        if self._scheme.has("sensitivity"):
            return self._share_by_sensitivity(codes, ranges, counts, budget)
        units = sum(
            float((counts[n][:, 1:] @ class_cells(counts[n].shape[1] - 1)).sum()) for n in codes
        )
        mean = budget / max(units, 1.0)
        for name, code in codes.items():
            columns = [even_cells(len(code.cells), mean * c) for c in class_cells(len(code.ranges))]
            codes[name] = replace(code, cells=np.stack(columns, axis=1))
        return codes

    def _share_by_sensitivity(
        self,
        codes: dict[str, AnalogCode],
        ranges: dict[str, TensorRanges],
        counts: dict[str, NDArray[np.int64]],
        budget: float,
    ) -> dict[str, AnalogCode]:
        gains, sizes = [], []
        for s in self._analog:
            name = s.info.name
            gains.append(s.importance[:, None] * ranges[name].variance[None, :])
            sizes.append(counts[name][:, 1:])
        shared = sensitive_cells(
            np.concatenate([g.ravel() for g in gains]),
            np.concatenate([n.ravel() for n in sizes]),
            budget,
        )
        at = 0
        for name, size in zip(self._names, sizes):
            part = shared[at : at + size.size].reshape(size.shape)
            codes[name] = replace(codes[name], cells=part)
            at += size.size
        return codes

    def _empty_code(self, s: TensorSurvey) -> AnalogCode:
        """Return a code for a tensor of zeros alone."""
        chosen = tensor_ranges(s.magnitudes, self._scheme, self._channel, reads=1.0)
        cells = np.ones((s.rows, 1), np.uint8)
        return AnalogCode(self._scheme.has("sign"), self._masks_zeros(s), chosen.ranges, cells)
