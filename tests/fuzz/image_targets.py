"""Cell images, chips, and what stands behind the checksums and the error correction."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator

from fuzz import samples
from fuzz.builders import (
    Parts,
    closed,
    container,
    container_parts,
    safetensors,
    safetensors_parts,
    tensors_file,
)
from fuzz.harness import Target
from fuzz.mutations import damaged_bytes, damaged_json
from softcell.errors import DecodingError
from softcell.image import write
from softcell.image.cell_image import STORE, CellImage
from softcell.image.chip import StoredChip, _digest
from softcell.image.container_index import HEADER
from softcell.image.readings import SimulatedChip
from softcell.image.restore import Restoration
from softcell.image.word_checks import CHECKS, word_checks
from softcell.weights import StateDictWeights
from softcell.weights.tensor_file import read_tensors


@functools.cache
def _parts(scheme: str) -> tuple[dict[str, Any], Parts]:
    return container_parts(samples.image(scheme))


@functools.cache
def _stored(scheme: str) -> bytes:
    """Return the bytes of the digital store."""
    plan, weights = samples.plan(scheme), StateDictWeights(samples.STATE)
    blocks = (b for t in plan.tensors for b in write._blocks(weights, t, plan.design))
    return b"".join(b.data.tobytes() for b in blocks if b.part is not write.Part.LEVELS)


def _weights(path: Path) -> dict[str, np.ndarray]:
    with CellImage(path) as image:
        image.verify()
        header = image.header
        assert header.cells_per_weight >= 0
        assert header.store.description
        chip = SimulatedChip(image, seed=0)
        try:
            found = dict(Restoration(image, chip, threads=1).tensors())
        except DecodingError:
            found = dict(Restoration(image, chip, threads=1, salvage=True).tensors())
    assert [*found] == [t.info.name for t in header.tensors]
    for tensor in header.tensors:
        assert found[tensor.info.name].shape == tensor.info.shape
    return found


def _scheme(generator: Generator) -> str:
    schemes = list(samples.SCHEMES)
    return schemes[int(generator.integers(0, len(schemes)))]


def _written(folder: Path, scheme: str, data: bytes) -> Path:
    path = folder / f"{scheme}.cells"
    path.write_bytes(data)
    return path


def _altered(generator: Generator, folder: Path) -> Path:
    """Alter bytes of a file, whose checksums then are wrong."""
    scheme = _scheme(generator)
    data = samples.image(scheme).read_bytes()
    return _written(folder, scheme, damaged_bytes(data, generator))


def _use_altered(path: Path) -> None:
    found, own = _weights(path), _weights(samples.image(path.stem))
    assert all((found[name] == own[name]).all() for name in own)


def _metadata(generator: Generator, folder: Path) -> Path:
    """Alter what an image says of itself."""
    scheme = _scheme(generator)
    metadata, sections = _parts(scheme)
    return _written(folder, scheme, container(damaged_json(metadata, generator), sections))


def _sections(generator: Generator, folder: Path) -> Path:
    """Alter, cut, lengthen or take away a section."""
    scheme = _scheme(generator)
    metadata, sections = _parts(scheme)
    sections = dict(sections)
    name = list(sections)[int(generator.integers(0, len(sections)))]
    dtype, content = sections[name]
    match int(generator.integers(0, 8)):
        case 0:
            del sections[name]
        case 1:
            other = list(sections)[int(generator.integers(0, len(sections)))]
            sections[name], sections[other] = sections[other], sections[name]
        case 2:
            content = damaged_bytes(content, generator)
            size = np.dtype(dtype).itemsize
            sections[name] = dtype, content[: len(content) // size * size]
        case _:
            changed = damaged_bytes(content, generator)[: len(content)]
            sections[name] = dtype, changed + bytes(len(content) - len(changed))
    return _written(folder, scheme, container(json.dumps(metadata), sections))


def _index(generator: Generator, folder: Path) -> Path:
    """Alter the index."""
    scheme = _scheme(generator)
    data = samples.image(scheme).read_bytes()
    offset, length = np.frombuffer(data[-40:-24], "<u8").tolist()
    index = json.loads(data[offset : offset + length])
    table = index["sections"] if generator.integers(0, 2) else index
    text = damaged_json(table, generator)
    if table is not index:
        text = f'{{"metadata":{json.dumps(index["metadata"])},"sections":{text}}}'
    return _written(folder, scheme, closed(data[:offset] or HEADER, text))


def _stream(generator: Generator, folder: Path) -> Path:
    """Alter what the store holds of a tensor, behind the error correction."""
    scheme = _scheme(generator)
    metadata, sections = _parts(scheme)
    metadata, sections = json.loads(json.dumps(metadata)), dict(sections)
    metadata.pop("scrambled", None)
    data, tensors = _stored(scheme), metadata["tensors"]
    with_bytes = [t for t in tensors if t["bytes"]]
    tensor = with_bytes[int(generator.integers(0, len(with_bytes)))]
    begin, end = tensor["offset"], tensor["offset"] + tensor["bytes"]
    changed = damaged_bytes(data[begin:end], generator) or b"\0"
    if generator.integers(0, 3):
        changed = changed[: end - begin] + bytes(max(end - begin - len(changed), 0))
    data = data[:begin] + changed + data[end:]
    tensor["bytes"] = len(changed)
    if generator.integers(0, 6) == 0:
        _reshape(tensor, generator)
    at = 0
    for each in tensors:
        each["offset"], at = at, at + each["bytes"]
    metadata["store_bytes"], metadata["payload_bytes"] = len(data), 0
    store = samples.plan(scheme).store
    array = np.frombuffer(data, np.uint8)
    sections[STORE] = "uint8", store.encode(array).tobytes()
    sections[CHECKS] = "uint32", word_checks(array, store.frame_bytes).tobytes()
    return _written(folder, scheme, container(json.dumps(metadata), sections))


def _reshape(tensor: dict[str, Any], generator: Generator) -> None:
    shape, axis = tensor["shape"], int(generator.integers(0, max(len(tensor["shape"]), 1)))
    if shape:
        factors = (2, 3, 1000, 10**6, 10**9, 10**12)
        shape[axis] *= factors[int(generator.integers(0, len(factors)))]


def _chip(generator: Generator, folder: Path) -> Path:
    """Alter a chip: anything, or what is under its checksums, which then are right."""
    out, source = folder / "input.safetensors", samples.chip()
    table, data = safetensors_parts(source)
    match int(generator.integers(0, 4)):
        case 0:
            out.write_bytes(damaged_bytes(source.read_bytes(), generator))
        case 1:
            out.write_bytes(safetensors(damaged_json(table, generator), data))
        case _:
            tensors, texts = read_tensors(source)
            sums = tensors.pop("checksums")
            if generator.integers(0, 2):
                facts = json.loads(texts["chip"])
                del facts["device"]
                own = json.loads(texts["chip"])
                changed = damaged_json(facts, generator)
                texts["chip"] = changed[:-1] + f', "device": {json.dumps(own["device"])}}}'
            else:
                name = list(tensors)[int(generator.integers(0, len(tensors)))]
                array = tensors[name]
                changed_bytes = damaged_bytes(array.tobytes(), generator)[: array.nbytes]
                changed_bytes += bytes(array.nbytes - len(changed_bytes))
                tensors[name] = np.frombuffer(changed_bytes, array.dtype).reshape(array.shape)
                if generator.integers(0, 6) == 0:
                    tensors[name] = tensors[name].astype("f8")
            digests = [_digest("chip", texts["chip"].encode(errors="replace"))]
            digests += [_digest(name, array) for name, array in tensors.items()]
            sums = np.array([list(each) for each in digests], np.uint8)
            if generator.integers(0, 8) == 0:
                sums = np.zeros((10**10, 0), np.uint8)
            out.write_bytes(tensors_file({**tensors, "checksums": sums}, texts))
    return out


def _use_chip(path: Path) -> None:
    with (
        CellImage(samples.image("combined")) as image,
        StoredChip(image, path, age_seconds=3600.0) as chip,
    ):
        for region in image.regions():
            assert chip.read(region, 0, region.cells).shape == (region.cells,)


def _use(path: Path) -> None:
    _weights(path)


TARGETS = (
    Target("image", _altered, _use_altered),
    Target("image-metadata", _metadata, _use),
    Target("image-sections", _sections, _use),
    Target("image-index", _index, _use),
    Target("stream", _stream, _use),
    Target("chip", _chip, _use_chip),
)
