"""Container files: round trips, layout, wrong use, memory."""

from __future__ import annotations

import hashlib
import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softcell.errors import FormatError, InputError
from softcell.image import container_writer
from softcell.image.container import Container, ContainerWriter

DTYPES = [f"{kind}{bits}" for kind in ("uint", "int") for bits in (8, 16, 32, 64)]
DTYPES += ["float16", "float32", "float64"]


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


# Round trips and layout


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_interleaved_appends_are_their_concatenation(data, tmp_path_factory):
    names = data.draw(st.lists(st.sampled_from(["a", "b", "c"]), max_size=12))
    dtypes = {name: data.draw(st.sampled_from(DTYPES)) for name in "abc"}
    rng = np.random.default_rng(len(names))
    expected = {name: [np.zeros(0, dtypes[name])] for name in names}
    path = tmp_path_factory.mktemp("interleaved") / "x.cells"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(container_writer, "SEGMENT_BYTES", 64)
        with ContainerWriter(path) as writer:
            for name in names:
                piece = rng.integers(0, 100, data.draw(st.integers(0, 60))).astype(dtypes[name])
                expected[name].append(piece)
                writer.append(name, piece)
    with Container(path) as container:
        assert set(container.sections) == set(expected)
        for name, pieces in expected.items():
            whole = np.concatenate(pieces)
            section = container.sections[name]
            assert (section.dtype, section.length) == (whole.dtype, whole.size)
            start = data.draw(st.integers(0, whole.size))
            stop = data.draw(st.integers(start, whole.size))
            np.testing.assert_array_equal(container.read(name, start, stop), whole[start:stop])
            np.testing.assert_array_equal(container.read(name), whole)
        container.verify()


def test_layout_is_as_documented_without_our_reader(small: Path):
    data = small.read_bytes()
    assert data[:16] == b"\x89cells\r\n" + struct.pack("<II", 1, 0)
    offset, length, check, magic = struct.unpack("<QQ16s8s", data[-40:])
    assert magic == b"\r\nsllec\x89"
    assert offset + length + 40 == len(data)
    covered = data[:16] + data[-40:-24] + data[offset : offset + length]
    assert hashlib.blake2b(covered, digest_size=16).digest() == check
    index = json.loads(data[offset : offset + length].decode("utf-8"))
    assert index["metadata"] == {"plan": "ä", "ages": [1, 2.5]}
    levels = index["sections"]["levels"]
    assert (levels["dtype"], levels["length"]) == ("uint8", 14)
    assert [segment[:2] for segment in levels["segments"]] == [[16, 11], [40, 3]]
    for begin, nbytes, digest in levels["segments"]:
        padded = data[begin : begin + -(-nbytes // 8) * 8]
        assert hashlib.blake2b(padded, digest_size=16).hexdigest() == digest
        assert not any(padded[nbytes:])
    begin, nbytes, _ = index["sections"]["scales"]["segments"][0]
    assert struct.unpack("<2f", data[begin : begin + nbytes]) == (0.5, -2.0)
    assert index["sections"]["empty"] == {"dtype": "uint16", "length": 0, "segments": []}


def test_stored_bytes_never_change(tmp_path: Path):
    # The two digests were made with b2sum -l 128.
    with ContainerWriter(tmp_path / "a", {"v": 1}) as writer:
        writer.append("l", np.array([1, 2, 3], np.uint16))
    index = (
        b'{"metadata":{"v":1},"sections":{"l":{"dtype":"uint16","length":3,'
        b'"segments":[[16,6,"efe27d9f922270e593bbd3b9826d095b"]]}}}'
    )
    golden = (
        bytes.fromhex("8963656c6c730d0a 0100000000000000 0100020003000000")
        + index
        + bytes.fromhex("1800000000000000 7a00000000000000 125737de2fab143c6790e80555f182d0")
        + b"\r\nsllec\x89"
    )
    assert (tmp_path / "a").read_bytes() == golden


def test_other_byte_orders_and_strides_are_stored_alike(tmp_path: Path):
    values = np.arange(-50, 50, dtype=np.int32)
    for name, data in [
        ("a", values),
        ("b", values.astype(">i4")),
        ("c", np.repeat(values, 3)[::3]),
    ]:
        with ContainerWriter(tmp_path / name) as writer:
            writer.append("x", data)
    contents = {(tmp_path / name).read_bytes() for name in "abc"}
    assert len(contents) == 1
    with Container(tmp_path / "a") as container:
        np.testing.assert_array_equal(container.read("x"), values)


def test_ranges_within_a_segment_and_over_several_are_read_only(tmp_path: Path):
    rng = np.random.default_rng(0)
    # Two full segments and a bit follow each other without a gap; "apart" is in two places.
    near = rng.integers(0, 8, 9_000_001, dtype=np.uint8)
    apart = rng.integers(0, 8, 1_000, dtype=np.uint16)
    with ContainerWriter(tmp_path / "a") as writer:
        writer.append("apart", apart[:300])
        writer.append("near", near[:5])
        writer.append("near", near[5:])
        writer.append("apart", apart[300:])
    with Container(tmp_path / "a") as container:
        assert len(container.sections["near"].segments) == 3
        first, whole = container.read("near"), container.read("apart")
        within = container.read("apart", 350, 400)
        for array in (first, whole, within):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0
    # Arrays outlive later reads and the file object.
    np.testing.assert_array_equal(first, near)
    np.testing.assert_array_equal(whole, apart)
    np.testing.assert_array_equal(within, apart[350:400])


def test_digest_names_the_contents(tmp_path: Path):
    digests = []
    for name, level in (("a", 1), ("b", 1), ("c", 2)):
        writer = ContainerWriter(tmp_path / name)
        writer.append("levels", np.array([level], np.uint8))
        digests.append(writer.finish())
        with Container(tmp_path / name) as container:
            assert container.digest == digests[-1]
    assert digests[0] == digests[1] != digests[2]


# Wrong use


def test_wrong_reads_are_refused(small: Path, tmp_path: Path):
    with Container(small) as container:
        with pytest.raises(FormatError, match="no section 'masks'; its sections: levels, scales"):
            container.read("masks")
        for start, stop in ((0, 15), (-1, 3), (5, 4)):
            with pytest.raises(InputError, match="not within 0 to 14"):
                container.read("levels", start, stop)
    with pytest.raises(InputError, match="is closed"):
        container.read("levels")
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(InputError, match="is not a file"):
            Container(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.zeros((2, 2), np.uint8), r"expected shape \(n,\)"),
        (np.zeros(2, np.complex64), "complex64 is none of"),
        (np.zeros(2, object), "object is none of"),
        (np.zeros(2, np.int8), "holds uint8, got int8"),
    ],
)
def test_wrong_appends_leave_nothing(tmp_path: Path, data: np.ndarray, message: str):
    def write() -> None:
        with ContainerWriter(tmp_path / "a") as writer:
            writer.append("x", np.zeros(3, np.uint8))
            writer.append("x", data)

    with pytest.raises(InputError, match=message):
        write()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("metadata", [{"a": float("nan")}, {"a": b""}, {"a": {1, 2}}])
