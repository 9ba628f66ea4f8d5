"""Maps kept with an image, for a decoder that would design them otherwise."""

from __future__ import annotations

import numpy as np

from softcell.allocate.plan import Plan
from softcell.channel import Law
from softcell.codes.coarse.code import CoarseCode
from softcell.codes.joint.code import JointCode
from softcell.codes.maps.stored_maps import (
    Maps,
    StoredMap,
    coarse_name,
    joint_name,
    pack,
    packed_name,
)
from softcell.codes.packed.code import PackedCode, PackedCodec
from softcell.codes.store.hard_store import DigitalStore
from softcell.image.cell_image import CellImage
from softcell.image.container_writer import ContainerWriter

_PREFIX = "maps/"


def append_maps(container: ContainerWriter, plan: Plan, law: Law) -> None:
    """Write the maps of every tensor of a plan, each once, in the order of their names."""
    maps = Maps(law)
    found: dict[str, StoredMap] = {}
    for tensor in plan.tensors:
        code = tensor.code
        if isinstance(code, CoarseCode):
            for bits in np.unique(code.bits).tolist():
                found[coarse_name(code.shape, bits)] = maps.coarse_to_fine(code.shape, bits)
        elif isinstance(code, JointCode):
            for count in np.unique(code.cells).tolist():
                if count == 1:
                    found[coarse_name(code.shape, 0)] = maps.coarse_to_fine(code.shape, 0)
                else:
                    found[joint_name(code.shape)] = maps.joint(code.shape)
        elif isinstance(code, PackedCode) and isinstance(plan.store, DigitalStore):
            for design in PackedCodec(code, maps, plan.store).maps:
                found[packed_name(design.values, design.parts)] = design
    for name in sorted(found):
        container.append(_PREFIX + name, pack(found[name]))


def maps_of_image(image: CellImage, law: Law) -> Maps:
    """Return the maps that an image keeps; one from before they were kept has them of the law.

    Raises:
        FormatError: The file was altered.
    """
    return Maps(law, image.sections(_PREFIX))
