"""Which code, with which parameters, for which tensor: made before anything is written."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from softcell.allocate.lifetime import law_for, store_for
from softcell.allocate.setting import Setting
from softcell.allocate.survey import Progress, fitting_bits, survey
from softcell.channel import channel_of
from softcell.codes.analog.code import AnalogCode
from softcell.codes.analog.plan import analog_codes
from softcell.codes.coarse.code import CoarseCode
from softcell.codes.coarse.plan import coarse_codes
from softcell.codes.entropy.code import EntropyCode
from softcell.codes.entropy.plan.curves import EntropyCurves, Quantiser
from softcell.codes.entropy.plan.loop import feedback_entropy_codes
from softcell.codes.entropy.plan.steps import entropy_codes
from softcell.codes.fixed_length.code import FixedLengthCode
from softcell.codes.fixed_length.plan import fixed_length_codes
from softcell.codes.joint.code import JointCode
from softcell.codes.joint.plan import joint_codes
from softcell.codes.packed.code import PackedCode
from softcell.codes.packed.plan import packed_codes
from softcell.codes.schemes import FIXED_LENGTH, JOINT_MAP, PACKED, Scheme, parse_scheme
from softcell.codes.store.store import Store
from softcell.curvature import Calibration
from softcell.devices import Device
from softcell.durations import Ages
from softcell.errors import InfeasibleError, InputError
from softcell.weights import TensorInfo, Weights

TensorCode = AnalogCode | CoarseCode | JointCode | PackedCode | FixedLengthCode | EntropyCode
"""Code of a tensor that is not stored as it is."""


@dataclass(frozen=True, eq=False)
class TensorPlan:
    """How one tensor is stored.

    Args:
        info: Its name, shape and type.
        kind: "analog", "coarse-to-fine", "joint-map", "packed", "fixed-length", "entropy-coded", a
            number format, or "raw".
        code: The code, for the first six.
    """

    info: TensorInfo
    kind: str
    code: TensorCode | None = None


@dataclass(frozen=True, eq=False)
class Plan:
    """How a network is stored on a device.

    Args:
        scheme: Name of the scheme.
        device: The device.
        ages: Age up to which the cells must be readable, or the span of ages that they are read at.
        store: The device's error-free digital storage at these ages.
        tensors: One plan for each tensor, in the order of the weights.
        target: Cells per weight that were asked for; None for a conventional scheme.
    """

    scheme: str
    device: Device
    ages: Ages
    store: Store
    tensors: tuple[TensorPlan, ...] = field(repr=False)
    target: float | None = None

    @property
    def age_seconds(self) -> float:
        """Age up to which the cells must be readable."""
        return self.ages.last

    def in_order(self, names: Sequence[str]) -> Plan:
        """Return the plan with its tensors in the order of these names, as far as it has them."""
        place = {name: number for number, name in enumerate(names)}
        tensors = sorted(self.tensors, key=lambda t: place.get(t.info.name, len(place)))
        return replace(self, tensors=tuple(tensors))

    @property
    def uses_cells(self) -> bool:
        """Whether some tensor has cells of its own, which a verifying read can see."""
        codes = [tensor.code for tensor in self.tensors]
        return any(code is not None and not isinstance(code, EntropyCode) for code in codes)

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
    verify_reads: int = 1,
    quantiser: Quantiser | None = None,
    curves: EntropyCurves | None = None,
    keep: Collection[str] = (),
    progress: Progress | None = None,
) -> Plan:
    """Plan the storage of a network.

    Args:
        weights: The network's tensors; each is read two or three times, one at a time.
        device: The device to store on.
        scheme: A scheme or its name.
        cells_per_weight: All cells, side information included, over the number of weights. The
            plan stays below, unless one cell for each weight is already more.
        age_seconds: Age up to which the cells must be readable, or the ages that they are read at
            and the decoder is told or not: codes that decode by look-up are designed for them all.
        sensitivity: Diagonal Fisher information by tensor, for the scheme "sensitivity".
        vector_bits: Bits of a number in vectors (biases, normalisations): 16, or 12 with a relative
            error of up to 2^-7; None for 16 where they take a twentieth of the cells or less, else
            12. Ignored by the conventional schemes.
        calibration: Curvature of the network's layers, if it will be written through the feedback
            loop; its Fisher information then takes the place of `sensitivity`.
        verify_reads: Verifying reads of a cell in that loop.
        quantiser: How entropy-coded weights are quantised in it.
        curves: Those of an earlier plan of this network and calibration, to save their time.
        keep: Names of tensors that are stored as they are, byte by byte.
        progress: Called as the work goes on.

    Raises:
        InputError: The weights, the number of cells or the ages cannot be used.
        InfeasibleError: There are too few cells, or the device cannot hold error-free bits for the
            side information.
    """
    scheme = parse_scheme(scheme) if isinstance(scheme, str) else scheme
    analog = scheme.number_format is None
    if analog and cells_per_weight is None:
        raise InputError(f"scheme {scheme.name!r} needs a number of cells per weight")
    least = 0.0 if scheme.entropy_coded or scheme.kind == PACKED else 1.0
    if analog and not least <= float(cells_per_weight or 0) <= 64:
        few = 0 < float(cells_per_weight or 0) < least
        raise (InfeasibleError if few else InputError)(
            f"scheme {scheme.name!r} takes {least:g} to 64 cells per weight, got "
            f"{cells_per_weight:g}"
        )
    ages = age_seconds if isinstance(age_seconds, Ages) else Ages(age_seconds, age_seconds)
    channel, law = channel_of(device, ages.last), law_for(scheme, device, ages)
    store = store_for(scheme, law)
    if calibration is not None:
        calibration.require_network({name: weights.info(name).shape for name in weights.names})
        sensitivity = calibration.fisher or sensitivity
    if vector_bits is None:
        cells = float(cells_per_weight or 0) * sum(weights.info(n).size for n in weights.names)
        vector_bits = fitting_bits(weights, cells / 20, store.bits_per_cell)
    surveys = survey(
        weights,
        scheme,
        sensitivity=sensitivity,
        vector_bits=vector_bits,
        keep=keep,
        progress=progress,
    )
    codes: Mapping[str, TensorCode] = {}
    if analog:
        setting = Setting(
            weights, scheme, channel, law, store, tuple(surveys), float(cells_per_weight or 0)
        )
        if scheme.coarse_to_fine:
            codes = coarse_codes(setting)
        elif scheme.kind == JOINT_MAP:
            codes = joint_codes(setting)
        elif scheme.kind == FIXED_LENGTH:
            codes = fixed_length_codes(setting)
        elif scheme.kind == PACKED:
            codes = packed_codes(
                setting, device, calibration, verify_reads=verify_reads, progress=progress
            )
        elif scheme.entropy_coded and calibration is not None:
            codes = feedback_entropy_codes(
                setting, calibration, quantiser=quantiser, curves=curves, progress=progress
            )
        elif scheme.entropy_coded:
            codes = entropy_codes(setting, progress)
        else:
            codes = analog_codes(setting, progress)
    tensors = tuple(
        TensorPlan(
            s.info,
            scheme.kind if s.kind == "analog" else s.kind,
            codes.get(s.info.name),
        )
        for s in surveys
    )
    target = float(cells_per_weight) if analog and cells_per_weight is not None else None
    return Plan(scheme.name, device, ages, store, tensors, target)
