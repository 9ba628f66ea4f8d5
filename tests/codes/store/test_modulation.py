"""Bits on levels: labels, reliabilities, ratios, and where each stored bit goes."""

import numpy as np
import pytest
from scipy.special import ndtr

from softcell.channel import Channel, channel_of, mutual_information
from softcell.codes.store.modulation import (
    Modulation,
    bit_information,
    design_modulation,
    gray_labels,
    label_bits,
)
from softcell.devices import parse_device
from softcell.errors import InputError

GRAY8 = (0, 1, 3, 2, 6, 7, 5, 4)


def pam(count: int, deviation: float) -> Channel:
    levels = np.linspace(0, 1, count)
    edges = np.concatenate([[-np.inf], np.linspace(-0.5, 1.5, 1001), [np.inf]])
    return Channel(levels, edges, np.diff(ndtr((edges - levels[:, None]) / deviation), axis=1))


@pytest.mark.parametrize("count", [2, 4, 8, 16])
@pytest.mark.parametrize("n", [1, 17, 48, 50])
def test_bits_come_back_from_cells(count: int, n: int) -> None:
    bits = count.bit_length() - 1
    rng = np.random.default_rng(n * count)
    planes = tuple(int(i) for i in rng.permutation(bits))
    labels = tuple(int(i) for i in rng.permutation(count))
    modulation = Modulation(tuple(range(count)), labels, planes)
    stored = rng.integers(0, 2, (3, n), np.uint8)
    cells = modulation.to_cells(stored)
    assert cells.shape == (3, bits * modulation.cells(n))
    np.testing.assert_array_equal(modulation.from_cells(cells.astype(np.int8), n), stored)
    levels = modulation.level_indices(cells.reshape(-1))
    by_level = label_bits(labels)[levels].reshape(3, -1)  # indices are 0, 1, 2, ... here
    np.testing.assert_array_equal(by_level, cells)


def test_first_stored_bits_take_the_most_reliable_label_bit() -> None:
    modulation = Modulation((0, 1, 2, 3, 4, 5, 6, 7), GRAY8, planes=(2, 0, 1))
    stored = np.zeros((1, 12), np.uint8)
    stored[0, :4] = 1  # fills the label bit 2 of all four cells
    assert modulation.to_cells(stored).reshape(4, 3).tolist() == 4 * [[0, 0, 1]]
    stored[0, 4] = 1  # then label bit 0, from the first cell on
    assert modulation.to_cells(stored).reshape(4, 3).tolist() == [[1, 0, 1]] + 3 * [[0, 0, 1]]


def test_ratios_are_those_of_bayes() -> None:
    channel = pam(8, 0.06)
    modulation = Modulation(tuple(range(8)), GRAY8, (0, 1, 2))
    readings = np.linspace(-0.2, 1.2, 57).astype(np.float32)
    ratios = modulation.detect(channel, readings).reshape(-1, 3)
    centres = channel.readings[channel.bins(readings)]
    likelihood = np.exp(-0.5 * ((centres[:, None] - channel.levels) / 0.06) ** 2)
    for bit in range(3):
        one = np.array([label >> (2 - bit) & 1 for label in GRAY8], bool)
        expected = np.log(likelihood[:, ~one].sum(axis=1) / likelihood[:, one].sum(axis=1))
        np.testing.assert_allclose(ratios[:, bit] / 4, np.clip(expected, -25, 25), atol=0.2)
    assert ratios[0, 0] > 0 > ratios[-1, 0]  # the lowest level is labelled 000, the highest 100


def test_written_bits_are_read_with_their_sign() -> None:
    channel = channel_of(parse_device("pcm-partial-reset"))
    modulation = design_modulation(channel, 8)
    bits = np.random.default_rng(0).integers(0, 2, 3 * 4000, np.uint8)
    levels = modulation.level_indices(bits)
    ratios = modulation.detect(channel, channel.mean[levels].astype(np.float32))
    assert ((ratios < 0) == bits).mean() > 0.999


def test_information_of_labels() -> None:
    channel = pam(8, 0.055)
    worth = bit_information(channel.matrix, GRAY8)
    whole = mutual_information(channel.matrix, np.full(8, 1 / 8))
    assert (np.diff(worth) < 0).all()  # the reflected code's first bit is the most reliable
    assert worth.sum() < whole < worth.sum() + 0.05
    assert bit_information(channel.matrix, tuple(range(8))).sum() < worth.sum() - 0.1
    np.testing.assert_allclose(bit_information(np.eye(8), GRAY8), 1, atol=1e-12)


def test_gray_labels_differ_in_one_bit() -> None:
    every = list(gray_labels(3))
    assert every[0] == GRAY8
    assert len(every) == len(set(every)) == 3
    for labels in (*every, *gray_labels(4), *gray_labels(1)):
        steps = np.bitwise_count(np.array(labels[1:]) ^ np.array(labels[:-1]))
        assert (steps == 1).all()
        assert sorted(labels) == list(range(len(labels)))


def test_designed_levels_are_worth_what_was_found() -> None:
    channel = channel_of(parse_device("pcm-partial-reset"))
    modulation = design_modulation(channel, 8)
    assert list(modulation.labels) == list(GRAY8)
    assert (np.diff(channel.mean[list(modulation.indices)]) > 0).all()
    worth = bit_information(channel.matrix[list(modulation.indices)], modulation.labels)
    assert (np.diff(worth[list(modulation.planes)]) <= 0).all()
    # 2.555 bits by hand-placed levels (1.05 ... 2.95 V); capacity 2.65
    assert 2.555 <= worth.sum() < channel.capacity.bits


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"indices": (0, 1, 2)}, "2, 4, 8 or 16 levels of 256"),
        ({"indices": (0, 1, 2, 256)}, "2, 4, 8 or 16 levels of 256"),
        ({"indices": (0, 1, 1, 2)}, "different levels"),
        ({"labels": (0, 1, 2, 2)}, "each label from 0 to 3 once"),
        ({"planes": (0, 0)}, "each label bit from 0 to 1 once"),
    ],
)
def test_what_is_wrong_is_said(change: dict, message: str) -> None:
    parts = {"indices": (0, 1, 2, 3), "labels": (0, 1, 3, 2), "planes": (0, 1)}
    with pytest.raises(InputError, match=message):
        Modulation(**(parts | change))


def test_unknown_numbers_of_levels_are_refused() -> None:
    with pytest.raises(InputError, match="2, 4, 8 or 16 levels, got 6"):
        design_modulation(pam(8, 0.05), 6)
