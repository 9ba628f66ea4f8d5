"""BCH codec: what it must correct, what it must flag, and what it must refuse."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from softcell.codes.store.bch import BCH
from softcell.errors import InputError

VECTORS = json.loads((Path(__file__).parent / "vectors" / "bch_galois.json").read_text())["codes"]


def bits_of(text: str, length: int) -> np.ndarray:
    return np.array([[int(bit) for bit in f"{int(text, 16):0{length}b}"]], dtype=np.uint8)


def with_errors(codewords: np.ndarray, weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    received = codewords.copy()
    for word, weight in zip(received, weights):
        word[rng.choice(word.size, weight, replace=False)] ^= 1
    return received


def random_bits(frames: int, length: int, rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 2, (frames, length), dtype=np.uint8)


@pytest.mark.parametrize("vectors", VECTORS, ids=lambda v: f"m{v['m']}-t{v['t']}")
def test_codewords_and_decodings_equal_those_of_the_galois_library(vectors):
    code = BCH(k=vectors["k"], t=vectors["t"], m=vectors["m"])
    assert code.n == vectors["n"]
    for vector in vectors["encoded"]:
        codeword = bits_of(vector["codeword"], vector["bits"] + code.parity)
        np.testing.assert_array_equal(code.encode(codeword[:, : vector["bits"]]), codeword)
    for vector in vectors["decoded"]:
        decoded = code.decode(bits_of(vector["received"], vector["bits"] + code.parity))
        np.testing.assert_array_equal(decoded.bits, bits_of(vector["decoded"], vector["bits"]))
        assert decoded.failed[0] == (vector["corrected"] == -1)
        assert decoded.corrected[0] == max(vector["corrected"], 0)


@pytest.mark.parametrize(
    ("k", "t", "m"), [(11, 1, 4), (7, 2, 4), (5, 3, 4), (1, 7, 4), (21, 2, 5), (16, 3, 5)]
)
def test_every_error_pattern_of_at_most_t_errors_is_corrected(k, t, m):
    code = BCH(k=k, t=t, m=m)
    codeword = code.encode(random_bits(1, k, np.random.default_rng(k)))
    for weight in range(t + 1):
        places = np.array(list(itertools.combinations(range(code.n), weight)), dtype=np.int64)
        received = np.repeat(codeword, len(places), axis=0)
        for column in places.T:
            received[np.arange(len(places)), column] ^= 1
        decoded = code.decode(received)
        assert not decoded.failed.any()
        assert (decoded.corrected == weight).all()
        assert (decoded.bits == codeword[:, :k]).all()


@pytest.mark.parametrize(
    ("k", "t", "length"),
    [
        (4096, 7, 4096),
        (4096, 7, 37),
        (4096, 25, 4096),
        (1000, 8, 999),
        (1024, 57, 1),
        (1, 511, 1),  # repetition over GF(2^10), where alpha^341 has order 3: the shortest cycles
        (4096, 113, 700),
        (4096, 353, 4096),
        (20000, 3, 20000),
    ],
)
def test_random_patterns_of_every_weight_to_t_are_corrected(k, t, length):
    rng = np.random.default_rng(t)
    code = BCH(k=k, t=t)
    weights = np.unique(
        np.concatenate([np.arange(min(t, 8) + 1), np.linspace(0, t, 12).astype(int)])
    )
    bits = random_bits(weights.size, length, rng)
    decoded = code.decode(with_errors(code.encode(bits), weights, rng))
    np.testing.assert_array_equal(decoded.bits, bits)
    np.testing.assert_array_equal(decoded.corrected, weights)
    assert not decoded.failed.any()


def nearest_codeword_distances(code: BCH, received: np.ndarray) -> np.ndarray:
    """Distance of each word from the nearest of all codewords, by looking at every one."""
    information = np.array(list(itertools.product((0, 1), repeat=code.k)), dtype=np.uint8)
    codewords = code.encode(information)
    return (received[:, np.newaxis, :] != codewords).sum(axis=2).min(axis=1)


@pytest.mark.parametrize(("k", "t", "m"), [(7, 2, 4), (5, 3, 4), (6, 2, 4), (6, 5, 5)])
def test_a_frame_fails_exactly_where_no_codeword_lies_within_t(k, t, m):
    code = BCH(k=k, t=t, m=m)
    received = random_bits(2000, code.n, np.random.default_rng(1))
    decoded = code.decode(received)
    distances = nearest_codeword_distances(code, received)
    np.testing.assert_array_equal(decoded.failed, distances > t)
    np.testing.assert_array_equal(decoded.corrected, np.where(distances > t, 0, distances))
    assert decoded.failed.any()
    assert not decoded.failed.all()
    np.testing.assert_array_equal(decoded.bits[decoded.failed], received[decoded.failed, :k])


def test_one_error_too_many_is_flagged_or_lands_on_a_codeword_within_t():
    rng = np.random.default_rng(7)
    code = BCH(k=215, t=5)
    bits = random_bits(20000, code.k, rng)
    received = with_errors(code.encode(bits), np.full(len(bits), code.t + 1), rng)
    decoded = code.decode(received)
    wrong = ~decoded.failed
    again = code.encode(decoded.bits[wrong])
    np.testing.assert_array_equal((again != received[wrong]).sum(axis=1), decoded.corrected[wrong])
    assert (decoded.corrected[wrong] <= code.t).all()
    # About one word in t! lies within t of a codeword: Lin & Costello, section 6.5.
    assert 0.6 / 120 < wrong.mean() < 1.4 / 120


def test_a_full_length_frame_of_the_large_code_flags_far_too_many_errors():
    rng = np.random.default_rng(3)
    code = BCH(k=4096, t=7)
    bits = random_bits(50, code.k, rng)
    received = with_errors(code.encode(bits), np.full(len(bits), 60), rng)
    decoded = code.decode(received)
    assert decoded.failed.all()
    assert not decoded.corrected.any()
    np.testing.assert_array_equal(decoded.bits, received[:, : code.k])


@pytest.mark.parametrize(("k", "t"), [(4096, 7), (57, 1), (300, 40)])
def test_encoding_is_linear_and_systematic(k, t):
    code = BCH(k=k, t=t)
    first, second = (random_bits(5, k, np.random.default_rng(seed)) for seed in (1, 2))
    np.testing.assert_array_equal(
        code.encode(first) ^ code.encode(second), code.encode(first ^ second)
    )
    np.testing.assert_array_equal(code.encode(first)[:, :k], first)


def test_shortening_is_the_same_as_leading_zeros():
    code = BCH(k=4096, t=7)
    bits = random_bits(3, 1234, np.random.default_rng(0))
    padded = np.pad(bits, ((0, 0), (4096 - 1234, 0)))
    np.testing.assert_array_equal(code.encode(bits), code.encode(padded)[:, 4096 - 1234 :])


def test_an_error_left_out_by_shortening_is_a_failure():
    # Two errors, one of them at a leading zero that a shortened frame does not have.
    code = BCH(k=51, t=2)
    full = np.zeros((1, code.n), dtype=np.uint8)
    full[0, [3, 40]] = 1
    fold = code.encode(full[:, : code.k])[:, code.k :] ^ full[:, code.k :]
    shortened = np.concatenate([np.zeros((1, 20), dtype=np.uint8), fold], axis=1)
    assert code.decode(shortened).failed[0]
    whole = np.concatenate([np.zeros((1, 51), dtype=np.uint8), fold], axis=1)
    assert code.decode(whole).corrected[0] == 2


def test_no_errors_corrected_means_no_parity():
    code = BCH(k=4096, t=0)
    bits = random_bits(3, 100, np.random.default_rng(0))
    assert (code.n, code.parity, code.m, code.rate) == (4096, 0, 0, 1.0)
    np.testing.assert_array_equal(code.encode(bits), bits)
    decoded = code.decode(bits)
    np.testing.assert_array_equal(decoded.bits, bits)
    assert not decoded.failed.any()
    assert not decoded.corrected.any()


def test_no_frames_give_no_frames():
    code = BCH(k=64, t=2)
    assert code.encode(np.zeros((0, 64), dtype=np.uint8)).shape == (0, code.n)
    assert code.decode(np.zeros((0, code.n), dtype=np.uint8)).failed.shape == (0,)


def test_the_input_is_left_alone_and_may_be_read_only_strided_or_bool():
    code = BCH(k=64, t=2)
    bits = random_bits(8, 64, np.random.default_rng(0))
    expected = code.encode(bits)
    frozen = bits.copy()
    frozen.flags.writeable = False
    wide = np.repeat(bits, 2, axis=1)
    for same in (frozen, wide[:, ::2], bits.astype(bool), np.asfortranarray(bits)):
        np.testing.assert_array_equal(code.encode(same), expected)
    received = expected.copy()
    received[:, 9] ^= 1
    before = received.copy()
    assert (code.decode(received).bits == bits).all()
    np.testing.assert_array_equal(received, before)
    received[0, 0] ^= 1  # the caller's array stays writable


def test_the_result_does_not_depend_on_the_number_of_threads(monkeypatch):
    code = BCH(k=512, t=4)
    rng = np.random.default_rng(5)
    bits = random_bits(7001, code.k, rng)
    noise = rng.random((7001, code.n)) < 0.006
    results = []
    for threads in (1, 2, 3, 7):
        monkeypatch.setattr("os.cpu_count", lambda threads=threads: threads)
        codewords = code.encode(bits)
        decoded = code.decode(codewords ^ noise)
        assert decoded.failed.any()
        results.append((codewords, decoded.bits, decoded.corrected, decoded.failed))
    for result in results[1:]:
        for one, other in zip(results[0], result):
            np.testing.assert_array_equal(one, other)


def test_the_smallest_field_with_room_is_chosen_and_a_larger_one_can_be_asked_for():
    assert (BCH(k=4096, t=7).m, BCH(k=7, t=2).m, BCH(k=8, t=2).m) == (13, 4, 5)
    assert BCH(k=4096, t=7) == BCH(k=4096, t=7, m=13)
    assert BCH(k=4096, t=7, m=14).parity == 98


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0, "t": 1}, "k must be a whole number from 1, not 0"),
        ({"k": 10, "t": -1}, "t must be a whole number from 0, not -1"),
        ({"k": 10.0, "t": 1}, "k must be a whole number from 1, not 10.0"),
        ({"k": 10, "t": 1, "m": 17}, "m must be 2 to 16"),
        ({"k": 10, "t": 1, "m": 1}, "m must be 2 to 16"),
        ({"k": 12, "t": 1, "m": 4}, "exceed the length 15"),
        ({"k": 70000, "t": 1}, "exceed 65535 bits"),
        ({"k": 60000, "t": 4000}, "exceed 65535 bits"),
    ],
)
def test_impossible_codes_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        BCH(**arguments)


def test_bad_frames_are_refused():
    code = BCH(k=64, t=2)
    right = np.zeros((2, 64), dtype=np.uint8)
    with pytest.raises(InputError, match="0 or 1, not 2"):
        code.encode(right + 2)
    with pytest.raises(InputError, match="0 or 1, not 255"):
        code.decode(np.full((1, code.n), 255, dtype=np.uint8))
    with pytest.raises(InputError, match="uint8 or bool, not int64"):
        code.encode(right.astype(np.int64))
    with pytest.raises(InputError, match="uint8 or bool, not list"):
        code.encode([[0, 1]])
    for shape in ((64,), (2, 65), (2, 0), (1, 2, 64)):
        with pytest.raises(InputError, match="1 to 64"):
            code.encode(np.zeros(shape, dtype=np.uint8))
    for length in (code.parity, code.n + 1):
        with pytest.raises(InputError, match=f"{code.parity + 1} to {code.n}"):
            code.decode(np.zeros((1, length), dtype=np.uint8))
