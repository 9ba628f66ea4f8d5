"""Container files that were altered, cut short, or never were container files."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path

import numpy as np
import pytest

from softcell.errors import FormatError
from softcell.image import container_index
from softcell.image.container import Container, ContainerWriter


def write_small(path: Path) -> None:
    with ContainerWriter(path, {"plan": "ä", "ages": [1, 2.5]}) as writer:
        writer.append("levels", np.arange(11, dtype=np.uint8))
        writer.append("scales", np.array([0.5, -2.0], np.float32))
        writer.append("levels", np.arange(11, 14, dtype=np.uint8))
        writer.append("empty", np.zeros(0, np.uint16))


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.cells"
    write_small(path)
    return path


def check_whole(path: Path) -> None:
    with Container(path) as container:
        container.verify()


@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
def test_every_altered_byte_is_found(small: Path, mask: int):
    whole = small.read_bytes()
    check_whole(small)
    for i in range(len(whole)):
        altered = bytearray(whole)
        altered[i] ^= mask
        small.write_bytes(altered)
        with pytest.raises(FormatError) as caught:
            check_whole(small)
        assert "\n" not in str(caught.value), i


def test_every_truncation_and_extension_is_found(small: Path):
    whole = small.read_bytes()
    for length in range(len(whole)):
        small.write_bytes(whole[:length])
        with pytest.raises(FormatError):
            check_whole(small)
    for more in (b"\0", b"\n", whole, whole[-40:]):
        small.write_bytes(whole + more)
        with pytest.raises(FormatError, match="truncated or altered"):
            check_whole(small)


def test_reading_verifies_what_it_touches_and_names_the_section(small: Path):
    altered = bytearray(small.read_bytes())
    altered[32] ^= 1  # the first byte of "scales"
    small.write_bytes(altered)
    with Container(small) as container:
        assert container.read("levels").tolist() == list(range(14))
        with pytest.raises(FormatError, match=r"small\.cells: checksum of section 'scales'"):
            container.read("scales", 1)
        with pytest.raises(FormatError, match="section 'scales'"):
            container.verify()


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large.cells"
    with ContainerWriter(path) as writer:
        writer.append("x", np.zeros(9 << 20, np.uint8))
    return path


@pytest.mark.parametrize("segment", [0, 1, 2])
def test_an_alteration_after_the_check_is_seen_or_changes_nothing(large: Path, segment: int):
    with Container(large) as container, open(large, "r+b") as file:
        container.verify()
        early = container.read("x", 0, 9 << 20)
        view = container.read("x", 5, 9)
        for at in range(5, 9):
            file.seek(16 + (segment << 22) + at)
            file.write(b"\1")
        file.flush()
        assert not early.any()
        assert not view.any()
        for start in range(0, 9 << 20, 1 << 16):
            try:
                assert not container.read("x", start, start + (1 << 16)).any()
            except FormatError as error:
                assert "section 'x'" in str(error)
        with pytest.raises(FormatError, match="section 'x'"):
            container.verify()


def test_a_file_that_is_cut_short_while_it_is_open_is_told(large: Path):
    with Container(large) as container:
        view = container.read("x", 5, 9)
        with open(large, "r+b") as file:
            file.truncate(1 << 20)
        with pytest.raises(FormatError, match=r"large\.cells ends at byte 1048576"):
            container.read("x", 8 << 20)
        with pytest.raises(FormatError, match="ends at byte 1048576"):
            container.verify()
        assert not view.any()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04 not ours", "is not a softcell file"),
        (b"\x89cells\n" + bytes(100), "is not a softcell file"),
        (b"\x89ce", "truncated to 3 bytes"),
        (b"\x89cells\r\n\x02" + bytes(100), "version 2, newer than 1.*update softcell"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, message: str):
    path = tmp_path / "a.cells"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=message):
        Container(path)


SEGMENT = [16, 8, hashlib.blake2b(bytes(8), digest_size=16).hexdigest()]


@pytest.mark.parametrize(
    "index",
    [
        [],
        {"metadata": {}},
        {"metadata": 3, "sections": {}},
        {"metadata": {}, "sections": {}},
        {
            "metadata": {},
            "sections": {"x": {"dtype": "object", "length": 1, "segments": [SEGMENT]}},
        },
        {"metadata": {}, "sections": {"x": {"dtype": "uint8", "length": 9, "segments": [SEGMENT]}}},
        {"metadata": {}, "sections": {"x": {"dtype": "int8", "length": -8, "segments": [SEGMENT]}}},
        {
            "metadata": {},
            "sections": {
                name: {"dtype": "uint8", "length": 8, "segments": [SEGMENT]} for name in "xy"
            },
        },
    ],
)
def test_a_contradictory_index_is_refused_though_its_checksum_fits(tmp_path: Path, index: object):
    text = json.dumps(index).encode()
    covered = container_index.HEADER + struct.pack("<QQ", 24, len(text)) + text
    check = hashlib.blake2b(covered, digest_size=16).digest()
    path = tmp_path / "a"
    path.write_bytes(
        container_index.HEADER
        + bytes(8)
        + text
        + struct.pack("<QQ", 24, len(text))
        + check
        + b"\r\nsllec\x89"
    )
    with pytest.raises(FormatError, match="index is not a container's"):
        Container(path)
