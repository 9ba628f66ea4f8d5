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
from softcell.errors import FormatError

_DISTORTION = struct.Struct("<d")


@dataclass(frozen=True, eq=False)
class Maps:
    """The maps that were designed for a law: those stored with an image, others designed now.

    Args:
        law: The law.
        stored: Bytes of stored maps, as `pack_map` gives them, by name.
    """

    law: Law
    stored: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict, repr=False)

    def find(
        self, name: str, points: int
    ) -> tuple[float, NDArray[np.uint8], NDArray[np.uint8]] | None:
        """Return the distortion of a stored map and its two arrays, shape (points,) each.

        Raises:
            FormatError: The stored map is none.
        """
        if name not in self.stored:
            return None
        size = _DISTORTION.size + 2 * points
        inflate = zlib.decompressobj()
        try:
            found = inflate.decompress(self.stored[name].tobytes(), size + 1)
        except zlib.error as error:
            raise FormatError(f"a stored map is damaged ({error})") from None
        if len(found) != size:
            raise FormatError(f"a stored map has {len(found)} bytes, expected {size}")
        pair = np.frombuffer(found, np.uint8, offset=_DISTORTION.size).reshape(2, points)
        return _DISTORTION.unpack_from(found)[0], pair[0], pair[1]


def figure(distortion: float | NDArray[np.float64]) -> float:
    """Return the distortion of a design as it is kept, to 12 digits.

    The last bits of a sum depend on the order of its terms, and that on threads and processors.

    Example:
        >>> figure(0.1 + 0.2), figure(1 / 3)
        (0.3, 0.333333333333)
    """
    return float(f"{float(distortion):.12g}")


def maps_of(design: Law | Maps) -> Maps:
    """Return maps, or those of a law."""
    return design if isinstance(design, Maps) else Maps(design)


def pack_map(
    distortion: float, first: NDArray[np.uint8], second: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Return a map as bytes, some 1 to 3 KB.

    Args:
        distortion: Expected squared error.
        first: What a map says of every point, any shape.
        second: The same, for what else it says.

    Example:
        >>> from softcell.channel import channel_of
        >>> from softcell.devices import parse_device
        >>> one, two = np.arange(3, dtype=np.uint8), np.ones(3, np.uint8)
        >>> law = channel_of(parse_device("gaussian:snr_db=20"))
        >>> maps = Maps(law, {"mine": pack_map(0.5, one, two)})
        >>> maps.find("mine", 3)[0], maps.find("mine", 3)[1].tolist(), maps.find("other", 3)
        (0.5, [0, 1, 2], None)
    """
    data = _DISTORTION.pack(distortion) + first.tobytes() + second.tobytes()
    return np.frombuffer(zlib.compress(data, 9), np.uint8)
