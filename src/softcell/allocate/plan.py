"""Which code, with which parameters, for which tensor: made before anything is written."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from softcell.allocate.procedure import Procedure
from softcell.allocate.setting import Setting
from softcell.allocate.survey import Known, fitting_bits, survey
from softcell.channel import Law, law_of
from softcell.codes.code import Code, Design
from softcell.codes.families import FAMILIES
from softcell.codes.schemes import Scheme, parse_scheme, schemes_that
from softcell.codes.store.design import store_for
from softcell.codes.store.store import Store
from softcell.curvature import Calibration
from softcell.devices import Device
from softcell.durations import Ages
from softcell.errors import InfeasibleError, InputError
from softcell.progress import Progress
from softcell.records import require_plain
from softcell.weights import TensorInfo, Weights

if TYPE_CHECKING:
    from softcell.codes.entropy.plan.curves import EntropyCurves, Quantiser

MOST_CELLS = 64.0
"""Most cells per weight that can be asked for."""


@dataclass(frozen=True, eq=False)
class TensorPlan:
    """How one tensor is stored.

    Args:
        info: Its name, shape and type.
        kind: A family of codes, a number format, or "raw".
        code: The code, where it is a family.
    """

    info: TensorInfo
    kind: str
    code: Code | None = None


@dataclass(frozen=True, eq=False)
class Plan:
    """How a network is stored on a device: all that it takes to write it.

    Args:
        scheme: Name of the scheme.
        device: The device.
        ages: Age up to which the cells must be readable, or the span of ages that they are read at.
        store: The device's error-free digital storage at these ages.
        tensors: One plan for each tensor, in the order of the weights.
        target: Cells per weight that were asked for; None for a conventional scheme.
        procedure: How it is written.
        keep: Names of tensors that are stored as they are, and not corrected.
        network: Digest of the network that it was made for, as `network_digest` gives it; "" if
            it is not known.
        settings: What it was made for, as plain JSON values.
        report: What was tried, predicted and measured, as plain JSON values.

    Raises:
        InputError: The digest is none, or a value is not one that JSON has, such as NaN.
    """

    scheme: str
    device: Device
    ages: Ages
    store: Store
    tensors: tuple[TensorPlan, ...] = field(repr=False)
    target: float | None = None
    procedure: Procedure = field(default_factory=Procedure)
    keep: frozenset[str] = frozenset()
    network: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict, repr=False)
    report: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.network, str) or not re.fullmatch("[0-9a-f]*", self.network):
            raise InputError(
                f"a network's digest is of hexadecimal digits, got {self.network!r:.40}"
            )
        for name in ("settings", "report"):
            if not isinstance(getattr(self, name), dict):
                raise InputError(f"a plan's {name} is an object of values by name")
            require_plain(getattr(self, name), name)

    @property
    def age_seconds(self) -> float:
        """Age up to which the cells must be readable."""
        return self.ages.last

    @cached_property
    def design(self) -> Design:
        """What its codes are designed for."""
        return Design(self.device, self.ages, self.store)

    def in_order(self, names: Sequence[str]) -> Plan:
        """Return the plan with its tensors in the order of these names, as far as it has them."""
        place = {name: number for number, name in enumerate(names)}
        tensors = sorted(self.tensors, key=lambda t: place.get(t.info.name, len(place)))
        return replace(self, tensors=tuple(tensors))

    @property
    def uses_cells(self) -> bool:
        """Whether some tensor has cells of its own, which a verifying read can see."""
        return any(t.code is not None and FAMILIES[t.kind].has_cells for t in self.tensors)

    @property
    def by_chip(self) -> bool:
        """Whether it is written to each chip anew, whose cells are read back while it is."""
        return self.procedure.loop and self.uses_cells

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
    age_seconds: float | Ages = 0.0,
    sensitivity: Mapping[str, NDArray[np.floating]] | None = None,
    vector_bits: int | None = 16,
    calibration: Calibration | None = None,
    procedure: Procedure | None = None,
    quantiser: Quantiser | None = None,
    curves: EntropyCurves | None = None,
    keep: Collection[str] = (),
    known: Known | None = None,
    progress: Progress | None = None,
) -> Plan:
    """Plan the storage of a network.

    Args:
        weights: The network's tensors; each is read two or three times, one at a time.
        device: The device to store on.
        scheme: A scheme or its name.
        cells_per_weight: All cells, side information included, over the number of weights. The
            plan stays below, unless one cell for each weight is already more: each that is not
            zero, where a mask says which those are.
        age_seconds: Age up to which the cells must be readable, or the ages that they are read at
            and the decoder is told or not: codes that decode by look-up are designed for them all.
        sensitivity: Diagonal Fisher information by tensor, for the scheme "sensitivity".
        vector_bits: Bits of a number in vectors (biases, normalisations): 16, or 12 with a relative
            error of up to 2^-7; None for 16 where they take a twentieth of the cells or less, else
            12. Ignored by the conventional schemes.
        calibration: Curvature of the network's layers, if it will be written through the closed
            feedback loop; its Fisher information then takes the place of `sensitivity`.
        procedure: How the network is written; by default through the loop if there is a
            calibration.
        quantiser: How entropy-coded weights are quantised in it.
        curves: Those of an earlier plan of this network and calibration, to save their time.
        keep: Names of tensors that are stored as they are, byte by byte.
        known: Surveys of earlier plans of these weights, to save their time; added to.
        progress: Called as the work goes on.

    Raises:
        InputError: The weights, the number of cells or the ages cannot be used, or the scheme is
            not written through the loop.
        InfeasibleError: There are too few cells, or the device cannot hold error-free bits for the
            side information.
    """
    scheme = parse_scheme(scheme) if isinstance(scheme, str) else scheme
    procedure = procedure or Procedure(loop=calibration is not None)
    if procedure.loop and not scheme.takes_feedback:
        raise InputError(
            f"scheme {scheme.name!r} is not written through the feedback loop; use one of "
            f"{schemes_that(takes_feedback=True)}, or of the analog code"
        )
    target = _target(scheme, cells_per_weight)
    ages = age_seconds if isinstance(age_seconds, Ages) else Ages(age_seconds, age_seconds)
    store = store_for(scheme.store, law_for(scheme, device, ages))
    if calibration is not None:
        calibration.require_network({name: weights.info(name).shape for name in weights.names})
        sensitivity = calibration.fisher or sensitivity
    if vector_bits is None:
        cells = (target or 0) * sum(weights.info(n).size for n in weights.names)
        vector_bits = fitting_bits(weights, cells / 20, store.bits_per_cell)
    surveys = survey(
        weights,
        scheme,
        sensitivity=sensitivity,
        vector_bits=vector_bits,
        keep=keep,
        known=known,
        progress=progress,
    )
    codes: Mapping[str, Code] = {}
    if scheme.kind in FAMILIES:
        codes = FAMILIES[scheme.kind].plan(
            Setting(
                weights=weights,
                scheme=scheme,
                design=Design(device, ages, store),
                surveys=tuple(surveys),
                cells_per_weight=target or 0.0,
                calibration=calibration,
                verify_reads=procedure.verify_reads,
                quantiser=quantiser,
                curves=curves,
                progress=progress,
            )
        )
    tensors = tuple(TensorPlan(s.info, s.kind, codes.get(s.info.name)) for s in surveys)
    return Plan(scheme.name, device, ages, store, tensors, target, procedure, frozenset(keep))


def law_for(scheme: Scheme, device: Device, ages: Ages) -> Law:
    """Return the law that a scheme is designed for.

    Args:
        scheme: The scheme.
        device: The device.
        ages: An age, which every scheme takes, or a span of them. Digital schemes take a span for
            their store; codes that decode by look-up are designed for it, and need not be told
            the age.

    Raises:
        InputError: The scheme does not take such ages.
    """
    if not ages.single and not (scheme.look_up or scheme.digital):
        raise InputError(
            f"scheme {scheme.name!r} is designed for one age, not for {ages}; give the highest, or "
            f"use one of {schemes_that(look_up=True)}"
        )
    if not ages.told and not scheme.look_up:
        raise InputError(
            f"the decoder of scheme {scheme.name!r} must be told the age; those of "
            f"{schemes_that(look_up=True)} can do without"
        )
    return law_of(device, ages)


def _target(scheme: Scheme, cells_per_weight: float | None) -> float | None:
    """Return the cells per weight that are asked for, None where a scheme has its own.

    Raises:
        InputError: There is no number, or one that no scheme takes.
        InfeasibleError: There are fewer than the scheme needs.
    """
    if not scheme.takes_cells:
        return None
    if cells_per_weight is None:
        raise InputError(f"scheme {scheme.name!r} needs a number of cells per weight")
    if not scheme.least_cells <= cells_per_weight <= MOST_CELLS:
        few = 0 < cells_per_weight < scheme.least_cells
        raise (InfeasibleError if few else InputError)(
            f"scheme {scheme.name!r} takes {scheme.least_cells:g} to {MOST_CELLS:g} cells per "
            f"weight, got {cells_per_weight:g}"
        )
    return float(cells_per_weight)
