"""Laws of noise that are mixtures: what they state is what is drawn of them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.special import ndtr

from softcell.channel import channel_of
from softcell.devices import (
    MeasuredCell,
    NoiseLaw,
    device_of,
    device_toml,
    load_device,
    parse_device,
)
from softcell.devices.device import Axis
from softcell.devices.mixture import mixture_span
from softcell.devices.noise_law import residual_law, residual_points, smoothed
from softcell.errors import SoftcellError
from softcell.streams import Stream

CELLS = 100_000
DISTANCE = 2.23 / np.sqrt(CELLS) + 0.002  # Kolmogorov's 1 in 10,000, and what float32 rounds


def cell(**law: NoiseLaw) -> MeasuredCell:
    """Return a cell of three inputs whose read noise is that of its quietest."""
    return MeasuredCell(
        "cell",
        "a test",
        Axis("pulse", "V", 1.0, 3.0),
        Axis("reading", ""),
        inputs=np.array([1.0, 1.5, 3.0]),
        mean=np.array([0.0, 2.0, 5.0]),
        deviation=np.array([0.1, 0.4, 0.2]),
        device_spread=np.zeros(3),
        read_noise=0.1,
        **law,
    )


def skewed() -> NoiseLaw:
    """Return a law of a narrow body and a far tail on one side, more at one end than the other."""
    share = np.array([[0.3], [0.1], [0.02]])
    return NoiseLaw(
        "outliers",
        np.hstack([1 - share, share]),
        np.array([[0.2, -3.0]] * 3),
        np.array([[0.6, 1.5]] * 3),
    )


def readings(device: MeasuredCell, level: float) -> np.ndarray:
    cells = device.write(np.full(CELLS, level, np.float32), stream=Stream.of(1, "write"))
    return device.read(cells, stream=Stream.of(1, "read")).astype(np.float64)


def distance(device: MeasuredCell, law: MeasuredCell, level: float) -> float:
    """Return Kolmogorov's distance between what a device reads and the law of another."""
    channel = channel_of(law)
    row = law.law(np.array([level]), channel.edges, 0.0)[0]
    counts = np.bincount(channel.bins(readings(device, level)), minlength=len(row))
    return float(np.abs(np.cumsum(counts / CELLS - row)).max())


@pytest.mark.parametrize("level", [0.0, 0.1, 0.25, 0.6, 1.0])
def test_a_skewed_law_is_that_of_simulated_readings(level):
    assert distance(cell(noise=skewed()), cell(noise=skewed()), level) < DISTANCE


@pytest.mark.parametrize("name", ["pcm-partial-reset", "pcm-sweep", "rram-reset"])
@pytest.mark.parametrize("level", [0.0, 0.33, 0.4, 1.0])
def test_an_empirical_law_is_that_of_simulated_readings(name, level):
    device = parse_device(f"{name}:law=empirical")
    assert distance(device, device, level) < DISTANCE
    other = parse_device(name)
    if name == "pcm-partial-reset" and level == 0.33:  # 1.65 V: the normal law is far from it
        assert distance(device, other, level) > 3 * DISTANCE


def test_a_law_of_the_other_sign_would_not_pass():
    law = skewed()
    mirrored = NoiseLaw(law.kind, law.weight, -law.centre, law.scale)
    assert distance(cell(noise=law), cell(noise=mirrored), 0.25) > 10 * DISTANCE


def test_one_normal_component_is_the_normal_law():
    ones, zeros = np.ones((1, 1)), np.zeros((3, 1))
    normal, mixed = cell(), cell(noise=NoiseLaw("normal", ones, zeros, zeros + 1))
    edges = channel_of(normal).edges
    levels = np.linspace(0, 1, 50)
    found = mixed.law(levels, edges, 0.0)
    np.testing.assert_allclose(found, normal.law(levels, edges, 0.0), atol=1e-6)
    np.testing.assert_allclose(readings(mixed, 0.3), readings(normal, 0.3), atol=1e-5)


