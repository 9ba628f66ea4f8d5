"""What figures at an age rest on: measured, extrapolated, or nothing."""

import math
from dataclasses import dataclass

import pytest

from softcell.devices import ageing_note, measured_seconds, parse_device
from softcell.devices.mushroom import MushroomCell

DAY = 86_400.0


@pytest.mark.parametrize(
    ("device", "measured"),
    [
        ("pcm-partial-reset", 0.0),
        ("pcm-partial-reset:read_noise=0.02+stuck:low=0.01", 0.0),
        ("pcm-mushroom", DAY),
        ("pcm-mushroom+spread:sigma=0.01+readout:bits=6", DAY),
        ("rram-wan", 2 * DAY),
        ("gaussian:snr_db=20", math.inf),
    ],
)
def test_a_device_says_how_long_it_was_measured_and_so_do_imperfections(device, measured):
    found = parse_device(device)
    assert measured_seconds(found) == measured
    assert ageing_note(found, 0.0) == ""
    if measured < math.inf:
        assert ageing_note(found, measured) == ""
        assert ageing_note(found, measured + 1) != ""


def test_what_was_not_measured_is_told_apart_from_what_was_measured_for_a_while():
    assert ageing_note(parse_device("rram-reset"), 1.0) == "ageing not measured"
    assert (
        ageing_note(parse_device("pcm-mushroom"), 3e8) == "ageing measured up to 1d, extrapolated"
    )


@dataclass(frozen=True)
class Silent:
    """A device of one's own that does not say how long it was measured."""

    of_law: object

    def span(self, age_seconds):
        return self.of_law.span(age_seconds)

    def law(self, levels, edges, age_seconds):
        return self.of_law.law(levels, edges, age_seconds)


def test_the_law_of_a_device_that_does_not_say_shows_whether_it_ages():
    assert ageing_note(Silent(MushroomCell()), 3e8) == ""
    assert ageing_note(Silent(parse_device("pcm-sweep")), 60.0) == "ageing not measured"
