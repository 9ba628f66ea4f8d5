"""Frame error rates of the LDPC-coded modulation: the table that code rates are chosen from.

    python scripts/frame_errors.py table [--failures 100] [--frames 1000000] [--write]
    python scripts/frame_errors.py device pcm-partial-reset --parity 2880 [--iterations 50]

`table` simulates 2, 4 and 8 equally spaced levels in Gaussian noise (Gray labels) at several noise
levels for every parity and number of iterations, each until 100 frames are lost, from where most
are to where 3 in 1000 are, and fits

    P(frame lost) = Q((i - threshold) / width),  i = mean information of a label bit,

the law of a long code near its threshold (Amraoui et al., IEEE Trans. Information Theory 55, 473
(2009)), to the points by maximum likelihood. The more unequal the label bits are, the lower is the
threshold: their standard deviation (`spread`) goes into the table, too. `--write` stores it in the
package. `device` simulates a device's own law and modulation until 100 frames are wrong, for the
table to be checked against; without `--parity`, at the one that the table leads to.

A frame is *wrong* if any information bit is wrong after decoding, *lost* if more than the outer
code's t = 12 are, and *unfinished* if some check is violated. Of frames that are wrong but not
lost, `device` prints how many have how many wrong bits: they are the floor that the outer code
removes.
"""

import argparse
import json
import os
from inspect import getfile
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from frame_simulation import simulate
from scipy.optimize import brentq, minimize
from scipy.special import log_ndtr, ndtr, ndtri

from softcell.channel import Channel, channel_of
from softcell.codes.store.ldpc import LDPC
from softcell.codes.store.modulation import Modulation, bit_information, design_modulation
from softcell.codes.store.soft_store import OUTER_ERRORS, OUTER_FIELD, soft_store_of
from softcell.codes.store.waterfall import Waterfall, waterfall_table
from softcell.devices import parse_device

TABLE = Path(getfile(Waterfall)).parent / "tables/waterfall.json"
LIFTING = 384
PARITIES = (1536, 2112, 2496, 2880, 3456, 4608, 7680)
BITS = (1, 2, 3)
ITERATIONS = (20, 50)
STEP = 0.003
WALK_UNTIL = 0.05
LAST_RATE = 3e-3


def pam(bits: int, deviation: float) -> Channel:
    """Equally spaced levels from 0 to 1 in Gaussian noise."""
    levels = np.linspace(0, 1, 1 << bits)
    inner = np.linspace(-5 * deviation, 1 + 5 * deviation, 1023)
    edges = np.concatenate([[-np.inf], inner, [np.inf]])
    return Channel(levels, edges, np.diff(ndtr((edges - levels[:, None]) / deviation), axis=1))


def gray(bits: int) -> Modulation:
    """All levels of `pam` with reflected Gray labels; their first bit is the most reliable."""
    order = tuple(range(1 << bits))
    return Modulation(order, tuple(i ^ (i >> 1) for i in order), tuple(range(bits)))


def mean_information(channel: Channel, modulation: Modulation) -> float:
    rows = channel.matrix[list(modulation.indices)]
    return float(bit_information(rows, modulation.labels).mean())


def pam_of(bits: int, information: float) -> Channel:
    """`pam` whose label bits carry so much information on average."""

    def excess(logarithm: float) -> float:
        return mean_information(pam(bits, np.exp(logarithm)), gray(bits)) - information

    return pam(bits, float(np.exp(brentq(excess, np.log(0.005), np.log(0.5), xtol=1e-7))))


def points(
    code: LDPC, bits: int, iterations: int, start: float, args: argparse.Namespace
) -> list[dict[str, float]]:
    """Walk from where most frames are lost to where few are; the last point goes by the law."""
    done: list[dict[str, float]] = []

    def simulate_at(information: float) -> float:
        channel = pam_of(bits, information)
        limits = {"iterations": iterations, "failures": args.failures, "frames": args.frames}
        limits |= {"threads": args.threads, "until": "lost", "seed": len(done)}
        row, _ = simulate(code, channel, gray(bits), **limits)
        done.append({"information": round(information, 6), **row})
        print(f"  {done[-1]}", flush=True)
        return row["lost"] / row["frames"]

    information, error_rate = start, 1.0
    while error_rate > WALK_UNTIL:
        error_rate = simulate_at(information)
        information += 2 * STEP if error_rate > 0.95 else STEP
    threshold, width = fit(done)
    simulate_at(threshold - float(ndtri(LAST_RATE)) * width)
    return done