def test_cells_are_drawn_from_another_law_than_codes_are_designed_for():
    device = cell(drawn=skewed())
    assert (channel_of(device).matrix == channel_of(cell()).matrix).all()
    assert (
        distance(device, cell(noise=skewed()), 0.25) < DISTANCE
        or (channel_of(cell(noise=skewed())).edges != channel_of(cell()).edges).any()
    )
    assert distance(device, cell(), 0.25) > 10 * DISTANCE


@pytest.mark.parametrize("name", ["pcm-partial-reset", "pcm-sweep", "rram-reset"])
def test_bootstrapped_cells_read_as_measured_and_are_designed_as_before(name):
    device, plain = parse_device(f"{name}:bootstrap=1"), parse_device(name)
    assert (channel_of(device).matrix == channel_of(plain).matrix).all()
    drawn = device.drawn
    for k in range(0, len(device.inputs), 3):
        if device.deviation[k] < 1.5 * device.read_noise:
            continue  # where reading explains most, its normal noise takes the residuals' place
        level = float(device.level_axis.from_unit(device.inputs[k : k + 1])[0])
        offset = device.device_spread[k]
        centre = device.mean[k] + drawn.centre[k] * device.deviation[k]
        spread = np.hypot(drawn.scale[k] * device.deviation[k], offset)
        at = np.linspace(centre.min() - 0.2, centre.max() + 0.2, 200)
        z = (at[:, None] - centre) / np.maximum(spread, 1e-9)
        measured = (ndtr(z) * drawn.weight[k]).sum(axis=1)
        found = np.searchsorted(np.sort(readings(device, level)), at) / CELLS
        assert np.abs(found - measured).max() < 0.1


def test_far_residuals_are_read_as_far_as_they_were_measured():
    device = parse_device("pcm-partial-reset:bootstrap=1")
    level = float(device.level_axis.from_unit(np.array([1.65]))[0])
    residuals = (readings(device, level) - 4.985) / 0.0344
    far = residuals < -9  # one reading in 380 lies 11.3 deviations below the mean
    assert far.mean() == pytest.approx(1 / 380, rel=0.2)
    assert residuals[far].mean() == pytest.approx(-11.3, abs=0.3)


def test_cells_written_one_by_one_are_those_written_together():
    device = parse_device("pcm-partial-reset:bootstrap=1")
    levels = np.random.default_rng(0).random(700, dtype=np.float32)
    stream = Stream.of(3, "write")
    whole = device.write(levels, stream=stream).state["reading"]
    parts = [device.write(levels[i : i + 70], stream=stream.at(i)) for i in range(0, 700, 70)]
    assert (np.concatenate([part.state["reading"] for part in parts]) == whole).all()
    some = np.array([600, 3, 41])
    alone = device.write(levels[some], stream=stream.cells(some)).state["reading"]
    assert (alone == whole[some]).all()


def test_points_keep_tails_mean_and_variance():
    residuals = np.random.default_rng(0).standard_t(3, 5000)
    weight, centre, scale = residual_points(residuals)
    ordered = np.sort(residuals)
    assert (centre[:16] == ordered[:16]).all()
    assert (centre[-16:] == ordered[-16:]).all()
    assert weight.sum() == pytest.approx(1)
    assert weight @ centre == pytest.approx(residuals.mean())
    assert weight @ (centre**2 + scale**2) == pytest.approx(np.mean(residuals**2))


def test_points_of_inputs_with_different_numbers_of_readings_keep_mean_and_variance():
    random = np.random.default_rng(0)
    residuals = [random.normal(size=count) for count in (3, 50, 41)]
    law = residual_law(residuals)
    assert law.centre.shape == (3, 50)
    for k, each in enumerate(residuals):
        assert law.weight[k] @ law.centre[k] == pytest.approx(each.mean())
        second = law.weight[k] @ (law.centre[k] ** 2 + law.scale[k] ** 2)
        assert second == pytest.approx(np.mean(each**2))


