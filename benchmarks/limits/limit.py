"""Signal-to-distortion against cells per weight, for every code, beside the Shannon limit.

    SOFTCELL_DATA=path/to/data python benchmarks/limits/limit.py [--json FILE] [--plot FILE.svg]

Sources: a million independent Gaussian weights, as many Laplacian ones, and ResNet-20's own (left
out where SOFTCELL_DATA is not set). Each code writes real cells of `pcm-partial-reset`, in no
feedback loop, and reads them back; cells are all that a decoder needs. The limit at a number of
cells is D(R) at R = capacity times cells, of the source's density. For ResNet-20 it is that of its
tensors' empirical densities, joined by reverse water-filling of the plain squared error.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

import softcell
from softcell.channel import channel_of
from softcell.devices import parse_device
from softcell.evaluate.bounds import ModelBound, least_distortion, tensor_source
from softcell.evaluate.tasks import load_task

DEVICE = parse_device("pcm-partial-reset")
TABLE, FULL = "table", "full"
CELLS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0)
CODES = {
    "inversion": TABLE,
    "sign+adaptive": FULL,
    "sign+adaptive+sparsity": FULL,
    "coarse-to-fine": TABLE,
    "joint-map": TABLE,
    "packed": TABLE,
    "hybrid": FULL,
    "fixed-length": FULL,
    "entropy-coded": FULL,
    "strong-digital": FULL,
    "int8": FULL,
    "float16": FULL,
}
"""Codes and how they decode. Scales of a tensor are read through the error-free store by all of
them; "table" means that weights themselves need nothing but look-ups."""

SHARING = ("packed", "entropy-coded", "strong-digital")
"""Codes that go below one cell for each weight."""

STYLES = {TABLE: "o-", FULL: "s:"}


def sources(count: int) -> dict[str, dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    shape = (1000, count // 1000)
    found = {
        "gaussian": {"weight": rng.normal(size=shape).astype(np.float32)},
        "laplacian": {"weight": rng.laplace(0, np.sqrt(0.5), shape).astype(np.float32)},
    }
    if os.environ.get("SOFTCELL_DATA"):
        state = load_task("cifar10", "resnet20").state_dict()
        found["resnet20"] = {n: v for n, v in state.items() if v.ndim > 1}
    return found


def measure(state: dict[str, np.ndarray], code: str, cells: float | None) -> tuple[float, float]:
    """Return cells per weight and signal-to-distortion in dB of one written and read chip."""
    # Every squared error counts the same, as in the limit.
    plain = {name: np.ones(values.shape, np.float32) for name, values in state.items()}
    planned: dict[str, Any] = {
        "device": DEVICE,
        "scheme": code,
        "cells_per_weight": cells,
        "sensitivity": plain,
    }
    with tempfile.TemporaryDirectory() as folder:
        header = softcell.write(state, Path(folder) / "x.cells", **planned)
        restored = softcell.read(Path(folder) / "x.cells", seed=1)
    error = sum(float(np.sum((restored[n] - v.astype(np.float64)) ** 2)) for n, v in state.items())
    return header.cells_per_weight, ratio_db(state, error)


def ratio_db(state: dict[str, np.ndarray], error: float) -> float:
    signal = sum(float(np.sum(v.astype(np.float64) ** 2)) for v in state.values())
    return float(10 * np.log10(signal / error))


def rows_of(name: str, state: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    capacity = channel_of(DEVICE).capacity.bits
    bound = ModelBound(tuple(tensor_source(values) for values in state.values()))
    count = sum(values.size for values in state.values())
    rows: list[dict[str, Any]] = []
    for code, decoder in CODES.items():
        grid = [c for c in CELLS if c >= 1 or code in SHARING]
        for target in [None] if code in ("int8", "float16") else grid:
            cells, sdr = measure(state, code, target)
            limit = ratio_db(state, least_distortion(bound, capacity * cells * count))
            row = {"source": name, "code": code, "decoder": decoder, "cells_per_weight": cells}
            row |= {"sdr_db": sdr, "limit_db": limit}
            if not rows or rows[-1] != row:
                rows.append(row)
    return rows


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    names = list(dict.fromkeys(row["source"] for row in rows))
    figure = Figure(figsize=(5 * len(names), 4.5), layout="constrained")
    for axes, name in zip(np.atleast_1d(figure.subplots(1, len(names), sharey=True)), names):
        mine = [row for row in rows if row["source"] == name and row["cells_per_weight"] <= 4.3]
        limit = sorted((row["cells_per_weight"], row["limit_db"]) for row in mine)
        axes.plot(*zip(*limit), "k--", label="limit")
        for code, decoder in CODES.items():
            points = [(r["cells_per_weight"], r["sdr_db"]) for r in mine if r["code"] == code]
            if points:
                axes.plot(*zip(*sorted(points)), STYLES[decoder], label=code, markersize=4)
        axes.set(title=name, xlabel="cells per weight")
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("signal-to-distortion (dB)")
    figure.axes[-1].legend(fontsize=8)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=int, default=1_000_000, help="of the drawn sources")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    args = parser.parse_args()
    rows = [row for name, state in sources(args.weights).items() for row in rows_of(name, state)]
    table = Table("source", "code", "decoder", "cells/weight", "SDR dB", "limit dB", "below")
    for row in rows:
        below = row["limit_db"] - row["sdr_db"]
        numbers = (row["cells_per_weight"], row["sdr_db"], row["limit_db"], below)
        texts = [f"{value:.2f}" for value in numbers]
        table.add_row(row["source"], row["code"], row["decoder"], *texts)
    Console(width=100).print(table)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))
    if args.plot:
        draw(rows, args.plot)


if __name__ == "__main__":
    main()
