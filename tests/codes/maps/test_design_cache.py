"""Designs kept on disk: the same bits with and without, and nothing that breaks them."""

from __future__ import annotations

import numpy as np
import pytest

from softcell.channel import Channel, channel_of
from softcell.codes.coarse import design as maps
from softcell.codes.maps.design_cache import kept
from softcell.devices import parse_device
from softcell.errors import InputError

CHANNEL = channel_of(parse_device("gaussian:snr_db=20"))
GAUSSIAN = maps.SHAPES.index(2.0)
design = maps.design_map.__wrapped__  # without what this process remembers


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SOFTCELL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "designs"


def count_designs(monkeypatch):
    made = []
    designed = maps._designed

    def counted(*arguments):
        made.append(arguments)
        return designed(*arguments)

    monkeypatch.setattr(maps, "_designed", counted)
    return made


def same(one, other):
    assert one.parts.tobytes() == other.parts.tobytes()
    assert one.levels.tobytes() == other.levels.tobytes()
    assert one.density.tobytes() == other.density.tobytes()
    assert (one.bits, one.reach, one.distortion) == (other.bits, other.reach, other.distortion)


def test_a_design_is_made_once_and_comes_back_bit_for_bit(folder, monkeypatch):
    made = count_designs(monkeypatch)
    first = design(CHANNEL, GAUSSIAN, 1)
    assert len(list(folder.iterdir())) == 1
    same(first, design(CHANNEL, GAUSSIAN, 1))
    assert len(made) == 1


def test_every_part_of_the_key_tells_designs_apart(folder, monkeypatch):
    made = count_designs(monkeypatch)
    matrix = CHANNEL.matrix.copy()
    matrix[3, 100:102] = matrix[3, 100:102].mean() + np.array([1e-9, -1e-9])
    moved = CHANNEL.edges.copy()
    moved[1:-1] += 1e-9
    for channel, shape, bits in (
        (CHANNEL, GAUSSIAN, 0),
        (CHANNEL, GAUSSIAN, 1),
        (CHANNEL, GAUSSIAN - 1, 0),
        (Channel(CHANNEL.levels, CHANNEL.edges, matrix), GAUSSIAN, 0),
        (Channel(CHANNEL.levels, moved, CHANNEL.matrix), GAUSSIAN, 0),
        (Channel(CHANNEL.levels**2, CHANNEL.edges, CHANNEL.matrix), GAUSSIAN, 0),
    ):
        design(channel, shape, bits)
    assert len(made) == len(list(folder.iterdir())) == 6
    monkeypatch.setattr(maps, "_VERSION", -1)
    design(CHANNEL, GAUSSIAN, 0)
    assert len(made) == 7
    # The age alone does not change a design: nothing but the law does.
    design(Channel(CHANNEL.levels, CHANNEL.edges, CHANNEL.matrix, 7.0), GAUSSIAN, 0)
    assert len(made) == 7


@pytest.mark.parametrize("damage", ["empty", "short", "flipped", "noise", "folder"])
def test_a_damaged_file_is_designed_anew(damage, folder, monkeypatch):
    first = design(CHANNEL, GAUSSIAN, 0)
    (path,) = folder.iterdir()
    data = bytearray(path.read_bytes())
    if damage == "flipped":
        data[len(data) // 2] ^= 1
    kinds = {"empty": b"", "short": data[:-9], "flipped": data, "noise": bytes(range(256)) * 9}
    path.unlink()
    if damage == "folder":
        path.mkdir()
    else:
        path.write_bytes(kinds[damage])
    made = count_designs(monkeypatch)
    same(first, design(CHANNEL, GAUSSIAN, 0))
    same(first, design(CHANNEL, GAUSSIAN, 0))
    assert len(made) == (2 if damage == "folder" else 1)


def test_arrays_of_another_kind_are_not_taken_for_a_design(folder):
    def arrays_of(size):
        return lambda: {"n": np.arange(size)}

    def pair(found):
        if found["n"].shape != (2,):
            raise InputError("not a pair")
        return found["n"].tolist()

    assert kept("pair", (1,), arrays_of(3), lambda found: found["n"].tolist()) == [0, 1, 2]
    assert kept("pair", (1,), arrays_of(2), pair) == [0, 1]
    assert kept("pair", (1,), arrays_of(9), pair) == [0, 1]


def test_a_folder_that_cannot_be_written_does_not_matter(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("not a folder")
    monkeypatch.setenv("SOFTCELL_CACHE", str(file))
    without = design(CHANNEL, GAUSSIAN, 0)
    monkeypatch.setenv("SOFTCELL_CACHE", str(tmp_path / "cache"))
    same(without, design(CHANNEL, GAUSSIAN, 0))
    same(without, design(CHANNEL, GAUSSIAN, 0))
    (tmp_path / "cache" / "designs").chmod(0o500)
    try:
        design(CHANNEL, GAUSSIAN, 2)
    finally:
        (tmp_path / "cache" / "designs").chmod(0o700)


def test_nothing_is_unpickled(folder):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("was unpickled",))

    def trap():
        return {"parts": np.array([Trap()], object)}

    kept("trap", (), trap, lambda found: None)
    kept("trap", (), lambda: {"parts": np.zeros(1)}, lambda found: found["parts"])


def test_the_version_stands_for_these_figures():
    """Where this fails the design has changed: raise `_VERSION`, lest old designs be taken."""
    figures = [design(CHANNEL, GAUSSIAN, bits).distortion for bits in (0, 1, 2)]
    assert maps._VERSION == 1
    assert figures == pytest.approx(FIGURES, rel=1e-5)


FIGURES = [0.019807913396, 0.005375546800, 0.001406637639]
