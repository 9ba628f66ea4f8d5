"""Which code, with which parameters, for which tensor: made before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from softcell.allocate.coarse import coarse_codes
from softcell.allocate.draft import Codes, Draft
from softcell.allocate.entropy import EntropyCode, entropy_codes
from softcell.allocate.ranges import LARGE_CELLS, choose_large
from softcell.allocate.scheme import Scheme, parse_scheme
from softcell.allocate.setting import Setting
from softcell.allocate.survey import Progress, survey
from softcell.channel import channel_of
from softcell.codes.analog import AnalogCode, CoarseCode
from softcell.codes.digital import Store, design_soft_store, design_store
from softcell.devices import Device
from softcell.errors import InputError
from softcell.weights import TensorInfo, Weights


@dataclass(frozen=True, eq=False)
class TensorPlan:
    """How one tensor is stored.

    Args:
        info: Its name, shape and type.
        kind: "analog", "coarse-to-fine", "entropy-coded", a number format, or "raw".
        code: The code, for the first three.
    """

    info: TensorInfo
    kind: str
    code: AnalogCode | CoarseCode | EntropyCode | None = None


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
    store: Store
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
    least = 0.0 if scheme.entropy_coded else 1.0
    if analog and not least <= float(cells_per_weight or 0) <= 64:
        raise InputError(
            f"scheme {scheme.name!r} takes {least:g} to 64 cells per weight, got "
            f"{cells_per_weight:g}"
        )
    channel = channel_of(device, age_seconds)
    store = design_soft_store(channel) if scheme.soft else design_store(channel)
    surveys = survey(weights, scheme, sensitivity=sensitivity, progress=progress)
    codes: Mapping[str, AnalogCode | CoarseCode | EntropyCode] = {}
    if analog:
        setting = Setting(
            weights, scheme, channel, store, tuple(surveys), float(cells_per_weight or 0)
        )
        if scheme.coarse_to_fine:
            codes = coarse_codes(setting)
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
    return Plan(scheme.name, device, age_seconds, store, tensors, target)


def analog_codes(setting: Setting, progress: Progress | None = None) -> Codes:
    """Return the code of every analog tensor.

    Together with all else that is stored they keep to the target, unless one cell for each weight
    is already more: then every weight has one.
    """
    scheme, names = setting.scheme, [s.info.name for s in setting.analog]
    large = 0.0
    if scheme.has("sparsity"):
        large = choose_large(
            setting.pooled(),
            scheme,
            setting.channel,
            cells_per_weight=setting.reads(),
            bits_per_cell=setting.store.bits_per_cell,
        )
    codes: Codes = {}
    # A class of large weights that turns out to be too much for the target is given up.
    for share in dict.fromkeys((large, 0.0)):
        reads = max(setting.reads() / (1 + share * (LARGE_CELLS - 1)), 1.0)
        draft = Draft(setting, large=share, reads=dict.fromkeys(names, reads), progress=progress)
        codes = draft.codes()
        if scheme.has("adaptive") and scheme.has("sensitivity"):
            means = {name: float(code.cells[:, 0].mean()) for name, code in codes.items()}
            draft = Draft(setting, large=share, reads=means, progress=progress)
            codes = draft.codes()
        if draft.total(codes) <= setting.target:
            break
    return codes
