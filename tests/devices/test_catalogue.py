"""Devices by name, by file and by definition."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from softcell.channel import channel_of
from softcell.devices import (
    DEVICES,
    Axis,
    Device,
    GaussianCell,
    MeasuredCell,
    ReadOut,
    Spread,
    Stuck,
    WanCell,
    device_of,
    device_toml,
    load_device,
    parse_device,
)
from softcell.errors import InputError
from softcell.streams import Stream

MEASURED = ("pcm-partial-reset", "pcm-sweep", "rram-reset")
NESTED = "+stuck:low=0.001,high=0.0025+spread:sigma=0.015+readout:bits=7+stuck:high=0.1"
SPECIFICATIONS = [
    *DEVICES,
    *(name + NESTED for name in DEVICES),
    "gaussian:snr_db=12.345678901",
    "gaussian:snr_db=-5",
    "rram-wan:read_noise=0.0123456789",
    "ideal+stuck:low=1e-07+spread:sigma=0.0123456789",
]


@pytest.mark.parametrize("text", SPECIFICATIONS)
def test_definition_and_name_give_the_same_device_again(text):
    device = parse_device(text)
    assert isinstance(device, Device)
    definition = device.definition()
    for again in (device_of(json.loads(json.dumps(definition))), parse_device(device.name)):
        assert again.definition() == definition
        assert again == device
        assert hash(again) == hash(device)
        assert again.name == device.name
        assert again.source == device.source
        assert again.level_axis == device.level_axis
        assert again.reading_axis == device.reading_axis
        levels = np.linspace(0, 1, 300, dtype=np.float32)
        cells = [d.write(levels, stream=Stream.of(0, "w")) for d in (device, again)]
        first, second = (
            d.read(c, stream=Stream.of(0, "r")) for d, c in zip((device, again), cells)
        )
        assert (first == second).all()


def test_devices_that_differ_anywhere_are_not_equal():
    devices = [parse_device(text) for text in SPECIFICATIONS]
    devices += [device_of(measured(**changes)) for changes in CHANGES]
    assert len(set(devices)) == len(devices)


def test_a_law_is_computed_once_for_equal_devices():
    one, other = (device_of(measured()) for _ in range(2))
    assert one is not other
    assert channel_of(one, 60.0) is channel_of(other, 60.0)
    assert channel_of(one, 60.0) is not channel_of(device_of(measured(**CHANGES[-1])), 60.0)


def test_what_a_law_was_computed_from_cannot_change():
    mean = np.array([3.0, 4.0, 5.0])
    device = replace(device_of(measured()), mean=mean)
    mean[0] = 0.0
    assert device.mean[0] == 3.0
    with pytest.raises(ValueError, match="read-only"):
        device.mean[0] = 0.0


def test_specification_is_read_from_the_inside_out():
    device = parse_device("gaussian:snr_db=12+stuck:low=0.001+readout:bits=6")
    assert device == ReadOut(Stuck(GaussianCell(12.0), low=0.001), bits=6)
    assert parse_device("ideal+spread") == Spread(parse_device("ideal"))
    assert parse_device("rram-wan:read_noise=0.02") == WanCell(0.02)
    assert parse_device("gaussian:snr_db=3") != GaussianCell(4.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("flash", "unknown device 'flash'; known: pcm-partial-reset, .*, or a .toml file"),
        ("", "unknown device ''"),
        ("pcm-sweep:snr_db=3", "unknown option 'snr_db'; known: bootstrap, law, read_noise"),
        ("gaussian:snr=3", "unknown option 'snr'; known: snr_db"),
        ("gaussian:snr_db=loud", "snr_db must be a number, got 'loud'"),
        ("gaussian:snr_db", "snr_db must be a number, got ''"),
        ("pcm-mushroom:g_max=3", "unknown option 'g_max'; known: none"),
        ("ideal+stuck:middle=1", "unknown option 'middle'; known: high, low"),
        ("ideal+stuck:of=1", "unknown option 'of'"),
        ("ideal+wobbly", r"unknown device 'ideal\+wobbly'"),
        ("missing.toml", "missing.toml: no such device file"),
    ],
)
def test_specifications_that_say_nothing_known_are_refused(text, message):
    with pytest.raises(InputError, match=message):
        parse_device(text)


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        ({}, "unknown kind of device None; known: measured, pcm-mushroom, .*readout"),
        ({"kind": "flash"}, "unknown kind of device 'flash'"),
        ({"kind": ["ideal"]}, "not usable"),
        ({"kind": "gaussian", "volume": 3}, "not usable"),
        ({"kind": "gaussian", "snr_db": "20"}, "not usable"),
        ({"kind": "gaussian", "snr_db": 200.0}, "snr_db must lie in"),
        ({"kind": "stuck", "low": 0.1}, r"not usable: it lacks \['of'\]"),
        ({"kind": "stuck", "of": 7}, "of is an object, got 7"),
        ({"kind": "readout", "bits": "many", "of": {"kind": "ideal"}}, "not usable"),
        ({"kind": "spread", "of": {"kind": "flash"}}, "unknown kind of device 'flash'"),
        ({"kind": "stuck", "of": {"kind": "gaussian", "snr_db": 10**400}}, r"of\.snr_db is a"),
    ],
)
def test_definitions_that_are_not_whole_are_refused(definition, message):
    with pytest.raises(InputError, match=message):
        device_of(definition)


def measured(**changes):
    values = {
        "kind": "measured",
        "name": "mine",
        "source": "bench 3",
        "level": {"name": "pulse", "unit": "V"},
        "reading": {"name": "resistance", "unit": "ohm", "scale": "log10"},
        "read_noise": 0.01,
        "inputs": [1.0, 2.0, 4.0],
        "mean": [3.0, 4.0, 5.0],
        "deviation": [0.1, 0.2, 0.1],
        "device_spread": [0.0, 0.0, 0.0],
    }
    return values | changes


CHANGES = [
    {},
    {"name": "yours"},
    {"source": "bench 4"},
    {"level": {"name": "pulse", "unit": "mV"}},
    {"reading": {"name": "resistance", "unit": "ohm", "scale": "linear"}},
    {"read_noise": 0.02},
    {"inputs": [1.0, 3.0, 4.0]},
    {"mean": [3.0, 4.0, 5.5]},
    {"deviation": [0.1, 0.2, 0.15]},
    {"device_spread": [0.0, 0.0, 0.1]},
]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mean": [1.0, 2.0]}, "one statistic for each"),
        ({"inputs": [1.0, 4.0, 2.0]}, "increasing"),
        ({"inputs": [4.0, 2.0, 1.0]}, "low < high|increasing"),
        ({"inputs": [1.0], "mean": [1.0]}, "at least two inputs"),
        ({"mean": [1.0, float("nan"), 2.0]}, "finite"),
        ({"deviation": [0.1, -0.2, 0.1]}, "at least 0"),
        ({"device_spread": [0.1, -0.2, 0.1]}, "at least 0"),
        ({"read_noise": -0.1}, "read noise must be at least 0"),
        ({"read_noise": float("nan")}, "read_noise is a finite number, got nan"),
        ({"mean": ["a", "b", "c"]}, r"mean\[0\] is a finite number, got 'a'"),
        ({"source": 3}, "source is text, got 3"),
        ({"colour": "red"}, r"has unknown \['colour'\]"),
        ({"reading": {"name": "r", "scale": "dB"}}, "scale is one of 'linear', 'log10', got 'dB'"),
        ({"level": None}, "level is an object, got None"),
    ],
)
def test_measured_definitions_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        device_of(measured(**changes))


def test_a_cell_that_reads_the_same_at_every_level_stores_nothing():
    flat = device_of(measured(mean=[3.0] * 3, deviation=[0.0] * 3, read_noise=0.0))
    with pytest.raises(InputError, match="mine reads 3 at every level: it stores nothing"):
        channel_of(flat)


@pytest.mark.parametrize("name", MEASURED)
def test_a_device_file_gives_the_same_cell(name, tmp_path):
    device = parse_device(name)
    file = tmp_path / "copy.toml"
    file.write_text(device_toml(device), encoding="utf-8")
    again = load_device(file)
    assert isinstance(again, MeasuredCell)
    assert again.definition() == device.definition()
    assert parse_device(str(file)).definition() == device.definition()
    assert device_toml(again) == file.read_text(encoding="utf-8")


def test_a_measured_device_takes_another_read_noise():
    usual, other = (
        parse_device("pcm-partial-reset"),
        parse_device("pcm-partial-reset:read_noise=0.03"),
    )
    levels = np.full(20000, 0.2, np.float32)  # a level of 0.09 in all
    for device, noise in ((usual, 0.019), (other, 0.03)):
        cells = device.write(levels, stream=Stream.of(0, "write"))
        first, second = (device.read(cells, stream=Stream.of(0, f"read {i}")) for i in range(2))
        assert np.std(first - second) == pytest.approx(noise * np.sqrt(2), rel=0.03)
        # Programming makes up the rest: what is measured in all stays.
        assert np.std(first) == pytest.approx(0.087, rel=0.1)
    assert other.name == "pcm-partial-reset:read_noise=0.03"
    for name in (other.name, "rram-reset:read_noise=0+stuck:low=0.1,high=0"):
        assert device_of(parse_device(name).definition()).name == name
    assert parse_device("pcm-partial-reset").read_noise == 0.019
    for value in ("-1", "nan", "inf"):
        with pytest.raises(InputError, match="read noise must be at least 0"):
            parse_device(f"pcm-sweep:read_noise={value}")


def test_a_file_name_may_hold_a_plus_and_be_wrapped(tmp_path):
    file = tmp_path / "my+cell.toml"
    file.write_text(device_toml(device_of(measured())), encoding="utf-8")
    device = parse_device(f"{file}+stuck:low=0.1")
    assert device.definition() == {
        "kind": "stuck",
        "low": 0.1,
        "high": 0.0,
        "of": device_of(measured()).definition(),
    }


@pytest.mark.parametrize("text", ['a "b" \\ c', "line\nbreak\ttab", "Ω µS é 漢 🙂", "del\x7f\x01"])
def test_any_text_survives_a_device_file(text, tmp_path):
    device = device_of(
        measured(name=text, source=text, level={"name": text, "unit": text, "scale": "linear"})
    )
    file = tmp_path / "cell.toml"
    file.write_text(device_toml(device), encoding="utf-8", newline="")
    assert load_device(file).definition() == device.definition()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"kind = ", "not a readable TOML file"),
        (b"\xff\xfe\x00", "not a readable TOML file"),
        (b"", "unknown kind of device None"),
        (b'kind = "flash"', "unknown kind of device 'flash'"),
        (b'kind = "measured"\nname = "x"', r"lacks \['source', 'level'"),
        (b'kind = "gaussian"\nsnr_db = "loud"', "not usable"),
    ],
)
def test_broken_device_files_are_named_in_one_line(content, message, tmp_path):
    file = tmp_path / "broken.toml"
    file.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        load_device(file)
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)


def test_a_folder_is_no_device_file(tmp_path):
    with pytest.raises(InputError, match="not a readable TOML file"):
        load_device(tmp_path)


def test_only_measured_devices_are_kept_as_files():
    with pytest.raises(InputError, match="only measured devices"):
        device_toml(parse_device("pcm-mushroom"))
    with pytest.raises(InputError, match="only measured devices"):
        device_toml(parse_device("pcm-sweep+stuck:low=0.1"))


def test_axes_translate_between_plain_numbers_and_units():
    volts = parse_device("pcm-partial-reset").level_axis
    assert volts.unit == "V"
    assert volts.to_unit(np.array([0.0, 0.5, 1.0])).tolist() == [1.0, 1.975, 2.95]
    assert volts.from_unit(np.array([1.0, 2.95])).tolist() == [0.0, 1.0]
    ohms = parse_device("pcm-partial-reset").reading_axis
    assert ohms.to_unit(np.array([5.0])) == pytest.approx(1e5)
    assert ohms.from_unit(np.array([1e5, 1e6])).tolist() == [5.0, 6.0]
    siemens = parse_device("pcm-mushroom").level_axis
    assert siemens.to_unit(np.array([1.0])).tolist() == [25.0]
    assert parse_device("pcm-mushroom").reading_axis.from_unit(np.array([7.5])).tolist() == [7.5]


def test_axes_refuse_what_is_not_a_quantity():
    ohms = parse_device("pcm-partial-reset").reading_axis
    with pytest.raises(InputError, match="must be positive, got 0"):
        ohms.from_unit(np.array([1.0, 0.0]))
    for bad in (np.nan, np.inf):
        with pytest.raises(InputError, match="NaN or infinite"):
            ohms.from_unit(np.array([1.0, bad]))
    with pytest.raises(InputError, match="low < high"):
        Axis("pulse", "V", 2.0, 1.0)
    with pytest.raises(InputError, match="scale"):
        Axis("pulse", "V", scale="dB")


@pytest.mark.parametrize(
    "text",
    [
        "pcm-partial-reset:read_noise=1e300",
        "ideal" + "+stuck:low=0.001" * 9,
        "x" * 300,
        "\x00",
        "[" * 50_000,
    ],
)
def test_specifications_beyond_reason_are_refused(text):
    with pytest.raises(InputError) as caught:
        parse_device(text)
    assert "\n" not in str(caught.value)


def test_a_definition_of_many_layers_is_refused():
    definition = {"kind": "ideal"}
    for _ in range(300):
        definition = {"kind": "spread", "sigma": 0.01, "of": definition}
    with pytest.raises(InputError, match="at most 8 imperfections"):
        device_of(definition)


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "[" * 20_000,
        "a." * 20_000 + "b = 1",
        "x = " + "9" * 5_000,
        "x = 0x" + "f" * 5_000,
        'kind = "measured"\nkind = "measured"',
        'kind = "measured"\ninputs = [nan, inf]',
        'kind = "ideal"\nof = 3',
        'kind = ["measured"]',
    ],
)
def test_device_files_beyond_reason_are_refused(tmp_path, text):
    path = tmp_path / "cell.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"cell\.toml") as caught:
        load_device(path)
    assert "\n" not in str(caught.value)


def test_a_spread_that_no_level_feels_is_none():
    levels, edges = np.linspace(0, 1, 5), np.linspace(-0.1, 1.1, 50)
    law = parse_device("ideal+spread:sigma=1e-320").law(levels, edges, 0.0)
    np.testing.assert_array_equal(law, parse_device("ideal").law(levels, edges, 0.0))
