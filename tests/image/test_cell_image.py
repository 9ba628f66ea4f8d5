"""The cell image file: what it says of itself, and what becomes of damage."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

from softcell.allocate.plan import make_plan
from softcell.codes.code import RUN_CELLS
from softcell.devices import parse_device
from softcell.errors import FormatError, InputError, SoftcellError
from softcell.image import cell_image
from softcell.image.cell_image import STORE, CellImage, levels_section
from softcell.image.container import Container, ContainerWriter
from softcell.image.header import header_of
from softcell.image.readings import SimulatedChip
from softcell.image.restore import Restoration
from softcell.image.write import write_image
from softcell.streams import Stream
from softcell.weights import StateDictWeights

STATE = {
    "conv.weight": Stream.of(0, "c").normal(6 * 3 * 9).reshape(6, 3, 3, 3),
    "conv.bias": Stream.of(0, "b").normal(6),
    "steps": np.array(11),
    "nothing": np.zeros((0, 4), np.float32),
    "linear.weight": Stream.of(0, "l").normal(10 * 40).reshape(10, 40)
    * (Stream.of(0, "m").uniform(400).reshape(10, 40) < 0.4),
}


def make(path, scheme="combined", device="pcm-partial-reset", age=0.0):
    weights = StateDictWeights(STATE)
    plan = make_plan(
        weights,
        parse_device(device),
        scheme,
        cells_per_weight=3.0 if scheme == "combined" else None,
        age_seconds=age,
    )
    return write_image(weights, plan, path)


@pytest.fixture(scope="module")
def image_bytes(tmp_path_factory):
    path = tmp_path_factory.mktemp("image") / "x.cells"
    make(path)
    return path.read_bytes()


@pytest.mark.parametrize("scheme", ["combined", "int8", "float32"])
@pytest.mark.parametrize(
    "device", ["pcm-partial-reset", "pcm-mushroom", "gaussian:snr_db=25+stuck:low=0.001"]
)
def test_the_header_comes_back_as_it_was_written(scheme, device, tmp_path):
    header = make(tmp_path / "x.cells", scheme, device, age=3600.0)
    with CellImage(tmp_path / "x.cells") as image:
        found = image.header
        image.verify()
    assert found.metadata() == header.metadata()
    assert found.device.name == parse_device(device).name
    assert found.age_seconds == 3600.0
    assert found.scheme == scheme
    assert [t.info.name for t in found.tensors] == list(STATE)
    assert [t.info.shape for t in found.tensors] == [v.shape for v in STATE.values()]
    assert found.weights == sum(v.size for v in STATE.values())


def test_the_same_input_gives_the_same_bytes(tmp_path):
    for scheme in ("combined", "int8"):
        make(tmp_path / "a.cells", scheme)
        make(tmp_path / "b.cells", scheme)
        assert (tmp_path / "a.cells").read_bytes() == (tmp_path / "b.cells").read_bytes()


def test_the_runs_of_the_writer_do_not_matter(tmp_path, monkeypatch):
    make(tmp_path / "a.cells")
    monkeypatch.setattr("softcell.codes.analog.code._RUN_WEIGHTS", 37)
    make(tmp_path / "b.cells")
    assert (tmp_path / "a.cells").read_bytes() == (tmp_path / "b.cells").read_bytes()


def test_the_file_is_as_small_as_its_cells(tmp_path):
    """One byte for an analog cell, the bits of the store as they are, and a header."""
    header = make(tmp_path / "x.cells")
    payload = header.analog_cells + header.store.coded_bits(header.store_bytes) / 8
    description = len(json.dumps(header.metadata()))
    assert (tmp_path / "x.cells").stat().st_size < payload + description + 1000


def test_levels_of_any_part_are_those_of_the_whole(tmp_path):
    make(tmp_path / "x.cells")
    with CellImage(tmp_path / "x.cells") as image:
        regions = list(image.regions())
        assert [r.label for r in regions] == ["cells/conv.weight", "cells/linear.weight", STORE]
        for region in regions:
            whole = image.levels(region, 0, region.cells)
            assert len(whole) == region.cells
            for start in range(0, region.cells, 64):
                stop = min(start + 64, region.cells)
                assert (image.levels(region, start, stop) == whole[start:stop]).all()
        assert set(np.unique(whole)) <= set(image.header.store.indices)


def test_every_truncation_is_told(image_bytes, tmp_path):
    path = tmp_path / "cut.cells"
    for length in [*range(0, len(image_bytes), 97), len(image_bytes) - 1]:
        path.write_bytes(image_bytes[:length])
        with pytest.raises(FormatError) as told:
            CellImage(path)
        assert "\n" not in str(told.value)
        assert "cut.cells" in str(told.value)


def test_no_altered_byte_goes_unnoticed(image_bytes, tmp_path):
    path = tmp_path / "altered.cells"
    for seed in range(120):
        damaged = bytearray(image_bytes)
        word = int(Stream.of(seed, "damage").words(1)[0])
        damaged[word % len(damaged)] ^= 1 + (word >> 16) % 255
        path.write_bytes(bytes(damaged))
        with pytest.raises(FormatError) as told, CellImage(path) as image:
            dict(Restoration(image, SimulatedChip(image, seed=0), threads=1).tensors())
            image.verify()
        assert "\n" not in str(told.value)


def test_files_of_another_kind(tmp_path):
    path = tmp_path / "x.cells"
    for content in (b"", b"PK\x03\x04", b"a,b\n1,2\n", bytes(1000)):
        path.write_bytes(content)
        with pytest.raises(FormatError):
            CellImage(path)
    with ContainerWriter(path, {"hello": 1}) as writer:
        writer.append("levels", np.zeros(3, np.uint8))
    with pytest.raises(FormatError, match="does not describe a cell image"):
        CellImage(path)
    with pytest.raises(InputError):
        CellImage(tmp_path / "missing.cells")
    with pytest.raises(InputError):
        CellImage(tmp_path)


# Files with valid checksums and wrong contents: written by another program, or in bad faith.


def rewritten(image_bytes, tmp_path, change):
    """Write the image again with its metadata and sections changed."""
    source, target = tmp_path / "source.cells", tmp_path / "target.cells"
    source.write_bytes(image_bytes)
    with Container(source) as container:
        metadata = copy.deepcopy(container.metadata)
        sections = {name: np.array(container.read(name)) for name in container.sections}
    change(metadata, sections)
    with ContainerWriter(target, metadata) as writer:
        for name, data in sections.items():
            writer.append(name, data)
    return target


def set_in(*path_and_value):
    *path, last, value = path_and_value

    def change(metadata, sections):
        for key in path:
            metadata = metadata[key]
        metadata[last] = value

    return change


def drop(name):
    return lambda metadata, sections: sections.pop(name)


def shorten(name):
    return lambda metadata, sections: sections.update({name: sections[name][:-1]})


def widen(name):
    return lambda metadata, sections: sections.update({name: sections[name].astype(np.uint16)})


WRONG = {
    "no device": lambda metadata, sections: metadata.pop("device"),
    "unknown device": set_in("device", {"kind": "tape"}),
    "device of text": set_in("device", "pcm"),
    "no tensors": set_in("tensors", []),
    "tensors of text": set_in("tensors", "none"),
    "tensor of numbers": set_in("tensors", 0, 3),
    "negative age": set_in("age_seconds", -1.0),
    "age of text": set_in("age_seconds", "old"),
    "two tensors of one name": set_in("tensors", 1, "name", "conv.weight"),
    "unknown kind": set_in("tensors", 0, "kind", "wavelet"),
    "kind of a list": set_in("tensors", 0, "kind", ["analog"]),
    "vector with cells": set_in("tensors", 1, "cells", 4),
    "negative cells": set_in("tensors", 0, "cells", -4),
    "more cells": set_in("tensors", 0, "cells", 10**12),
    "huge shape": set_in("tensors", 1, "shape", [10**15]),
    "negative shape": set_in("tensors", 0, "shape", [-6, 3, 3, 3]),
    "fractional shape": set_in("tensors", 0, "shape", [6.5]),
    "unknown type": set_in("tensors", 0, "dtype", "F12"),
    "shifted offset": set_in("tensors", 1, "offset", 0),
    "wrong bytes": set_in("tensors", 1, "bytes", 3),
    "fewer store bytes": set_in("store_bytes", 3),
    "more payload than there is": set_in("payload_bytes", 10**9),
    "levels beyond 255": set_in("store", "indices", [0, 100, 200, 300]),
    "three levels": set_in("store", "indices", [0, 100, 200]),
    "equal levels": set_in("store", "indices", [0, 100, 100, 200]),
    "levels of text": set_in("store", "indices", "abcd"),
    "no information bits": set_in("store", "k", 0),
    "odd information bits": set_in("store", "k", 4095),
    "fractional t": set_in("store", "t", 2.5),
    "negative t": set_in("store", "t", -2),
    "huge t": set_in("store", "t", 10**9),
    "other field": set_in("store", "m", 5),
    "foreign key": set_in("store", "colour", "red"),
    "store of text": set_in("store", "store"),
    "no store section": drop(STORE),
    "no levels section": drop(levels_section(0)),
    "short store section": shorten(STORE),
    "short levels section": shorten(levels_section(4)),
    "wide levels": widen(levels_section(0)),
}


@pytest.mark.parametrize("name", WRONG)
def test_contents_that_contradict_themselves_are_refused(name, image_bytes, tmp_path):
    path = rewritten(image_bytes, tmp_path, WRONG[name])
    with pytest.raises(FormatError) as told:
        CellImage(path)
    assert "\n" not in str(told.value)
    assert "target.cells" in str(told.value)


def test_an_unchanged_rewriting_is_read(image_bytes, tmp_path):
    path = rewritten(image_bytes, tmp_path, lambda metadata, sections: None)
    with CellImage(path) as image:
        assert image.header.weights == sum(v.size for v in STATE.values())


def test_metadata_of_any_json_never_crash(image_bytes, tmp_path):
    """Each value of the header replaced by values of every other type."""
    source = tmp_path / "source.cells"
    source.write_bytes(image_bytes)
    with Container(source) as container:
        metadata = container.metadata

    def places(value, path=()):
        if isinstance(value, dict | list):
            for key in value if isinstance(value, dict) else range(len(value)):
                yield (*path, key)
                yield from places(value[key], (*path, key))

    odd = (None, True, -1, 0, 1.5, 1e300, float("inf"), float("nan"), "x", [], {}, [[]], 2**70)
    kept = [p for p in places(metadata) if p[:2] != ("device", "mean")][:90]
    for path in kept:
        for value in odd:
            changed = copy.deepcopy(metadata)
            at = changed
            for key in path[:-1]:
                at = at[key]
            at[path[-1]] = value
            try:
                header = header_of(changed)
                _ = header.cells
            except SoftcellError as error:
                assert "\n" not in str(error)


def test_runs_are_whole_bytes():
    assert RUN_CELLS % 8 == 0
    assert cell_image.STORE_RUN % 8 == 0
