"""Maps kept with an image: decoding needs no design, and old images are designed for anew."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

import softcell
from softcell.channel import channel_of
from softcell.codes.coarse import design as coarse_to_fine
from softcell.codes.coarse.code import CoarseCode
from softcell.codes.code import Design
from softcell.codes.joint import design as joint_map
from softcell.codes.joint.code import JointCode
from softcell.codes.maps.source import SHAPES, STEPS
from softcell.codes.maps.stored_maps import Maps, pack_map
from softcell.codes.packed import design as packed_map
from softcell.codes.store.design import store_for
from softcell.devices import parse_device
from softcell.durations import Ages
from softcell.errors import FormatError
from softcell.image import write as image_write
from softcell.image.cell_image import CellImage
from softcell.streams import Stream

DEVICE = parse_device("pcm-partial-reset")
CHANNEL = channel_of(DEVICE)
DESIGN = Design(DEVICE, Ages(0.0, 0.0), store_for("hard", CHANNEL))
GAUSSIAN = SHAPES.index(2.0)
STATE = {
    "w": Stream.of(0, "w").normal(30 * 300).reshape(30, 300),
    "v": Stream.of(0, "v").normal(10 * 40).reshape(10, 40) ** 3,
}


def write(path, scheme, cells=1.6):
    return softcell.write(STATE, path / "x.cells", scheme=scheme, cells_per_weight=cells)


def refuse_designs(monkeypatch):
    def never(*arguments):
        pytest.fail("a decoder designs nothing")

    monkeypatch.setattr(coarse_to_fine, "design_map", never)
    monkeypatch.setattr(joint_map, "design_joint_map", never)
    monkeypatch.setattr(packed_map, "packed_map", never)


@pytest.mark.parametrize("scheme", ["joint-map", "hybrid", "coarse-to-fine", "packed"])
def test_a_decoder_uses_the_maps_of_the_image_and_none_of_its_own(scheme, tmp_path, monkeypatch):
    write(tmp_path, scheme)
    whole = softcell.read(tmp_path / "x.cells", seed=1)
    with monkeypatch.context() as patch:
        refuse_designs(patch)
        again = softcell.read(tmp_path / "x.cells", seed=1)
        softcell.read(tmp_path / "x.cells", seed=1, age="1y")
    # The same bits as from an image of before maps were kept, whose decoder designs them.
    monkeypatch.setattr(image_write, "Mapped", type("Nothing", (), {}))
    write(tmp_path, scheme)
    with CellImage(tmp_path / "x.cells") as image:
        assert image.sections("maps/") == {}
    old = softcell.read(tmp_path / "x.cells", seed=1)
    for name in STATE:
        assert whole[name].tobytes() == again[name].tobytes() == old[name].tobytes()


def test_a_map_comes_back_bit_for_bit():
    stored = {
        **CoarseCode(GAUSSIAN, 1.0, np.array([2, 2], np.uint8)).maps(DESIGN),
        **JointCode(GAUSSIAN, 1.0, np.array([2], np.uint8)).maps(DESIGN),
    }
    assert max(len(data) for data in stored.values()) < 3000
    kept, made = Maps(CHANNEL, stored), Maps(CHANNEL)
    one, other = (coarse_to_fine.coarse_map(maps, GAUSSIAN, 2) for maps in (kept, made))
    assert one is not other
    for name in ("parts", "levels", "density"):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes()
    assert (one.bits, one.reach, one.distortion) == (other.bits, other.reach, other.distortion)
    pair, own = (joint_map.joint_map(maps, GAUSSIAN) for maps in (kept, made))
    assert pair is not own
    for name in ("first", "second", "density"):
        assert getattr(pair, name).tobytes() == getattr(own, name).tobytes()
    assert (pair.reach, pair.distortion) == (own.reach, own.distortion)


@pytest.mark.parametrize(("values", "parts"), [(1, 1), (1, 16), (2, 1), (3, 1)])
def test_a_packed_map_comes_back_bit_for_bit(values, parts):
    other = packed_map.packed_map(CHANNEL, values, parts)
    data = pack_map(other.distortion, other.part, other.levels)
    assert len(data) < 2000
    maps = Maps(CHANNEL, {packed_map.map_name(values, parts): data})
    one = packed_map.kept_packed_map(maps, values, parts)
    assert one is not other
    assert one.part.tobytes() == other.part.tobytes()
    assert one.levels.tobytes() == other.levels.tobytes()
    assert one.levels.shape == other.levels.shape
    assert (one.values, one.parts, one.distortion) == (values, parts, other.distortion)
    assert packed_map.kept_packed_map(Maps(CHANNEL), values, parts) is other


def test_only_the_maps_that_tensors_use_are_kept(tmp_path):
    write(tmp_path, "joint-map", cells=1.6)
    with CellImage(tmp_path / "x.cells") as image:
        names = set(image.sections("maps/"))
    assert {"coarse-to-fine/2/0", "joint/2"} <= names
    assert len(names) <= 4  # two densities at most
    write(tmp_path, "packed", cells=0.7)
    with CellImage(tmp_path / "x.cells") as image:
        names = set(image.sections("maps/"))
    assert (
        {"packed/2/1", "packed/1/1"}
        <= names
        <= {f"packed/{x}" for x in ("3/1", "2/1", "1/1", "1/4", "1/16")}
    )
    write(tmp_path, "combined", cells=1.6)
    with CellImage(tmp_path / "x.cells") as image:
        assert image.sections("maps/") == {}


@pytest.mark.parametrize("damage", [b"", b"x" * 50, b"short"])
def test_bytes_that_are_no_map_are_refused(damage):
    data = zlib.compress(bytes(9)) if damage == b"short" else damage
    bomb = zlib.compress(bytes(8 + 4 * STEPS))
    for each in (data, bomb):
        stored = np.frombuffer(each, np.uint8)
        with pytest.raises(FormatError, match="stored map"):
            joint_map.joint_map(Maps(CHANNEL, {joint_map.map_name(0): stored}), 0)
        with pytest.raises(FormatError, match="stored map"):
            packed_map.kept_packed_map(Maps(CHANNEL, {packed_map.map_name(1, 4): stored}), 1, 4)
    parts = np.full(2 * STEPS + 8, 200, np.uint8)
    parts[:8] = 0
    stored = np.frombuffer(zlib.compress(parts.tobytes()), np.uint8)
    with pytest.raises(FormatError, match="parts below 4"):
        coarse_to_fine.coarse_map(Maps(CHANNEL, {coarse_to_fine.map_name(0, 2): stored}), 0, 2)
    stored = np.frombuffer(zlib.compress(parts[: 2 * 4096 + 8].tobytes()), np.uint8)
    with pytest.raises(FormatError, match="needs parts below"):
        packed_map.kept_packed_map(Maps(CHANNEL, {packed_map.map_name(1, 4): stored}), 1, 4)
