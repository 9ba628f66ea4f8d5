"""The LDPC codec: its law, a plain reference, and the decisions of other people's decoders."""

import base64
import json
import zlib
from pathlib import Path

import numpy as np
import pytest

from softcell.codes.store.ldpc import LDPC, in_steps
from softcell.codes.store.ldpc_matrix import LIFTING_SIZES, lifted_graph
from softcell.errors import InputError

PEERS = json.loads((Path(__file__).parent / "vectors/ldpc_peers.json").read_text())


def array(text: str, kind: type = np.uint8) -> np.ndarray:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), kind)


def bits_of(text: str, frames: int) -> np.ndarray:
    return np.unpackbits(array(text).reshape(frames, -1), axis=1)


def noisy(code: LDPC, frames: int, deviation: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Random information, and the ratios of its stored bits as +-1 in Gaussian noise."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2, (frames, code.k), np.uint8)
    stored = code.encode(bits)
    received = 1 - 2.0 * stored + deviation * rng.standard_normal(stored.shape)
    return bits, in_steps(2 * received / deviation**2)


def plain_decoder(code: LDPC, ratios: np.ndarray, iterations: int) -> tuple[np.ndarray, int]:
    """Layered min-sum of one frame, check by check, with none of the kernel's layout."""
    checks = code.graph.matrix().toarray()
    posterior = np.zeros(checks.shape[1], int)
    posterior[code.k + code.parity - len(ratios) : code.k + code.parity] = ratios
    neighbours = [np.flatnonzero(row) for row in checks]
    messages = [np.zeros(len(places), int) for places in neighbours]
    for done in range(1, iterations + 1):
        for check, places in enumerate(neighbours):
            extrinsic = posterior[places] - messages[check]
            inside = np.clip(extrinsic, -125, 125)
            signs = np.where(inside < 0, -1, 1)
            for own in range(len(places)):
                others = np.delete(np.abs(inside), own).min()
                sign = np.prod(np.delete(signs, own))
                messages[check][own] = sign * ((others * 25 + 16) >> 5)
            posterior[places] = extrinsic + messages[check]
        if not (checks @ (posterior < 0) % 2).any():
            return posterior[: code.k] < 0, done
    return posterior[: code.k] < 0, 0


@pytest.mark.parametrize("size", LIFTING_SIZES)
def test_codewords_satisfy_every_check(size: int) -> None:
    code = LDPC(size, 46 * size if size < 64 else 9 * size)
    bits = np.random.default_rng(size).integers(0, 2, (3, code.k), np.uint8)
    words = np.hstack([bits[:, : 2 * size], code.encode(bits)])
    assert (words[:, : code.k] == bits).all()
    assert not (code.graph.matrix().astype(np.int64) @ words.T % 2).any()
    words[0, -1] ^= 1
    assert (code.graph.matrix().astype(np.int64) @ words.T % 2).any()


@pytest.mark.parametrize("entry", PEERS["encodings"], ids=lambda entry: str(entry["lifting"]))
def test_encoder_agrees_with_sionna(entry: dict) -> None:
    code = LDPC(entry["lifting"], entry["parity"])
    bits = np.unpackbits(array(entry["bits"]), count=code.k)[None]
    word = np.unpackbits(array(entry["word"]), count=code.n)[None]
    np.testing.assert_array_equal(code.encode(bits), word)


def test_decoder_agrees_with_ldpc_and_sionna_on_the_same_ratios() -> None:
    case = PEERS["decodings"]
    code, frames = LDPC(case["lifting"], case["parity"]), case["frames"]
    ratios = array(case["ratios"], np.int8).reshape(frames, code.n)
    decoded = code.decode(ratios, iterations=case["iterations"])
    bits, by_ldpc, by_sionna = (bits_of(case[key], frames) for key in ("bits", "ldpc", "sionna"))
    converged = np.array(case["ldpc_converged"])
    both = converged & ~decoded.failed
    assert both.sum() >= 7
    assert not converged.all()  # some frames are beyond these decoders
    np.testing.assert_array_equal(decoded.bits[both], by_ldpc[both])
    np.testing.assert_array_equal(decoded.bits[both], bits[both])
    solved = (by_sionna == bits).all(axis=1)
    assert solved.sum() >= 7
    both = solved & ~decoded.failed
    np.testing.assert_array_equal(decoded.bits[both], by_sionna[both])
    # min-sum with the same factor and order of checks: the same frames but for rounding
    assert (converged != ~decoded.failed).sum() <= 1
    assert (solved != ~decoded.failed).sum() <= 2


@pytest.mark.parametrize(("size", "parity"), [(8, 40), (12, 90), (26, 130)])
def test_decoder_equals_a_plain_one(size: int, parity: int) -> None:
    code = LDPC(size, parity)
    _, ratios = noisy(code, 8, 0.6, seed=size)
    decoded = code.decode(ratios, iterations=6)
    for frame, row in enumerate(ratios.astype(int)):
        expected, used = plain_decoder(code, row, 6)
        np.testing.assert_array_equal(decoded.bits[frame], expected)
        assert decoded.iterations[frame] == used


def test_decoder_corrects_and_counts() -> None:
    code = LDPC(384, 2880)
    bits, ratios = noisy(code, 40, 0.56, seed=1)
    wrong = ((ratios < 0) != code.encode(bits)).sum(axis=1)
    decoded = code.decode(ratios)
    assert not decoded.failed.any()
    np.testing.assert_array_equal(decoded.bits, bits)
    np.testing.assert_array_equal(decoded.corrected, wrong)
    assert wrong.min() > 250  # 3.7 % of 10560


def test_ratios_of_the_wrong_sign_decode_to_nothing() -> None:
    code = LDPC(64, 512)
    _, ratios = noisy(code, 5, 0.4, seed=2)
    assert not code.decode(ratios).failed.any()
    assert code.decode(-ratios).failed.all()


def test_frames_beyond_the_code_are_flagged() -> None:
    code = LDPC(384, 2880)
    bits, ratios = noisy(code, 30, 0.70, seed=3)
    decoded = code.decode(ratios)
    assert decoded.failed.all()
    assert (decoded.bits != bits).any(axis=1).all()


@pytest.mark.parametrize("information", [1, 40, 128, 129, 1000, 1407])
def test_shortened_frames_round_trip(information: int) -> None:
    code = LDPC(64, 500)
    rng = np.random.default_rng(information)
    bits = rng.integers(0, 2, (4, information), np.uint8)
    stored = code.encode(bits)
    assert stored.shape[1] == code.stored_bits(information)
    received = 1 - 2.0 * stored + 0.5 * rng.standard_normal(stored.shape)
    decoded = code.decode(in_steps(8 * received), information=information)
    np.testing.assert_array_equal(decoded.bits, bits)
    assert not decoded.failed.any()


def test_result_does_not_depend_on_threads_or_neighbours() -> None:
    code = LDPC(64, 480)
    bits, ratios = noisy(code, 100, 0.60, seed=4)
    one, four = (code.decode(ratios, threads=threads) for threads in (1, 4))
    assert 0 < one.failed.sum() < 100
    for name in ("bits", "iterations", "corrected"):
        np.testing.assert_array_equal(getattr(one, name), getattr(four, name))
    np.testing.assert_array_equal(code.decode(ratios[63:64]).bits[0], one.bits[63])
    np.testing.assert_array_equal(code.encode(bits, threads=1), code.encode(bits, threads=4))


def test_more_parity_corrects_more() -> None:
    failed = [
        LDPC(64, p).decode(noisy(LDPC(64, p), 60, 0.62, 5)[1]).failed.sum() for p in (320, 480, 640)
    ]
    assert failed[0] > failed[1] > failed[2]


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(InputError, match="no lifting size 383; the nearest is 384"):
        LDPC(383, 2880)
    with pytest.raises(InputError, match="parity must be 1536 to 17664"):
        LDPC(384, 1535)
    code = LDPC(8, 40)
    with pytest.raises(InputError, match="type uint8"):
        code.encode(np.zeros((1, 176)))
    with pytest.raises(InputError, match="0 or 1, got 2"):
        code.encode(np.full((1, 176), 2, np.uint8))
    with pytest.raises(InputError, match="200 to 200"):
        code.decode(np.zeros((1, 199), np.int8))
    with pytest.raises(InputError, match="at least 1 iteration"):
        code.decode(np.zeros((1, 200), np.int8), iterations=0)
    with pytest.raises(InputError, match="4 to 46 base rows, got 3"):
        lifted_graph(8, 3)


def test_no_frames_are_no_trouble() -> None:
    code = LDPC(8, 40)
    assert code.encode(np.empty((0, 176), np.uint8)).shape == (0, 200)
    assert code.decode(np.empty((0, 200), np.int8)).bits.shape == (0, 176)
