"""Images for a span of ages: what they record, how they decode with and without the age."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import softcell
from softcell.allocate.plan import make_plan
from softcell.channel import channel_of
from softcell.codes.store.hard_store import design_store, raw_bit_error_rate
from softcell.codes.store.soft_store import design_soft_store
from softcell.devices import parse_device
from softcell.durations import Ages, parse_ages
from softcell.errors import DecodingError, FormatError, InfeasibleError, InputError
from softcell.image.cell_image import CellImage
from softcell.image.header import header_of
from softcell.image.readings import SimulatedChip
from softcell.image.restore import Restoration
from softcell.streams import Stream
from softcell.weights import StateDictWeights

STATE = {
    "w": Stream.of(0, "w").normal(30 * 300).reshape(30, 300),
    "bias": Stream.of(0, "b").normal(30),
}
SPAN = "1m..10y"


def write(path, scheme, age=SPAN, device="pcm-mushroom", cells=1.4, **options):
    target = None if scheme in ("int8", "float32") else cells
    return softcell.write(
        STATE,
        path / "x.cells",
        device=device,
        scheme=scheme,
        age=age,
        cells_per_weight=target,
        **options,
    )


def read(path, age, **options):
    with CellImage(path / "x.cells") as image:
        chip = SimulatedChip(image, seed=1, age_seconds=parse_ages(age).last)
        restoration = Restoration(image, chip, **options)
        return dict(restoration.tensors()), restoration.report


def error(restored):
    return float(np.mean((restored["w"] - STATE["w"]) ** 2))


@pytest.mark.parametrize(
    "scheme", ["hybrid", pytest.param("coarse-to-fine", marks=pytest.mark.slow)]
)
def test_a_code_for_a_span_is_read_at_any_of_its_ages(scheme, tmp_path):
    header = write(tmp_path, scheme)
    assert (header.ages, header.age_seconds) == (parse_ages(SPAN), 315_576_000.0)
    errors = []
    for age in ("1m", "1d", "10y"):
        restored, report = read(tmp_path, age)
        assert report.failed == 0
        np.testing.assert_allclose(restored["bias"], STATE["bias"], rtol=2**-11)
        errors.append(error(restored))
    assert errors == sorted(errors)
    assert errors[-1] < 0.1


def test_packed_cells_do_without_the_age(tmp_path):
    """As look-up codes do: at any age of the span, and better where the age is told."""
    header = write(tmp_path, "packed", age_unknown=True, cells=1.2)
    assert (header.ages.single, header.ages.told) == (False, False)
    for age in ("1m", "10y"):
        (untold, report), (told, _) = (
            read(tmp_path, age, age_unknown=unknown) for unknown in (True, False)
        )
        assert report.failed == 0
        assert error(told) < error(untold) < 0.5
    write(tmp_path, "packed", cells=1.2, age="1m")
    with pytest.raises(InputError, match="planned for one age"):
        read(tmp_path, "1m", age_unknown=True)


@pytest.mark.slow
def test_a_decoder_that_is_not_told_the_age_needs_a_code_for_that(tmp_path):
    untold = {}
    for unknown in (True, False):
        header = write(tmp_path, "joint-map", cells=1.2, age_unknown=unknown)
        assert header.ages.told != unknown
        for age in ("1m", "10y"):
            try:
                restored, report = read(tmp_path, age, age_unknown=True)
            except DecodingError as told:
                assert "tell the decoder the age" in str(told)
                restored, report = {"w": np.zeros((30, 300))}, None
            untold[unknown, age] = error(restored)
            if unknown:
                assert report is not None
                assert report.failed == 0
                np.testing.assert_allclose(restored["bias"], STATE["bias"], rtol=2**-11)
                assert error(read(tmp_path, age)[0]) < untold[unknown, age]
    for age in ("1m", "10y"):
        assert untold[True, age] < untold[False, age]


@pytest.mark.parametrize("scheme", ["coarse-to-fine", "packed"])
def test_the_result_depends_on_the_age_only_if_it_is_told(scheme, tmp_path):
    """Without the age, readings alone decide: the same readings give the same weights."""
    write(tmp_path, scheme, age_unknown=True)

    class Relabelled(SimulatedChip):
        @property
        def age_seconds(self):
            return 12345.0

    with CellImage(tmp_path / "x.cells") as image:
        restored = {}
        for kind in (SimulatedChip, Relabelled):
            for unknown in (True, False):
                chip = kind(image, seed=2, age_seconds=86_400.0)
                tensors = dict(Restoration(image, chip, age_unknown=unknown).tensors())
                restored[kind, unknown] = tensors["w"].tobytes()
    assert restored[SimulatedChip, True] == restored[Relabelled, True]
    assert restored[SimulatedChip, False] != restored[Relabelled, False]


@pytest.mark.parametrize(("scheme", "design"), [("int8", design_store), ("hybrid", design_store)])
def test_the_store_is_that_of_the_age_that_needs_most(scheme, design, tmp_path):
    device = parse_device("pcm-mushroom")
    ends = [design(channel_of(device, age)) for age in (60.0, 315_576_000.0)]
    header = write(tmp_path, scheme)
    assert ends[1].bits_per_cell < ends[0].bits_per_cell
    assert header.store.t == ends[1].t


@pytest.mark.slow
def test_a_soft_store_is_that_of_the_age_that_needs_most(tmp_path):
    device = parse_device("pcm-mushroom")
    late = design_soft_store(channel_of(device, parse_ages("1d").last))
    header = write(tmp_path, "strong-digital", age="1m..1d", cells=4.0)
    assert header.store.bits_per_cell == pytest.approx(late.bits_per_cell, rel=0.01)
    _, report = read(tmp_path, "1d")
    assert report.failed == 0


def test_a_store_without_the_age_errs_at_no_age_more_than_it_says(tmp_path):
    header = write(tmp_path, "coarse-to-fine", age_unknown=True)
    weights = StateDictWeights(STATE)
    plan = make_plan(
        weights,
        parse_device("pcm-mushroom"),
        "coarse-to-fine",
        cells_per_weight=1.4,
        age_seconds=parse_ages(SPAN, told=False),
    )
    assert plan.store == header.store
    chosen = np.array(header.store.indices)
    # A decoder that knows the age errs no more.
    for age in (60.0, 315_576_000.0):
        law = channel_of(parse_device("pcm-mushroom"), age)
        assert raw_bit_error_rate(law, chosen) <= header.store.raw_bit_error_rate * 1.01


# What is recorded


def test_the_file_records_the_span_and_whether_the_age_is_told(tmp_path):
    for unknown in (False, True):
        write(tmp_path, "coarse-to-fine", age_unknown=unknown)
        with CellImage(tmp_path / "x.cells") as image:
            assert image.header.ages == parse_ages(SPAN, told=not unknown)
            values = image.header.metadata()
        assert header_of(values).metadata() == values
        assert values["first_age_seconds"] == 60.0
        assert values["age_told"] is not unknown


def test_files_from_before_there_were_spans_are_read(tmp_path):
    """They have `age_seconds` alone, and so have new files for one age."""
    write(tmp_path, "int8", age="1h")
    with CellImage(tmp_path / "x.cells") as image:
        values = image.header.metadata()
    assert not {"first_age_seconds", "age_told"} & set(values)
    assert header_of(values).ages == Ages(3600.0, 3600.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"first_age_seconds": -1},
        {"first_age_seconds": 1e99},
        {"first_age_seconds": "x"},
        {"age_told": 1},
        {"age_told": False, "first_age_seconds": 3600.0},
        {"age_seconds": float("nan")},
    ],
)
def test_ages_that_are_none_are_refused(wrong, tmp_path):
    write(tmp_path, "int8", age="1h")
    with CellImage(tmp_path / "x.cells") as image:
        values = copy.deepcopy(image.header.metadata())
    with pytest.raises(FormatError, match="does not describe a cell image"):
        header_of({**values, **wrong})


# What does not go together


@pytest.mark.parametrize("scheme", ["combined", "naive", "sign+adaptive", "fixed-length"])
def test_schemes_for_one_age_say_so(scheme, tmp_path):
    with pytest.raises(InputError, match=r"designed for one age, not for 1m\.\.10y") as told:
        write(tmp_path, scheme)
    assert "joint-map" in str(told.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("scheme", ["int8", "entropy-coded", "strong-digital"])
def test_digital_schemes_must_be_told_the_age(scheme, tmp_path):
    with pytest.raises(InputError, match="must be told the age"):
        write(tmp_path, scheme, age_unknown=True)
    write(tmp_path, "int8")
    with pytest.raises(InputError, match="decoded for a known age"):
        read(tmp_path, "1d", age_unknown=True)


def test_one_age_is_always_known(tmp_path):
    with pytest.raises(InputError, match="needs a span of ages"):
        write(tmp_path, "joint-map", age="10y", age_unknown=True)
    write(tmp_path, "coarse-to-fine", age="1d")
    with pytest.raises(InputError, match="planned for one age, 1d"):
        read(tmp_path, "1d", age_unknown=True)


def test_bits_that_drift_into_each_other_cannot_be_stored_without_the_age(tmp_path):
    with pytest.raises(InfeasibleError, match="not told the age"):
        write(tmp_path, "joint-map", device=WANDERING, age_unknown=True)


WANDERING = "gaussian:snr_db=-12"
