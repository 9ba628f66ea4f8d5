"""Make the packaged statistics of cells that relax again from the measurements.

    SOFTCELL_DATA=path/to/data python scripts/fit_relaxing_devices.py [--check]

`--check` compares with the packaged files instead of writing them, and exits 1 on a difference.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from softcell.devices.relaxation import SCORES as GRID
from softcell.devices.relaxation import without_noise

HERE = Path(__file__).parents[1] / "src/softcell/devices/coefficients"
SOURCE = (
    "github.com/akashlevy/RRAM-Relaxation-Master-Model (MIT licence), technology {}: {:,} cells"
)
RANGES = 32  # of conductance, equally wide from 0 to g_max
CORE = np.array([0, 0.5, 1, 1.5, 2])  # normal scores at which quantiles are the readings' own
TAIL = np.array([2.5, 3, 4, 5, 6.4])  # and those of the exponential tails
SCORES = np.concatenate([-TAIL[::-1], -CORE[:0:-1], CORE, TAIL])


def _quantile(readings: NDArray[np.float64], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.quantile(readings, ndtr(scores), method="median_unbiased")
    return found


def quantiles(groups: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the quantiles of each range's readings at SCORES, shape (ranges, scores).

    From the score of 2 on tails are exponential, with the mean excess of the range and its
    neighbours. Each range's quantiles are smoothed with those of its neighbours, 1 : 2 : 1.
    """
    core = np.stack([_quantile(g, SCORES[abs(SCORES) <= 2]) for g in groups])
    further = np.log(ndtr(-2) / ndtr(-TAIL))
    sides = []
    for sign, end in ((-1, 0), (1, -1)):
        beyond = [sign * (g - q) for g, q in zip(groups, core[:, end], strict=True)]
        excess = [np.clip(e[e > 0], 0, None) for e in beyond]
        near = [np.concatenate(excess[max(k - 1, 0) : k + 2]) for k in range(len(groups))]
        scale = np.array([each.mean() for each in near])[:, None]
        sides.append(core[:, [end]] + sign * scale * further)
    table = np.concatenate([sides[0][:, ::-1], core, sides[1]], axis=1)
    smooth = table.copy()
    smooth[1:-1] = (table[:-2] + 2 * table[1:-1] + table[2:]) / 4
    return smooth


