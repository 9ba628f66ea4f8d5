"""The law over several ages: probabilities, what knowing the age is worth, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from softcell.channel import SPAN_AGES, AgedChannel, Channel, channel_of, law_of
from softcell.channel.capacity import mutual_information
from softcell.devices import parse_device
from softcell.durations import Ages, parse_ages
from softcell.errors import InputError
from softcell.streams import Stream

MUSHROOM = parse_device("pcm-mushroom")


@pytest.fixture(scope="module")
def told():
    return law_of(MUSHROOM, parse_ages("1m..10y"))


@pytest.fixture(scope="module")
def untold():
    return law_of(MUSHROOM, parse_ages("1m..10y", told=False))


def small(first, second, told):
    edges = np.array([-np.inf, 0.0, 1.0, np.inf])
    levels = np.array([0.0, 1.0])
    pair = [Channel(levels, edges, np.array(m), age) for m, age in ((first, 1.0), (second, 9.0))]
    return AgedChannel(tuple(pair), told)


FIRST = [[0.7, 0.2, 0.1], [0.1, 0.2, 0.7]]
SECOND = [[0.1, 0.3, 0.6], [0.0, 0.0, 1.0]]


def test_a_told_decoder_sees_ages_side_by_side_and_another_their_mean():
    told, untold = small(FIRST, SECOND, True), small(FIRST, SECOND, False)
    expected = [[0.35, 0.1, 0.05, 0.05, 0.15, 0.3], [0.05, 0.1, 0.35, 0.0, 0.0, 0.5]]
    np.testing.assert_allclose(told.matrix, expected, atol=1e-15)
    np.testing.assert_allclose(untold.matrix, [[0.4, 0.25, 0.35], [0.05, 0.1, 0.85]], atol=1e-15)
    for law in (told, untold):
        np.testing.assert_array_equal(law.matrices, [FIRST, SECOND])
        np.testing.assert_allclose(law.average.matrix, untold.matrix, atol=1e-15)
        assert law.average.age_seconds == 9.0
        assert law.bins(np.array([-5.0, 0.5, 7.0])).tolist() == [0, 1, 2]
    mean = [[-0.5, 0.5, 1.5] @ np.mean([FIRST[i], SECOND[i]], axis=0) for i in (0, 1)]
    np.testing.assert_allclose(told.mean, mean)


def test_laws_of_a_device_over_a_span_are_those_of_its_ages(told, untold):
    assert len(told.channels) == SPAN_AGES
    ages = [channel.age_seconds for channel in told.channels]
    assert ages == list(parse_ages("1m..10y").spaced(SPAN_AGES))
    assert (ages[0], ages[-1]) == (60.0, 315_576_000.0)
    assert (np.diff(np.log(ages)) > 0).all()
    assert np.ptp(np.diff(np.log1p(ages))) < 1e-6
    for law in (told, untold):
        np.testing.assert_allclose(law.matrix.sum(axis=1), 1, rtol=1e-9)
    np.testing.assert_array_equal(untold.matrices, told.matrices)
    # Each age's law is the one that the device has on these bins, and it agrees with cells.
    levels = np.full(100_000, 100 / 255, np.float32)
    for channel in (told.channels[0], told.channels[-1]):
        cells = MUSHROOM.write(levels, stream=Stream.of(1, "w"))
        aged = MUSHROOM.age(cells, channel.age_seconds)
        readings = MUSHROOM.read(aged, stream=Stream.of(1, "r"))
        assert readings.mean() == pytest.approx(channel.mean[100], rel=0.01)


def test_knowing_the_age_carries_information_and_never_harms(told, untold):
    uniform = np.full(256, 1 / 256)
    known, unknown = (mutual_information(law.matrix, uniform) for law in (told, untold))
    assert known > unknown + 0.1
    each = [mutual_information(channel.matrix, uniform) for channel in told.channels]
    assert known == pytest.approx(np.mean(each), rel=1e-9)  # the age itself says nothing


def test_a_law_is_made_once(told, untold):
    assert law_of(parse_device("pcm-mushroom"), parse_ages("1m..10y")) is told
    assert untold is not told


def test_one_age_is_a_plain_channel():
    law = law_of(MUSHROOM, Ages(60.0, 60.0))
    assert law is channel_of(MUSHROOM, 60.0)
    np.testing.assert_array_equal(law.matrices, law.matrix[None])
    assert law.average is law


def test_laws_have_names_of_their_own():
    names = {
        small(FIRST, SECOND, True).digest,
        small(FIRST, SECOND, False).digest,
        small(SECOND, FIRST, True).digest,
        small(FIRST, FIRST, True).digest,
        small(FIRST, FIRST, True).channels[0].digest,
    }
    assert len(names) == 5
    assert small(FIRST, SECOND, True).digest == small(FIRST, SECOND, True).digest


def test_laws_that_do_not_belong_together_are_refused():
    with pytest.raises(InputError, match="at one at least"):
        AgedChannel((), True)
    with pytest.raises(InputError, match="same levels and bins"):
        AgedChannel((channel_of(MUSHROOM, 0.0), channel_of(MUSHROOM, 1e8)), True)
