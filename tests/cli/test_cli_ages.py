"""Spans of ages on the command line."""

from __future__ import annotations

import json

import pytest


def test_a_span_is_written_shown_and_read_without_the_age(softcell, network):
    options = ("--scheme", "coarse-to-fine", "--device", "pcm-mushroom", "--age", "1m..1d")
    outcome = softcell("write", network, "-o", "x.cells", *options, "--age-unknown")
    assert outcome.status == 0, outcome
    assert "for 1m..1d" in outcome.out
    assert "planned for 1m..1d" in softcell("info", "x.cells").out
    shown = json.loads(softcell("info", "x.cells", "--json").out)
    assert (shown["first_age_seconds"], shown["age_seconds"]) == (60.0, 86_400.0)
    for unknown in ((), ("--age-unknown",)):
        outcome = softcell("read", "x.cells", "--age", "1h", *unknown, "-o", "back.safetensors")
        assert outcome.status == 0, outcome


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--age", "1d..1m", "--scheme", "joint-map"), "from the lower to the higher, got 1d..1m"),
        (("--age", "1m..1d"), "scheme 'combined' is designed for one age"),
        (("--age", "1d", "--scheme", "joint-map", "--age-unknown"), "needs a span of ages"),
        (("--age", "1m..1d", "--scheme", "int8", "--age-unknown"), "must be told the age"),
        (("--age", "1m..", "--scheme", "joint-map"), "expected an age"),
    ],
)
def test_what_does_not_go_together_is_told_in_one_line(softcell, network, arguments, message):
    assert message in softcell("write", network, "-o", "x.cells", *arguments).one_line()


def test_an_image_for_one_age_is_not_read_without_it(softcell, network):
    softcell("write", network, "-o", "x.cells", "--scheme", "int8")
    outcome = softcell("read", "x.cells", "--age-unknown", "-o", "back.safetensors")
    assert "decoded for a known age" in outcome.one_line()


def test_an_age_that_changes_nothing_is_told(softcell, network):
    noted = "the ageing of rram-reset was not measured: its cells read alike at any age"
    for device, told in (("rram-reset", True), ("pcm-mushroom", False)):
        written = softcell("write", network, "-o", "x.cells", "--device", device, "--age", "10y")
        read = softcell("read", "x.cells", "--age", "10y", "-o", "r.safetensors")
        assert (written.status, read.status) == (0, 0)
        assert (noted in written.err, noted in read.err) == (told, told)
    assert softcell("write", network, "-o", "x.cells", "--device", "rram-reset").err == ""


def test_an_age_beyond_what_was_measured_is_told(softcell, network):
    noted = "was measured up to 1d: figures at 10y are extrapolated"
    for age, told in (("10y", True), ("1h", False)):
        written = softcell(
            "write", network, "-o", "x.cells", "--device", "pcm-mushroom", "--age", age
        )
        assert (noted in written.err) == told
        assert ("ageing measured up to 1d, extrapolated" in softcell("info", "x.cells").out) == told
    told = softcell("devices", "--device", "pcm-sweep", "--age", "1h", "--json").out
    assert json.loads(told)[0]["ageing"] == "ageing not measured"