def test_metadata_must_be_json(tmp_path: Path, metadata: dict):
    with pytest.raises(InputError, match="JSON"), ContainerWriter(tmp_path / "a") as writer:
        writer.finish(metadata)
    assert list(tmp_path.iterdir()) == []


def test_nothing_appears_before_the_end_and_an_exception_keeps_the_old_file(small: Path):
    before = small.read_bytes()

    def write() -> None:
        with ContainerWriter(small) as writer:
            writer.append("levels", np.zeros(5_000_000, np.uint8))
            assert small.read_bytes() == before
            raise KeyError

    with pytest.raises(KeyError):
        write()
    assert small.read_bytes() == before
    assert list(small.parent.iterdir()) == [small]
    with ContainerWriter(small, {"a": 1}) as writer:
        writer.finish({"a": 2})
        with pytest.raises(InputError, match="finished"):
            writer.append("x", np.zeros(1 << 23, np.uint8))
    with Container(small) as container:
        assert container.metadata == {"a": 2}


# Memory

READ_IN_PIECES = """
import sys
import numpy as np
from softcell.image.container import Container, ContainerWriter

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) // 1024

path, megabytes = sys.argv[1], int(sys.argv[2])
block = np.arange(1 << 20, dtype=np.uint32).view(np.uint8)[: 1 << 20]
before = peak()
with ContainerWriter(path) as writer:
    for _ in range(megabytes):
        writer.append("levels", block)
written, total = peak() - before, 0
with Container(path) as container:
    for start in range(0, megabytes << 20, 8 << 20):
        total += int(container.read("levels", start, start + (8 << 20)).sum())
    container.verify()
assert total == megabytes * int(block.sum())
print(written, peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_reading_a_large_file_in_pieces_keeps_only_a_piece(tmp_path: Path):
    megabytes = 128
    run = subprocess.run(
        [sys.executable, "-c", READ_IN_PIECES, str(tmp_path / "a"), str(megabytes)],
        capture_output=True,
        text=True,
        check=True,
    )
    written, read = map(int, run.stdout.split())
    assert written < 16
    assert read < 40
