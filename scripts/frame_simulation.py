"""Random frames of the LDPC-coded modulation: written, read from the cell's law, decoded.

A frame is *wrong* if any information bit is wrong after decoding, *lost* if more than the outer
code's t = 12 are, and *unfinished* if some check is violated. What a frame holds and what its
cells read depends on the seed and on the frame's number alone, not on threads or on how many are
simulated.
"""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from softcell.channel import Channel
from softcell.codes.store.ldpc import LDPC
from softcell.codes.store.modulation import Modulation
from softcell.codes.store.soft_store import OUTER_ERRORS
from softcell.streams import Stream

BATCH = 512
TASK = 32


@njit(cache=True, nogil=True)
def draw_ratios(stored, words, again, level_of, at, accept, alias, ratios, out):
    """Draw the reading of every cell from its level's law; give the ratios of the stored bits.

    A level's law is an alias table of 2^m columns: m bits choose a column, the other 64 - m say
    whether it is the column's own bin or its alias, so a bin of probability 1e-18 is still drawn.

    Args:
        stored: Stored bits, (frames, n).
        words, again: Two random words of each cell, (frames * cells,).
        level_of: Row of the level that each label stands for, (levels,).
        at: Where among the label bits of its frame's cells each stored bit is, (n,).
        accept, alias: The laws, (levels, columns).
        ratios: Ratios of the label bits in each bin, int8, (columns, bits).
        out: Receives the ratios, int8, (frames, n).

    Source:
        Walker, ACM Trans. Mathematical Software 3, 253 (1977).
    """
    shift = np.uint64(64 - int(np.log2(accept.shape[1])))
    low = (np.uint64(1) << shift) - np.uint64(1)
    bits = ratios.shape[1]
    cells = words.size // max(len(stored), 1)
    labels, drawn = np.zeros(cells * bits, np.uint8), np.empty(cells * bits, np.int8)
    for frame in range(len(stored)):
        for i in range(at.size):
            labels[at[i]] = stored[frame, i]
        for cell in range(cells):
            here = frame * cells + cell
            label = 0
            for bit in range(cell * bits, (cell + 1) * bits):
                label = label << 1 | labels[bit]
            word = np.uint64(words[here]) << np.uint64(32) | np.uint64(again[here])
            level, column = level_of[label], np.int64(word >> shift)
            own = word & low < accept[level, column]
            bin = column if own else alias[level, column]
            for bit in range(bits):
                drawn[cell * bits + bit] = ratios[bin, bit]
        for i in range(at.size):
            out[frame, i] = drawn[at[i]]


def alias_tables(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how often in 2^(64 - m) each of 2^m columns is its own bin, and its other bin."""
    columns = 1 << int(np.ceil(np.log2(rows.shape[1])))
    accept = np.zeros((len(rows), columns), np.uint64)
    alias = np.tile(np.arange(columns), (len(rows), 1))
    for row, law, other in zip(rows, accept, alias, strict=True):
        share = np.zeros(columns)
        share[: len(row)] = row * (columns / row.sum())
        small, large = list(np.flatnonzero(share < 1)), list(np.flatnonzero(share >= 1))
        while small and large:
            few = small.pop()
            other[few] = large[-1]
            share[large[-1]] -= 1 - share[few]
            if share[large[-1]] < 1:
                small.append(large.pop())
        share[small + large] = 1  # what rounding has left over
        law[:] = np.minimum(share, 1 - 2.0**-53) * (2.0**64 / columns)
    return accept, alias


class Frames(NamedTuple):
    """What became of frames: wrong information bits, whether unfinished, passes; CPU seconds."""

    wrong: np.ndarray
    unfinished: np.ndarray
    passes: np.ndarray
    seconds: float


class Simulation:
    """Random frames, written, read from the channel's law and decoded; each by its number."""

    def __init__(
        self, code: LDPC, channel: Channel, modulation: Modulation, iterations: int, seed: int
    ) -> None:
        self.code, self.iterations = code, iterations
        self.cells = modulation.cells(code.n)
        bits = modulation.bits_per_symbol
        label_bits: Any = np.arange(self.cells * bits)
        readings: Any = channel.readings
        rows = channel.matrix[list(modulation.indices)]
        ratios = modulation.detect(channel, readings).reshape(-1, bits)
        at = modulation.from_cells(label_bits[None], code.n)[0]
        self.law = np.argsort(modulation.labels), at, *alias_tables(rows), ratios
        stream = Stream.of(seed, f"{code.parity} parity bits, {iterations} passes")
        self.information, self.noise = stream.named("information"), stream.named("noise")

    def frames(self, first: int, count: int) -> Frames:
        """Simulate frames first to first + count - 1."""
        per_frame = self.code.k // 32
        words = self.information.at(first * per_frame).words(count * per_frame)
        bits = np.unpackbits(words.view(np.uint8)).reshape(count, self.code.k)
        stored = self.code.encode(bits, threads=1)
        noise = self.noise.at(first * self.cells)
        drawn = [noise.words(count * self.cells, draw=draw) for draw in (0, 1)]
        ratios = np.empty(stored.shape, np.int8)
        draw: Any = draw_ratios  # the compiler's types know of no starred arguments
        draw(stored, *drawn, *self.law, ratios)
        begin = time.thread_time()
        decoded = self.code.decode(ratios, iterations=self.iterations, threads=1)
        seconds = time.thread_time() - begin
        wrong = (decoded.bits != bits).sum(axis=1)
        if (wrong[~decoded.failed] > 0).any():
            print("a frame is a codeword, but another one")
        passes = np.where(decoded.failed, self.iterations, decoded.iterations)
        return Frames(wrong, decoded.failed, passes, seconds)


def simulate(
    code: LDPC,
    channel: Channel,
    modulation: Modulation,
    *,
    iterations: int,
    failures: int,
    frames: int,
    seed: int,
    threads: int,
    until: str,
) -> tuple[dict[str, float], dict[int, int]]:
    """Write, read and decode random frames until so many are wrong or lost, or so many are done.

    Returns:
        Counts of frames and speed of the decoder; how many frames that are wrong but not lost have
        how many wrong bits.
    """
    simulation = Simulation(code, channel, modulation, iterations, seed)
    count = {"frames": 0, "unfinished": 0, "wrong": 0, "lost": 0}
    floor: Counter[int] = Counter()
    passes, seconds = 0, 0.0
    with ThreadPoolExecutor(threads) as pool:
        while count["frames"] < frames and count[until] < failures:
            end = min(count["frames"] + BATCH, frames)
            first = range(count["frames"], end, TASK)
            sizes = [min(TASK, end - start) for start in first]
            for done in pool.map(simulation.frames, first, sizes):
                count["frames"] += len(done.wrong)
                count["unfinished"] += int(done.unfinished.sum())
                count["wrong"] += int((done.wrong > 0).sum())
                count["lost"] += int((done.wrong > OUTER_ERRORS).sum())
                floor.update(done.wrong[(done.wrong > 0) & (done.wrong <= OUTER_ERRORS)].tolist())
                passes += int(done.passes.sum())
                seconds += done.seconds
    speed = count["frames"] * code.k / seconds / 1e6
    figures = {"passes": round(passes / count["frames"], 2), "mbit_per_cpu_second": round(speed, 1)}
    return count | figures, dict(sorted(floor.items()))
