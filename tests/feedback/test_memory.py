"""Memories that are programmed a column at a time: the chip that an image would be written to."""

from __future__ import annotations

import numpy as np
import pytest

from softcell.channel import channel_of
from softcell.devices import parse_device
from softcell.errors import InputError
from softcell.feedback.memory import SimulatedMemory, into
from softcell.streams import Stream

CELL = "pcm-partial-reset"
FAULTY = "pcm-mushroom+stuck:low=0.05,high=0.05+spread:sigma=0.02+readout:bits=7"


def levels_of(count):
    return (Stream.of(0, "levels").uniform(count) * 255).astype(np.uint8)


def written_at_once(device, seed, levels, region):
    plain = levels.astype(np.float32) / np.float32(255)
    return device.write(plain, stream=Stream.of(seed, f"write/{region}"))


@pytest.mark.parametrize("name", [CELL, FAULTY, "gaussian:snr_db=10", "rram-wan", "pcm-sweep"])
def test_it_is_the_chip_of_its_seed_whatever_the_order(name):
    device, levels, region = parse_device(name), levels_of(3000), "cells/a"
    cells = written_at_once(device, 7, levels, region)
    expected = device.read(cells, stream=Stream.of(7, f"verify/0/{region}"))
    memory = SimulatedMemory(device, 7)
    order = np.argsort(Stream.of(1, "order").uniform(3000))
    found = np.empty(3000, np.float32)
    for some in np.split(order, [1, 10, 700, 701]):
        found[some] = memory.program(region, some, levels[some])
    assert np.array_equal(found, expected)


def test_other_seeds_and_regions_are_other_cells():
    device, levels, at = parse_device(CELL), levels_of(200), np.arange(200)
    first = SimulatedMemory(device, 1).program("cells/a", at, levels)
    for seed, region in ((2, "cells/a"), (1, "cells/b")):
        other = SimulatedMemory(device, seed).program(region, at, levels)
        assert (first != other).mean() > 0.95


def test_a_verifying_read_is_not_the_read_of_the_decoder():
    device, levels, at = parse_device(CELL + ":read_noise=0.05"), levels_of(4000), np.arange(4000)
    seen = SimulatedMemory(device, 1).program("cells/a", at, levels)
    cells = written_at_once(device, 1, levels, "cells/a")
    later = device.read(cells, stream=Stream.of(1, "read/0/cells/a"))
    # They share what was programmed and nothing of reading.
    assert np.std(seen - later) == pytest.approx(0.05 * 2**0.5, rel=0.05)


@pytest.mark.parametrize("reads", [1, 4, 16])
def test_verifying_reads_are_averaged(reads):
    device, levels, at = parse_device(CELL + ":read_noise=0.05"), levels_of(4000), np.arange(4000)
    seen = SimulatedMemory(device, 1, reads).program("cells/a", at, levels)
    exact = written_at_once(device, 1, levels, "cells/a").state["reading"]
    assert np.std(seen - exact) == pytest.approx(0.05 / reads**0.5, rel=0.05)


def test_the_loop_sees_what_the_codec_decodes():
    class Codec:
        """A cell for each row of two columns, its level the target itself."""

        def places(self, column):
            return 3 * column + np.arange(3)

        def encode_column(self, column, targets):
            return (targets * 255).astype(np.uint8)

        def decode_column(self, column, readings, targets, law):
            self.given = column, targets, law
            return readings + column

    device = parse_device("ideal")
    codec, law = Codec(), channel_of(device)
    store = into(SimulatedMemory(device, 0), "cells/a", codec, law)
    targets = np.array([0, 1, 0.2], np.float32)
    assert np.allclose(store(1, targets), targets + 1)
    assert codec.given[0] == 1
    assert codec.given[1] is targets
    assert codec.given[2] is law


def test_it_refuses_what_is_no_chip():
    with pytest.raises(InputError, match="at least 1 verifying read"):
        SimulatedMemory(parse_device("ideal"), 0, 0)
    with pytest.raises(InputError, match="seed"):
        SimulatedMemory(parse_device("ideal"), -1)
