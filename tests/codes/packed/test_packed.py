"""Packed cells: maps, codes and their side information."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softcell.channel import channel_of
from softcell.codes.packed.code import (
    CELLS,
    DOUBLE,
    HALF,
    NONE,
    SHARING,
    SINGLE,
    THIRD,
    TRIPLE,
    PackedCode,
    PackedCodec,
    decode_packed_side,
    encode_packed_side,
    scale_index,
)
from softcell.codes.packed.design import packed_estimates, packed_map
from softcell.codes.store.hard_store import design_store
from softcell.devices import parse_device
from softcell.errors import FormatError, InputError
from softcell.streams import Stream

DEVICE = parse_device("pcm-partial-reset")
LAW = channel_of(DEVICE)
STORE = design_store(LAW)


def uniform(*shape, seed=0):
    count = int(np.prod(shape))
    return (2 * Stream.of(seed, "u").uniform(count).reshape(shape) - 1).astype(np.float32)


def through_cells(codec, targets, device=DEVICE, seed=3):
    levels = codec.encode(targets)
    plain = levels.reshape(-1).astype(np.float32) / np.float32(255)
    cells = device.write(plain, stream=Stream.of(seed, "w"))
    readings = device.read(cells, stream=Stream.of(seed, "r")).reshape(levels.shape)
    return codec.decode(readings, channel_of(device))


def grouped(kinds):
    """Classes of which those that share cells have as many rows as they need."""
    kinds = np.array(kinds, np.uint8)
    for kind, number in SHARING.items():
        rows = np.flatnonzero(kinds == kind)
        kinds[rows[: len(rows) % number]] = SINGLE
    return kinds


class TestMap:
    def test_two_values_share_a_cell(self):
        # A quantiser of 8 points in the square, one for each level that the cell tells apart, errs
        # by 0.2 or more in each coordinate; noise comes on top.
        found = packed_map(LAW, 2)
        assert 0.2 < found.distortion**0.5 < 0.235

    def test_three_values_share_a_cell(self):
        # Eight corners of a cube: one bit a value errs by 0.29 of its range without noise.
        assert 0.29 < packed_map(LAW, 3).distortion ** 0.5 < 0.33

    def test_one_value_in_one_cell(self):
        assert packed_map(LAW, 1).distortion ** 0.5 == pytest.approx(0.089, abs=0.003)

    def test_a_robust_cell_of_four_levels_gains_twelve_decibels(self):
        one, four = packed_map(LAW, 1, 1), packed_map(LAW, 1, 4)
        assert 10 * np.log10(one.distortion / four.distortion) == pytest.approx(12.04, abs=0.2)

    def test_a_noiseless_cell_holds_two_values_of_sixteen_levels_each(self):
        found = packed_map(channel_of(parse_device("ideal")), 2)
        assert found.distortion**0.5 == pytest.approx(2 / 16 / 12**0.5, rel=0.05)

    @pytest.mark.parametrize("values", [1, 2])
    def test_estimates_are_not_biased(self, values):
        # The mean of value times estimate is that of the squared estimate: a posterior mean.
        found, law = packed_map(LAW, values), LAW
        table = (
            packed_estimates(found, law)[..., :-1]
            if values == 1
            else packed_estimates(found, law)[:-1]
        )
        points = (np.arange(found.levels.shape[0]) + 0.5) * 2 / found.levels.shape[0] - 1
        each = table.T if values == 2 else table
        mean, square = each @ law.matrix.T, each**2 @ law.matrix.T
        if values == 1:
            value, level = points, found.levels
            assert np.mean(value * mean[0, level]) == pytest.approx(
                np.mean(square[0, level]), rel=1e-3
            )
        else:
            first = points[:, None] * mean[0, found.levels]
            assert np.mean(first) == pytest.approx(np.mean(square[0, found.levels]), rel=1e-3)

    def test_it_refuses_what_it_cannot_pack(self):
        for values, parts in ((4, 1), (2, 4), (3, 2), (1, 0), (1, 65)):
            with pytest.raises(InputError):
                packed_map(LAW, values, parts)


class TestCode:
    @pytest.mark.parametrize("kind", [THIRD, HALF, SINGLE, DOUBLE, TRIPLE])
    def test_simulated_error_is_the_designed_one(self, kind):
        rows, columns = 6, 4000
        code = PackedCode(np.full(rows, kind, np.uint8), np.full(rows, 8, np.int32))
        targets = 2 * uniform(rows, columns)
        error = through_cells(PackedCodec(code, LAW, STORE), targets) - targets
        parts = {DOUBLE: 4, TRIPLE: 16}.get(kind, 1)
        designed = 4 * packed_map(LAW, SHARING.get(kind, 1), parts).distortion
        # Some three in 100,000 robust cells are taken for their neighbour: a weight errs by a part.
        robust = kind in (DOUBLE, TRIPLE)
        wrong = np.abs(error) > (0.8 * 4 / parts if robust else np.inf)
        assert wrong.mean() < 3e-4
        assert np.mean(error[~wrong] ** 2) == pytest.approx(designed, rel=0.1)

    @given(st.lists(st.integers(NONE, TRIPLE), min_size=1, max_size=12))
    @settings(max_examples=40, deadline=None)
    def test_any_mixture_of_rows(self, kinds):
        kinds = grouped(kinds)
        code = PackedCode(kinds, np.arange(len(kinds), dtype=np.int32) * 8)
        codec = PackedCodec(code, LAW, STORE)
        targets = uniform(len(kinds), 30) * code.reach[:, None]
        levels = codec.encode(targets)
        assert levels.shape == (30, code.column_cells)
        assert code.column_cells == pytest.approx(CELLS[kinds].sum())
        seen = through_cells(codec, targets)
        assert (seen[kinds == NONE] == 0).all()
        relative = np.abs(seen - targets) / code.reach[:, None]
        assert relative[kinds >= SINGLE].max(initial=0) < 1.2
        # Columns by themselves are what they are together.
        for column in (0, 29):
            assert np.array_equal(codec.encode_column(column, targets[:, column]), levels[column])
            assert (
                codec.places(column)[0:1].tolist()
                == [column * code.column_cells][: min(code.column_cells, 1)]
            )

    def test_weights_beyond_the_reach_take_its_end(self):
        code = PackedCode(np.array([SINGLE], np.uint8), np.zeros(1, np.int32))
        codec = PackedCodec(code, LAW, STORE)
        assert np.array_equal(
            codec.encode(np.array([[5.0, -5.0]], np.float32)),
            codec.encode(np.array([[1.0, -1.0]], np.float32)),
        )

    def test_a_device_whose_store_has_two_levels(self):
        device = parse_device("pcm-sweep")
        law = channel_of(device)
        store = design_store(law)
        assert store.bits_per_symbol == 1
        code = PackedCode(np.array([DOUBLE, SINGLE, TRIPLE], np.uint8), np.zeros(3, np.int32))
        targets = uniform(3, 3000)
        error = through_cells(PackedCodec(code, law, store), targets, device) - targets
        double, single, triple = np.mean(error**2, axis=1)
        assert triple < double < single

    def test_scales_are_the_nearest_eighth_of_an_octave(self):
        assert scale_index(np.array([1.0, 2.0, 2 ** (1 / 8), 0.0])).tolist()[:3] == [0, 8, 1]
        code = PackedCode(np.array([SINGLE], np.uint8), scale_index(np.array([0.0])))
        assert code.reach[0] > 0

    @pytest.mark.parametrize(
        ("classes", "scales"),
        [
            *[([HALF], [0]), ([THIRD, THIRD], [0, 0]), ([6], [0])],
            *[([SINGLE], [0, 1]), ([SINGLE], [2000]), ([[SINGLE]], [[0]])],
        ],
    )
    def test_it_refuses_impossible_codes(self, classes, scales):
        with pytest.raises(InputError):
            PackedCode(np.array(classes, np.uint8), np.array(scales, np.int32))


class TestSideInformation:
    @given(st.lists(st.tuples(st.integers(0, 5), st.integers(-60, 40)), min_size=1, max_size=40))
    @settings(max_examples=60, deadline=None)
    def test_round_trip(self, rows):
        kinds = grouped([kind for kind, _ in rows])
        code = PackedCode(kinds, np.array([scale for _, scale in rows], np.int32))
        back = decode_packed_side(encode_packed_side(code), len(kinds))
        used = kinds != NONE
        assert np.array_equal(back.classes, kinds)
        assert np.array_equal(back.scales[used], code.scales[used])

    def test_it_is_about_a_byte_a_row(self):
        rng = np.random.default_rng(0)
        kinds = grouped(rng.choice([HALF, SINGLE], 64))
        code = PackedCode(kinds, rng.integers(-30, -20, 64).astype(np.int32))
        assert len(encode_packed_side(code)) < 64

    def test_damage_is_told(self):
        code = PackedCode(np.full(8, SINGLE, np.uint8), np.arange(8, dtype=np.int32))
        data = encode_packed_side(code)
        for cut in range(len(data)):
            with pytest.raises(FormatError):
                decode_packed_side(data[:cut], 8)
        with pytest.raises(FormatError):
            decode_packed_side(data, 200)
