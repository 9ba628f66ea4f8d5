"""Maps as an image keeps them, so that a decoder need not design them again.

A design is a long iteration: another machine may round otherwise and end at another map. What
was written is decoded by the maps that it was written with.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from softcell.channel import Law
from softcell.codes.coarse.design import CoarseToFineMap, design_map
from softcell.codes.joint.design import JointMap, design_joint_map
from softcell.codes.maps.source import SHAPES, STEPS, source_density
from softcell.codes.packed.design import GRID, PackedMap, packed_map
from softcell.errors import FormatError, InputError

_DISTORTION = struct.Struct("<d")

StoredMap = CoarseToFineMap | JointMap | PackedMap


@dataclass(frozen=True, eq=False)
class Maps:
    """The maps that were designed for a law: those stored with an image, others designed now.

    Args:
        law: The law.
        stored: Bytes of stored maps, as `pack` gives them, by name.
    """

    law: Law
    stored: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict, repr=False)

    def coarse_to_fine(self, shape: int, bits: int) -> CoarseToFineMap:
        """Return the map of a density's index and a number of coarse bits.

        Raises:
            FormatError: The stored map is none.
        """
        found = self.stored.get(coarse_name(shape, bits))
        if found is None:
            return design_map(self.law, shape, bits)
        reach, density = source_density(shape)
        distortion, parts, levels = _unpack(found)
        try:
            return CoarseToFineMap(bits, reach, parts, levels, density, distortion)
        except InputError as error:
            raise FormatError(str(error)) from None

    def joint(self, shape: int) -> JointMap:
        """Return the joint map of a density's index.

        Raises:
            FormatError: The stored map is none.
        """
        found = self.stored.get(joint_name(shape))
        if found is None:
            return design_joint_map(self.law, shape)
        reach, density = source_density(shape)
        distortion, first, second = _unpack(found)
        try:
            return JointMap(reach, first, second, density, distortion)
        except InputError as error:
            raise FormatError(str(error)) from None

    def packed(self, values: int, parts: int = 1) -> PackedMap:
        """Return the packed map of a number of values in a cell and of parts of their range.

        Raises:
            FormatError: The stored map is none.
        """
        found = self.stored.get(packed_name(values, parts))
        if found is None:
            return packed_map(self.law, values, parts)
        shape = (GRID[values],) * values
        distortion, part, levels = _unpack(found, GRID[values] ** values)
        try:
            return PackedMap(values, parts, part.reshape(shape), levels.reshape(shape), distortion)
        except InputError as error:
            raise FormatError(str(error)) from None


def maps_of(design: Law | Maps) -> Maps:
    """Return maps, or those of a law."""
    return design if isinstance(design, Maps) else Maps(design)


def coarse_name(shape: int, bits: int) -> str:
    """Return the name of a coarse-to-fine map."""
    return f"coarse-to-fine/{SHAPES[shape]:g}/{bits}"


def joint_name(shape: int) -> str:
    """Return the name of a joint map."""
    return f"joint/{SHAPES[shape]:g}"


def packed_name(values: int, parts: int) -> str:
    """Return the name of a packed map."""
    return f"packed/{values}/{parts}"


def pack(design: StoredMap) -> NDArray[np.uint8]:
    """Return a map as bytes, some 1 to 3 KB.

    Example:
        >>> from softcell.channel import channel_of
        >>> from softcell.devices import parse_device
        >>> cell = channel_of(parse_device("gaussian:snr_db=20"))
        >>> design = design_map(cell, SHAPES.index(2.0), 1)
        >>> again = Maps(cell, {coarse_name(7, 1): pack(design)}).coarse_to_fine(7, 1)
        >>> bool((again.levels == design.levels).all()), again.distortion == design.distortion
        (True, True)
    """
    if isinstance(design, JointMap):
        pair = design.first, design.second
    elif isinstance(design, PackedMap):
        pair = design.part, design.levels
    else:
        pair = design.parts, design.levels
    data = _DISTORTION.pack(design.distortion) + pair[0].tobytes() + pair[1].tobytes()
    return np.frombuffer(zlib.compress(data, 9), np.uint8)


def _unpack(
    data: NDArray[np.uint8], points: int = STEPS
) -> tuple[float, NDArray[np.uint8], NDArray[np.uint8]]:
    size = _DISTORTION.size + 2 * points
    inflate = zlib.decompressobj()
    try:
        found = inflate.decompress(data.tobytes(), size + 1)
    except zlib.error as error:
        raise FormatError(f"a stored map is damaged ({error})") from None
    if len(found) != size:
        raise FormatError(f"a stored map has {len(found)} bytes, expected {size}")
    pair = np.frombuffer(found, np.uint8, offset=_DISTORTION.size).reshape(2, points)
    return _DISTORTION.unpack_from(found)[0], pair[0], pair[1]
