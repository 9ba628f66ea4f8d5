"""The figures to check against, reproduced: the design's value, ours, and whether they agree.

    SOFTCELL_DATA=path/to/data python benchmarks/limits/figures.py [--seeds 5] [--json FILE]

Figures of the cell need no data; those of ResNet-20 are left out, with a word, where SOFTCELL_DATA
is not set. Exits 1 when a figure is outside its tolerance.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from softcell.channel import Channel, channel_of, constellation, posterior_mean
from softcell.codes.analog.position_map import POSITIONS, PositionMap, decoder, inverted_map
from softcell.devices import parse_device
from softcell.evaluate.tasks import load_task
from softcell.streams import Stream

DEVICE = "pcm-partial-reset"
_STARTS, _SWEEPS = 12, 300


class Figure(NamedTuple):
    """One figure: the design's, its tolerance (absolute), its unit, and ours."""

    name: str
    expected: float
    tolerance: float
    unit: str
    ours: float

    @property
    def agrees(self) -> bool:
        return abs(self.ours - self.expected) <= self.tolerance


def sdr(signal: float, distortion: float) -> float:
    return float(10 * np.log10(signal / distortion))


def cell_figures() -> Iterator[Figure]:
    channel, bits = channel_of(parse_device(DEVICE)), "bits/cell"
    pooled = channel_of(parse_device("pcm-sweep")).capacity.bits
    yield Figure("capacity", 2.65, 0.03, bits, channel.capacity.bits)
    yield Figure("capacity, seven cells pooled", 1.48, 0.03, bits, pooled)
    for count, expected in ((4, 2.00), (5, 2.29), (6, 2.44), (8, 2.57)):
        ours = constellation(channel, count, criterion="information").information
        yield Figure(f"{count} levels: information", expected, 0.015, bits, ours)
    for count, expected, tolerance in ((4, 4e-5, 1.5e-5), (8, 0.115, 0.006)):
        ours = constellation(channel, count).symbol_error_rate
        yield Figure(f"{count} levels: symbol error rate", expected, tolerance, "", ours)
    yield from map_figures(channel)
    limit = 6.0206 * channel.capacity.bits
    yield Figure("limit, Gaussian weight, 1 cell", 15.9, 0.15, "dB", limit)


def part_map(channel: Channel) -> PositionMap:
    """Return the linear map on 2.40 to 2.95 V."""
    at = [int(np.rint((v - 1.0) / 1.95 * 255)) for v in (2.2, 2.40, 2.95)]
    low, start, high = channel.mean[at]
    return inverted_map(channel, float((start - low) / (high - low)), 1.0)


def map_figures(channel: Channel) -> Iterator[Figure]:
    x = np.linspace(-6, 6, 2401)
    half, gauss, laplace = x >= 0, np.exp(-(x**2) / 2), np.exp(-np.sqrt(2) * np.abs(x))
    both = linear(channel, x, gauss, True)
    apart = linear(channel, x[half], gauss[half], False)
    yield Figure("linear map 2.40-2.95 V, best clipping", 9.8, 0.2, "dB", both)
    yield Figure("the same, sign apart", 13.7, 0.3, "dB", apart)
    for name, values, density, expected, tolerance in (
        ("channel-optimised map, Gaussian", x, gauss, 12.8, 0.25),
        ("the same, sign apart", x[half], gauss[half], 18.3, 0.25),
        ("channel-optimised map, Laplacian", x, laplace, 11.2, 0.2),
    ):
        p = density / density.sum()
        ours = sdr(float(p @ values**2), optimised_distortion(values, p, channel))
        yield Figure(name, expected, tolerance, "dB", ours)


def optimised_distortion(values: np.ndarray, probabilities: np.ndarray, channel: Channel) -> float:
    """Return the square error of the best map of values to levels and of readings to estimates.

    With estimates fixed, each value takes the level of least expected error; with levels fixed,
    each reading takes the posterior mean. Neither step can raise the error, so that it converges,
    to a local optimum: several starts, of different clipping and direction, are tried.

    Source:
        Farvardin and Vaishampayan, IEEE Trans. Inf. Theory 33, 827 (1987).
    """
    order = np.argsort(channel.mean, kind="stable")
    cumulative = np.cumsum(probabilities) - probabilities / 2
    least = np.inf
    for i in range(_STARTS):
        tail = 0.5 * 10 ** -(1 + 3 * i / _STARTS)
        low, high = np.interp([tail, 1 - tail], cumulative, values)
        place = np.rint(np.clip((values - low) / (high - low), 0, 1) * (len(order) - 1)).astype(int)
        for start in (order[place], order[::-1][place]):
            least = min(least, alternated(values, probabilities, channel.matrix, start))
    return least


def alternated(
    values: np.ndarray, probabilities: np.ndarray, matrix: np.ndarray, levels: np.ndarray
) -> float:
    """Return the square error after alternation between levels and estimates."""
    error = np.inf
    for _ in range(_SWEEPS):
        mass = np.bincount(levels, probabilities, len(matrix)).astype(np.float64)
        moment = np.bincount(levels, probabilities * values, len(matrix))
        centre = np.divide(moment, mass, out=np.zeros_like(mass), where=mass > 0)
        estimates = posterior_mean(matrix, mass, centre)
        # E (v - e)^2 for value v and level l is v^2 - 2 v a_l + b_l: a line in v for each level.
        a, b = matrix @ estimates, matrix @ estimates**2
        cost = b[None, :] - 2 * values[:, None] * a[None, :]
        levels, before = cost.argmin(axis=1), error
        error = float(probabilities @ (values**2 + cost.min(axis=1)))
        if before - error < 1e-9 * before:
            break
    return error