def fit(rows: list[dict[str, float]]) -> tuple[float, float]:
    """Fit threshold and width to the counts of lost frames."""
    i, lost, frames = (
        np.array([row[key] for row in rows], float) for key in ("information", "lost", "frames")
    )

    def loss(x: np.ndarray) -> float:
        u = (i - x[0]) / np.exp(x[1])
        return -float((lost * log_ndtr(-u) + (frames - lost) * log_ndtr(u)).sum())

    start = [float(np.interp(0.5, (lost / frames)[::-1], i[::-1])), np.log(0.004)]
    found = minimize(loss, start, method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-7})
    return float(found.x[0]), float(np.exp(found.x[1]))


def table(args: argparse.Namespace) -> None:
    entries, threshold, rate = [], 0.0, 0.0
    for iterations, bits, parity in product(ITERATIONS, BITS, args.parity or PARITIES):
        code = LDPC(LIFTING, parity)
        print(f"{bits} bits per cell, rate {code.rate:.4f}, {iterations} iterations", flush=True)
        # The distance from threshold to rate grows as the rate falls.
        start = code.rate + 0.014 if parity == PARITIES[0] else threshold - rate + code.rate
        rows, rate = points(code, bits, iterations, start, args), code.rate
        threshold, width = fit(rows)
        worths = bit_information(pam_of(bits, threshold).matrix, gray(bits).labels)
        found = {"threshold": threshold, "width": width, "spread": float(worths.std())}
        print(f"  {found}", flush=True)
        entry = {"iterations": iterations, "bits": bits, "parity": parity}
        entry |= {key: round(value, 6) for key, value in found.items()}
        entries.append(entry | {"points": rows})
    if args.write:
        write(entries, args.failures, args.frames)


def write(entries: list[dict[str, Any]], failures: int, frames: int) -> None:
    """Store the table in the package, an entry a line."""
    limits = f"--failures {failures} --frames {frames}"
    made_by = f"python scripts/frame_errors.py table {limits} --write"
    head = json.dumps({"made_by": made_by, "lifting": LIFTING, "t": OUTER_ERRORS})[:-1]
    lines = ",\n".join(json.dumps(entry) for entry in entries)
    temporary = TABLE.with_suffix(".part")
    temporary.write_text(f'{head}, "entries": [\n{lines}\n]}}\n')
    temporary.replace(TABLE)


def device(args: argparse.Namespace) -> None:
    channel = channel_of(parse_device(args.device), args.age)
    modulation = design_modulation(channel, 1 << args.bits)
    i = mean_information(channel, modulation)
    print(f"{args.device}: {args.bits * i:.4f} bits per cell in the label bits of {modulation}")
    chosen = soft_store_of(channel, modulation, waterfall_table(args.iterations))
    for parity in args.parity or ([chosen.parity] if chosen else []):
        code = LDPC(LIFTING, parity)
        limits = {"failures": args.failures, "frames": args.frames, "seed": 0}
        limits |= {"threads": args.threads, "until": "wrong"}
        row, floor = simulate(code, channel, modulation, iterations=args.iterations, **limits)
        cells, outer = modulation.cells(code.n), OUTER_FIELD * OUTER_ERRORS
        net = f"{code.k / cells:.4f} bits per cell, {(code.k - outer) / cells:.4f} after the outer"
        print(f"parity {parity}: {net} code")
        print(f"  {row}, wrong bits {floor}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(required=True)
    for name, run in (("table", table), ("device", device)):
        verb = verbs.add_parser(name)
        verb.set_defaults(run=run)
        verb.add_argument("--failures", type=int, default=100, help="stop after so many")
        verb.add_argument("--frames", type=int, default=1_000_000, help="stop after so many")
        verb.add_argument("--threads", type=int, default=os.cpu_count(), help="result is the same")
        verb.add_argument("--parity", type=int, nargs="+", help="parity bits of a frame")
    verbs.choices["table"].add_argument("--write", action="store_true", help="keep the table")
    verb.add_argument("device")
    verb.add_argument("--age", type=float, default=0.0, help="seconds")
    verb.add_argument("--bits", type=int, default=3, help="bits of a cell, before coding")
    verb.add_argument("--iterations", type=int, default=20)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
