"""The values of a tensor and their bytes, for every number format of a safetensors file.

Formats are named as in safetensors: F32, F16, BF16, F64, I8 .. I64, U8 .. U64, BOOL. bfloat16,
which NumPy lacks, is the upper half of a float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from softcell.bfloat16 import expand
from softcell.errors import InputError

# Bits of an element. Of the formats that are not in _NUMPY the bytes can be read, not the values.
BITS = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "U16": 16,
    "I16": 16,
    "U32": 32,
    "I32": 32,
    "U64": 64,
    "I64": 64,
    "F16": 16,
    "BF16": 16,
    "F32": 32,
    "F64": 64,
    "C64": 64,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
}

_NUMPY = {
    f"{kind.upper()}{bits}": f"<{kind}{bits // 8}" for kind in "ui" for bits in (8, 16, 32, 64)
}
_NUMPY |= {"F16": "<f2", "F32": "<f4", "F64": "<f8", "BF16": "<u2", "BOOL": "?"}


def decode(data: NDArray[np.uint8], dtype: str, name: str) -> NDArray[Any]:
    """Return the values of a tensor's bytes.

    F16 and BF16 become float32, exactly; F32, F64 and integers keep their type.

    Args:
        data: Bytes, shape (nbytes,), little-endian.
        dtype: Format of an element.
        name: The tensor's, for the error.

    Returns:
        Values, shape (n,); they share the memory of `data` where the type is kept.

    Raises:
        InputError: A format whose values are not supported.

    Example:
        >>> decode(np.array([0xC0, 0x3F], np.uint8), "BF16", "a")
        array([1.5], dtype=float32)
    """
    if dtype not in _NUMPY:
        raise InputError(
            f"tensor {name!r} is {dtype}; expected {', '.join(_NUMPY)}; convert it to F16 or F32"
        )
    values = data.view(_NUMPY[dtype])
    if dtype == "BF16":
        return expand(values)
    if dtype == "F16":
        return values.astype(np.float32)
    # A byte other than 0 and 1 is no valid NumPy bool.
    return data != 0 if dtype == "BOOL" else values


def encode(values: NDArray[Any], dtype: str, name: str) -> NDArray[np.uint8]:
    """Return the bytes of values in a format; the inverse of `decode`.

    A float is rounded to the nearest value of the format, ties to even; NaN and infinities stay.

    Args:
        values: Shape (n,), C-contiguous. Floats for a float format, of which BF16 takes float16
            and float32; integers for an integer format; bool for BOOL.
        dtype: Format of an element.
        name: The tensor's, for the error.

    Raises:
        InputError: Another type of values, or a finite value beyond the format's range.

    Example:
        >>> decode(encode(np.array([1.0, 2.01], np.float32), "BF16", "a"), "BF16", "a").tolist()
        [1.0, 2.015625]
    """
    kinds = {"F": "f", "B": "f", "U": "iu", "I": "iu"}.get(dtype[0], "")
    kinds = "b" if dtype == "BOOL" else kinds
    wide = dtype == "BF16" and values.dtype.itemsize > 4
    if dtype not in _NUMPY or values.dtype.kind not in kinds or wide:
        remedy = "give float32" if kinds == "f" else "declare another dtype"
        raise InputError(f"tensor {name!r}: cannot write {values.dtype} as {dtype}; {remedy}")
    if kinds == "f":
        cast = _round_float(values, dtype)
        beyond = np.isfinite(values) & ~np.isfinite(decode(cast, dtype, name))
    else:
        cast = values.astype(_NUMPY[dtype], order="C").view(np.uint8)
        beyond = cast.view(_NUMPY[dtype]) != values
    if beyond.any():
        raise InputError(
            f"tensor {name!r}: {values[beyond][0]} is beyond the range of {dtype}; "
            "declare a wider dtype"
        )
    return cast


def _round_float(values: NDArray[Any], dtype: str) -> NDArray[np.uint8]:
    if dtype != "BF16":
        with np.errstate(over="ignore"):
            return values.astype(_NUMPY[dtype], order="C").view(np.uint8)
    single = values.astype(np.float32)
    bits = single.view(np.uint32)
    # Adding half of the dropped part's range, less one where the kept part is even, carries into
    # the kept part exactly when the nearest value, or on a tie the even one, is the next.
    rounded = (bits + (0x7FFF + ((bits >> 16) & 1))) >> 16
    # A NaN could carry into an infinity or a zero; it keeps its upper half, made quiet.
    rounded = np.where(np.isnan(single), (bits >> 16) | 0x40, rounded)
    return rounded.astype("<u2").view(np.uint8)