def linear(channel: Channel, values: np.ndarray, density: np.ndarray, signed: bool) -> float:
    """Return the best signal-to-distortion of the linear map over all clippings, in dB."""
    chosen = part_map(channel)
    estimate = decoder(chosen, channel).at(channel.readings)
    p = density / density.sum()
    best = 0.0
    for clip in np.linspace(0.8, 4.5, 75):
        position = np.clip((values / clip + 1) / 2 if signed else values / clip, 0, 1)
        level = chosen.levels[np.rint(position * (POSITIONS - 1)).astype(int)]
        decoded = clip * (2 * estimate - 1) if signed else clip * estimate
        rows = channel.matrix[level]
        error = values**2 - 2 * values * (rows @ decoded) + rows @ decoded**2
        best = max(best, sdr(float(p @ values**2), float(p @ error)))
    return best


def network_figures(seeds: int) -> Iterator[Figure]:
    task = load_task("cifar10", "resnet20")
    state = task.state_dict()
    matrices = [name for name, values in state.items() if values.ndim > 1]

    def accuracy(change: Callable[[np.ndarray, Stream], np.ndarray], runs: int = seeds) -> float:
        total = 0.0
        for seed in range(runs):
            changed = dict(state)
            for name in matrices:
                changed[name] = change(state[name], Stream.of(seed, name)).astype(np.float32)
            total += 100 * task.evaluate(changed)
        return total / runs

    yield Figure("ResNet-20, float32", 91.5, 0.05, "%", 100 * task.evaluate(state))
    for cells, expected, tolerance in ((1, 11.0, 3.0), (3, 24.0, 8.0), (10, 77.0, 8.0)):
        ours = accuracy(partial(stored, cells=cells))
        name = f"linear map at full range, {cells} cells averaged"
        yield Figure(name, expected, tolerance, "%", ours)
    # The design's are single runs: twice the spread between chips is what they can be off.
    for cells, expected, tolerance in ((1, 77.0, 12.0), (2, 81.0, 6.0), (3, 83.0, 6.0)):
        ours = accuracy(partial(stored, cells=cells, clip=3.5))
        name = f"sign apart, clip 3.5 sigma, {cells} cells averaged"
        yield Figure(name, expected, tolerance, "%", ours)
    for snr, expected in ((14, 88.1), (16, 90.2), (18, 90.8), (20, 91.4)):
        ours = accuracy(partial(noisy, scale=10 ** (-snr / 20)))
        yield Figure(f"white noise at {snr} dB", expected, 1.2, "%", ours)
    for step, bits, expected in ((0.35, 3.54, 91.5), (0.5, 3.03, 90.5)):
        counts, size = 0.0, 0
        for name in matrices:
            index = np.rint(state[name] / (step * state[name].std())).astype(int)
            p = np.unique(index, return_counts=True)[1] / index.size
            counts, size = counts - index.size * float(p @ np.log2(p)), size + index.size
        yield Figure(f"uniform step {step} sigma: entropy", bits, 0.03, "bits", counts / size)
        ours = accuracy(partial(rounded, step=step), 1)
        yield Figure(f"uniform step {step} sigma: accuracy", expected, 0.6, "%", ours)


def noisy(w: np.ndarray, stream: Stream, *, scale: float) -> np.ndarray:
    return np.asarray(w + scale * w.std() * stream.normal(w.size).reshape(w.shape))


def rounded(w: np.ndarray, _: Stream, *, step: float) -> np.ndarray:
    return np.asarray(np.rint(w / (step * w.std())) * step * w.std())


def stored(w: np.ndarray, stream: Stream, *, cells: int, clip: float | None = None) -> np.ndarray:
    """Write weights by the linear map on 2.40-2.95 V, read them back and average.

    Clipped at so many deviations their signs are stored apart; else the map takes all of them.
    """
    signs, size = clip is not None, np.abs(w).max() if clip is None else clip * w.std()
    device = parse_device(DEVICE)
    channel = channel_of(device)
    chosen = part_map(channel)
    flat = w.reshape(-1)
    place = np.abs(flat) / size if signs else (flat / size + 1) / 2
    index = np.rint(np.clip(place, 0, 1) * (POSITIONS - 1)).astype(int)
    levels = np.repeat(chosen.levels[index], cells).astype(np.float32) / np.float32(255)
    written = device.write(levels, stream=stream.named("write"))
    readings = device.read(written, stream=stream.named("read")).reshape(-1, cells)
    decoded = decoder(chosen, channel).at(readings.mean(axis=1))
    values = size * decoded * np.sign(flat) if signs else size * (2 * decoded - 1)
    return np.asarray(values.reshape(w.shape))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = list(cell_figures())
    if os.environ.get("SOFTCELL_DATA"):
        rows += network_figures(args.seeds)
    else:
        print("SOFTCELL_DATA is not set: figures of ResNet-20 are left out", file=sys.stderr)
    table = Table("figure", "design", "tolerance", "ours", "", "unit")
    for row in rows:
        numbers = (f"{row.expected:g}", f"{row.tolerance:g}", f"{row.ours:.4g}")
        table.add_row(row.name, *numbers, "ok" if row.agrees else "[red]differs", row.unit)
    Console(width=110).print(table)
    if args.json:
        args.json.write_text(json.dumps([row._asdict() for row in rows], indent=1))
    return int(not all(row.agrees for row in rows))


if __name__ == "__main__":
    sys.exit(main())