def test_a_smoothed_law_reaches_farther_where_readings_are_sparse():
    residuals = np.concatenate([np.random.default_rng(0).normal(size=300), [-9.0]])
    points = residual_law([residuals, residuals])
    law = smoothed(points, np.array([301, 301]))
    body, last = law.scale[0][np.abs(law.centre[0]) < 1], law.scale[0][law.centre[0] == -9]
    assert last > 4 * body.max()
    assert law.beyond(10.0)[0] > 1e-4 > 10 * law.beyond(30.0)[0]


def test_probability_beyond_deviations_is_that_of_the_density():
    law = skewed()
    at = np.linspace(-14, 14, 20001)
    step, outside = at[1] - at[0], np.abs(at) > 2.5
    for k in range(3):
        place = np.full(len(at), k)
        density = law.density(at, place)
        assert law.beyond(2.5)[k] == pytest.approx(density[outside].sum() * step, rel=1e-2)
        assert np.abs(law.cumulative(at, place) - np.cumsum(density) * step).max() < 2e-3


def test_a_span_leaves_no_more_than_its_share_outside():
    mean, deviation = np.array([[0.0, -5.0]]), np.array([[1.0, 0.5]])
    low, high = mixture_span(mean, deviation, np.array([[0.99, 0.01]]), 1e-4)
    assert low == pytest.approx(-5 - 0.5 * 2.3263, abs=1e-2)
    assert high == pytest.approx(3.7164, abs=1e-2)


@pytest.mark.parametrize("options", ["bootstrap=1", "law=empirical", "bootstrap=1,law=empirical"])
def test_laws_go_through_definitions_and_files(options, tmp_path):
    device = parse_device(f"rram-reset:{options}")
    assert device_of(json.loads(json.dumps(device.definition()))) == device
    assert device != parse_device("rram-reset")
    assert device.name == f"rram-reset:{options}"
    file = tmp_path / "cell.toml"
    file.write_text(device_toml(device))
    again = load_device(file)
    assert (again.noise is None) == (device.noise is None)
    for one, other in ((again.noise, device.noise), (again.drawn, device.drawn)):
        if other is not None:
            assert one == other


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": [[0.5, 0.4]]}, "sum to 1"),
        ({"weight": [[1.5, -0.5]]}, "at least 0"),
        ({"scale": [[1.0, -1.0]] * 3}, "scales from 0"),
        ({"centre": [[0.0, 1e15]] * 3}, "within 1e[+]12 deviations"),
        ({"centre": [[0.0]] * 3}, "a weight, a centre and a scale"),
        ({"centre": [[0.0, 0.0]] * 2, "scale": [[1.0, 1.0]] * 2}, "a row for each of the inputs"),
        ({"kind": 3}, "noise.kind is"),
        ({"more": 3}, "unknown"),
    ],
)
def test_laws_that_cannot_be_are_refused(change, message):
    definition = cell(noise=skewed()).definition()
    definition["noise"] = definition["noise"] | {"weight": [[0.5, 0.5]]} | change
    with pytest.raises(SoftcellError, match=message):
        device_of(definition)


@pytest.mark.parametrize("options", ["law=normal", "bootstrap=0", "bootstrap=0,law=normal"])
def test_what_is_so_anyway_may_be_said(options):
    assert parse_device(f"rram-reset:{options}") == parse_device("rram-reset")


@pytest.mark.parametrize(
    ("options", "message"),
    [("law=flat", "law is one of normal, empirical"), ("bootstrap=2", "bootstrap is 0 or 1")],
)
def test_options_of_the_law_are_checked(options, message):
    with pytest.raises(SoftcellError, match=message):
        parse_device(f"pcm-partial-reset:{options}")