def start_quantiles(groups: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the quantiles of where programming ended at SCORES, from the least to the most."""
    within = np.clip(SCORES, -3, 3)
    table = np.stack([_quantile(g, within) for g in groups])
    table[:, within == -3] = np.array([g.min() for g in groups])[:, None]
    table[:, within == 3] = np.array([g.max() for g in groups])[:, None]
    return table


def correlations(
    change: NDArray[np.float64],
    level: NDArray[np.int64],
    tables: NDArray[np.float64],
    noise: float,
) -> NDArray[np.float64]:
    """Return the correlations of scores with which changes have the measured ones, (times, times).

    Changes are taken from the mean of their range; both of a pair hold the noise of the first read.

    Args:
        change: Measured changes, shape (cells, times), NaN where there is no reading.
        level: Range of each cell.
        tables: Quantiles of the changes at SCORES, shape (times, ranges, scores).
        noise: Standard deviation of reading.
    """
    known = np.isfinite(change).astype(float)
    member = (level[:, None] == np.arange(RANGES)).astype(float)
    rest = np.nan_to_num(change)
    rest -= known * (member @ ((member.T @ rest) / (member.T @ known)))
    measured = (rest.T @ rest) / np.sqrt((rest**2).T @ known * (known.T @ rest**2))
    quiet = np.stack([without_noise(each, SCORES, np.sqrt(2) * noise) for each in tables])
    density = np.exp(-0.5 * GRID**2) / np.exp(-0.5 * GRID**2).sum()
    quiet -= (quiet @ density)[:, :, None]
    spread = np.sqrt(np.einsum("tks,s->t", quiet**2, density) / RANGES + 2 * noise**2)
    found = np.eye(len(tables))
    for i, j in zip(*np.triu_indices(len(tables), 1), strict=True):
        low, high = -0.99, 0.99
        for _ in range(30):
            middle = (low + high) / 2
            joint = np.exp(
                (middle * np.outer(GRID, GRID) - 0.5 * np.add.outer(GRID**2, GRID**2))
                / (1 - middle**2)
            )
            covariance = np.einsum("ks,st,kt->", quiet[i], joint / joint.sum(), quiet[j]) / RANGES
            below = (covariance + noise**2) / (spread[i] * spread[j]) < measured[i, j]
            low, high = (middle, high) if below else (low, middle)
        found[i, j] = found[j, i] = low
    if np.linalg.eigvalsh(found).min() <= 0.01:
        raise ValueError(f"correlations of no normal scores: {found}")
    return found


def read_noise(changes: list[NDArray[np.float64]]) -> float:
    """Return the most that normal noise of two reads can be, of the same size at every level.

    A sum is never more concentrated than its parts: the shortest interval that holds half of the
    changes is no shorter than that of the noise alone.
    """
    shortest = []
    for change in changes:
        ordered = np.sort(change)
        half = len(ordered) // 2
        shortest.append((ordered[half:] - ordered[: len(ordered) - half]).min())
    return float(min(shortest) / (2 * ndtri(0.75)) / np.sqrt(2))


def statistics(
    data: Mapping[str, NDArray[Any]], cells: NDArray[np.bool_], technology: str
) -> dict[str, Any]:
    """Return the statistics of some of the measured cells by name."""
    g, level = data["g_uS"].astype(np.float64), data["level"].astype(np.int64)
    g_max, times = float(data["gmax_uS"]), data["t_nominal_s"][1:]
    used = cells & (level < RANGES)
    g, level = g[used], level[used]
    change = g[:, 1:] - g[:, :1]
    groups = [[each[(level == k) & np.isfinite(each)] for k in range(RANGES)] for each in change.T]
    middle = (np.arange(RANGES) + 0.5) * g_max / RANGES
    start = [g[level == k, 0] - middle[k] for k in range(RANGES)]
    tables = np.stack([quantiles(each) for each in groups])
    noise = float(f"{read_noise(groups[0]):.2g}")
    return {
        "source": SOURCE.format(technology, len(g)),
        "g_max": g_max,
        "highest": float(f"{np.nanmax(data['g_uS']):.4g}"),
        "read_noise": noise,
        "times": times,
        "scores": SCORES,
        "correlation": correlations(change, level, tables, noise),
        "start": start_quantiles(start),
        "change": tables,
    }


def toml(values: Mapping[str, Any]) -> str:
    """Return the text of a coefficients file."""

    def line(numbers: NDArray[np.float64]) -> str:
        if numbers.ndim == 1:
            return "[" + ", ".join(f"{x:.4g}" for x in numbers) + "]"
        return "[\n" + "".join(f"{line(row)},\n" for row in numbers) + "]"

    def text(value: object) -> str:
        if isinstance(value, str):
            return f'"{value}"'
        return line(value) if isinstance(value, np.ndarray) else f"{value}"

    return "".join(f"{name} = {text(value)}\n" for name, value in values.items())


def main() -> int:
    data = os.environ.get("SOFTCELL_DATA")
    if not data:
        print("set SOFTCELL_DATA to the folder that holds cells/", file=sys.stderr)
        return 2
    changed = 0
    for technology in "BC":
        name = f"rram-relax-{technology.lower()}"
        measured = np.load(Path(data) / "cells" / f"rram_relax_tech{technology}.npz")
        cells = dict(measured)
        text = toml(statistics(cells, np.ones(len(cells["addr"]), bool), technology))
        target = HERE / f"{name}.toml"
        if "--check" in sys.argv:
            same = target.exists() and target.read_text() == text
            print(f"{name}: {'unchanged' if same else 'differs'}")
            changed += not same
        else:
            target.write_text(text)
            print(f"{name}: {len(text):,} characters")
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main())
