"""Designs kept on disk, so that each is made once for a law and not once for each process."""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from softcell.atomic_file import AtomicFile
from softcell.cache import cache_folder
from softcell.errors import InputError

Arrays = Mapping[str, NDArray[Any]]
"""A design as arrays by name."""

Design = TypeVar("Design")

_DIGEST_BYTES = 16


def kept(
    name: str,
    key: tuple[object, ...],
    make: Callable[[], Arrays],
    design_of: Callable[[Arrays], Design],
) -> Design:
    """Return a design from the cache folder, making and keeping it where it is not there.

    A file is a digest and an npz archive under it. One that is damaged, or that does not make a
    design, is replaced; where the folder cannot be written the design is not kept. The design is
    the same bits in any case.

    Args:
        name: Kind of the design, the beginning of its file's name.
        key: All that the design depends on, the version of its algorithm included. Its
            representation as text tells designs apart.
        make: Makes the design's arrays.
        design_of: Makes the design of its arrays; raises `InputError` if they are none.
    """
    digest = hashlib.blake2b(repr((name, *key)).encode(), digest_size=_DIGEST_BYTES).hexdigest()
    path = cache_folder() / "designs" / f"{name}-{digest}"
    with contextlib.suppress(OSError, ValueError, KeyError, InputError):
        return design_of(_load(path))
    arrays = make()
    with contextlib.suppress(OSError, InputError):
        _save(path, arrays)
    return design_of(arrays)


def _load(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of a file.

    Raises:
        OSError: There is no such file, or it cannot be read.
        ValueError: It is not what was written.
    """
    data = path.read_bytes()
    digest, archive = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    if hashlib.blake2b(archive, digest_size=_DIGEST_BYTES).digest() != digest:
        raise ValueError(f"{path} is damaged")
    with np.load(io.BytesIO(archive), allow_pickle=False) as found:
        return dict(found)


def _save(path: Path, arrays: Arrays) -> None:
    archive = io.BytesIO()
    np.savez_compressed(archive, **cast("dict[str, Any]", arrays))
    data = archive.getvalue()
    path.parent.mkdir(parents=True, exist_ok=True)
    file = AtomicFile(path)
    try:
        file.write(hashlib.blake2b(data, digest_size=_DIGEST_BYTES).digest() + data)
        file.commit()
    finally:
        file.discard()
