"""One figure for each code, as the page on codes shows it.

    python benchmarks/pages/code_figures.py [FOLDER] [--only NAME ...]

Everything is drawn on `pcm-partial-reset` from the codes' own designs; the one figure that is
measured codes a hundred thousand Laplacian weights to real streams. The same code and the same
release of matplotlib give the same bytes. FOLDER is docs/figures unless another is named.
"""

import argparse
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.stats import norm

from softcell.channel import channel_of, log_likelihood_ratios
from softcell.codes.analog.position_map import GRID, POSITIONS, moments
from softcell.codes.analog.value_range import Histogram, ValueRange, choose_range, map_of
from softcell.codes.coarse.design import design_map, estimates
from softcell.codes.entropy.stream import decode, encode
from softcell.codes.entropy.trellis import Trellis
from softcell.codes.fixed_length.cells import bit_variances
from softcell.codes.fixed_length.plan import choose_formats, expected_distortion
from softcell.codes.joint.design import TABLE_BINS, design_joint_map, joint_estimates
from softcell.codes.maps.source import SHAPES
from softcell.codes.packed.design import packed_estimates, packed_map
from softcell.codes.store.bch import BCH
from softcell.codes.store.hard_store import UBER, design_store
from softcell.codes.store.modulation import bit_information, design_modulation, label_bits
from softcell.codes.store.protection import uncorrectable_bit_error_rate
from softcell.devices import parse_device
from softcell.evaluate.bounds import density_curve

DEVICE = parse_device("pcm-partial-reset")
CELL = channel_of(DEVICE)
VOLTS = DEVICE.level_axis.to_unit(CELL.levels)
GAUSSIAN = SHAPES.index(2.0)

# Colours that are told apart with any kind of colour vision (Okabe and Ito, 2008).
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000")
GREY = "#888888"
STYLE: Any = {
    "svg.hashsalt": "softcell",
    "svg.fonttype": "none",
    "font.size": 8,
    "axes.titlesize": 8,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.2,
}

READING = "reading (log10 of ohm)"
PICTURE: dict[str, Any] = {"origin": "lower", "interpolation": "none", "aspect": "auto"}
PULSE = "pulse voltage (V)"


def panels(figure: Figure, count: int) -> list[Axes]:
    figure.set_size_inches(2.7 * count + 0.9, 2.6)
    return list(figure.subplots(1, count))


def runs(marks: np.ndarray) -> list[slice]:
    """Return the stretches over which a mark stays the same."""
    ends = [0, *(np.flatnonzero(np.diff(marks)) + 1), len(marks)]
    return [slice(a, b) for a, b in pairwise(ends)]


def likely(weight: np.ndarray) -> np.ndarray:
    """Return which readings are worth drawing, from their probabilities."""
    return np.asarray(weight > 1e-5 * weight.max())


def analog(figure: Figure) -> None:
    """Draw maps from positions to levels, and the noise that weights get from them."""
    magnitudes = np.linspace(0, 4, 2001)
    half_normal = Histogram(magnitudes, norm.pdf(magnitudes))
    chosen = choose_range(half_normal, CELL, signed=False)
    maps = {
        "naive": (map_of(ValueRange(0, 1, 0, 0), CELL), GREY),
        "inversion": (map_of(ValueRange(0, 1), CELL), COLOURS[0]),
        "sign+adaptive": (map_of(chosen, CELL), COLOURS[4]),
    }
    left, middle, right = panels(figure, 3)
    place = np.linspace(0, 1, 65)
    for name, (one, colour) in maps.items():
        level = one.levels[np.rint(place * (POSITIONS - 1)).astype(int)]
        mean, spread = CELL.mean[level], CELL.deviation[level]
        left.plot(place, VOLTS[level], color=colour, label=name)
        middle.plot(place, mean, color=colour)
        middle.fill_between(place, mean - spread, mean + spread, color=colour, alpha=0.25, lw=0)
    left.set(xlabel="position", ylabel=PULSE, title="level of a position")
    left.legend()
    middle.plot([0, 1], CELL.mean[[0, -1]], ":", color=GREY)
    middle.set(xlabel="position", ylabel=READING, title="reading, one standard deviation")
    position = np.linspace(0, 1, GRID)
    for name in ("inversion", "sign+adaptive"):
        one, colour = maps[name]
        found = moments(one, CELL)
        error = np.sqrt(found.variance + (found.mean - position) ** 2)
        right.plot(chosen.high * position, chosen.high * error, color=colour)
    right.fill_between(magnitudes[::50], 0.5 * norm.pdf(magnitudes[::50]), color=GREY, alpha=0.3)
    right.text(0.1, 0.02, "density of weights")
    right.set(xlabel="size of the weight, standard deviations", xlim=(0, chosen.high))
    right.set(title="error (rms) of a weight in the same range", ylim=(0, None))


def coarse_to_fine(figure: Figure) -> None:
    """Draw part and fine level of a value, and the estimates of each part."""
    design = design_map(CELL, GAUSSIAN, 2)
    table = estimates(design, CELL)[:, :-1]
    left, right = panels(figure, 2)
    inside = np.abs(design.values) <= 4
    values, parts, levels = design.values[inside], design.parts[inside], design.levels[inside]
    for run in runs(parts):
        colour = COLOURS[parts[run.start]]
        thin = np.unique(np.linspace(run.start, run.stop - 1, 80).astype(int))
        left.plot(values[thin], VOLTS[levels[thin]], color=colour)
        left.axvspan(values[run.start], values[run.stop - 1], color=colour, alpha=0.12, lw=0)
        left.text(values[run].mean(), 3.0, f"{parts[run.start]}", ha="center")
    left.set(xlabel="weight, standard deviations", ylabel=PULSE, ylim=(None, 3.1))
    left.set_title("written: part (0 to 3), and level of the fine cell")
    for part, line in enumerate(table):
        mine = design.parts == part
        mass = np.bincount(design.levels[mine], design.density[mine], len(VOLTS))
        seen = np.flatnonzero(likely(mass @ CELL.matrix))[::4]
        right.plot(CELL.readings[seen], line[seen], color=COLOURS[part])
        right.text(CELL.readings[seen[-1]], line[seen[-1]], f" {part}", color=COLOURS[part])
    right.set(xlabel=READING, ylabel="estimate, standard deviations")
    right.set_title("read: estimate in each part")


def joint_map(figure: Figure) -> None:
    """Draw the path of a value through the square of levels, and the table of estimates."""
    design = design_joint_map(CELL, GAUSSIAN)
    left, right = panels(figure, 2)
    inside = np.flatnonzero(np.abs(design.values) <= 3.5)
    first, second = design.first[inside].astype(int), design.second[inside].astype(int)
    starts = np.array([run.start for run in runs(first * len(VOLTS) + second)])
    value = design.values[inside][starts]
    x, y = first[starts], second[starts]
    for axes, scale, label in ((left, VOLTS, PULSE), (right, CELL.mean, READING)):
        axes.plot(scale[x], scale[y], color=GREY, lw=0.4, zorder=1)
        axes.set(xlabel=f"first cell's {label}", ylabel=f"second cell's {label}")
    dots = {"c": value[::4], "s": 5, "cmap": "coolwarm", "zorder": 2}
    shown = left.scatter(VOLTS[x[::4]], VOLTS[y[::4]], **dots)
    left.set_title("pair of levels of a value")
    figure.colorbar(shown, ax=[left, right], label="value, standard deviations")
    table = joint_estimates(design, CELL)[:-1:2, :-1:2]
    groups = CELL.matrix.reshape(len(VOLTS), TABLE_BINS // 2, -1).sum(axis=2)
    mass = np.bincount(256 * design.first.astype(int) + design.second, design.density, 256**2)
    weight = groups.T @ mass.reshape(256, 256) @ groups
    ends = (CELL.readings[0], CELL.readings[-1]) * 2
    seen = np.where(likely(weight), table, np.nan)
    right.imshow(seen.T, extent=ends, cmap="coolwarm", clim=shown.get_clim(), **PICTURE)
    right.set_title("estimate; line: mean readings")


def packed(figure: Figure) -> None:
    """Draw two values in one cell, and one value that may lie anywhere."""
    pair, single = packed_map(CELL, 2), packed_map(CELL, 1)
    left, middle, right = panels(figure, 3)
    order = np.argsort(CELL.mean)
    rank = np.argsort(order)
    left.imshow(CELL.mean[pair.levels].T, extent=(-1, 1, -1, 1), cmap="viridis", **PICTURE)
    used = np.unique(rank[pair.levels])
    path = CELL.matrix[order[used]] @ packed_estimates(pair, CELL)[:-1]
    left.plot(*path.T, ".-", color="white", markersize=2, lw=0.8)
    left.set(xlabel="first value", ylabel="second value", title="colour: reading; line: decoded")
    value = (np.arange(4096) + 0.5) / 2048 - 1
    thin = np.arange(0, 4096, 32)
    mean, spread = CELL.mean[single.levels[thin]], CELL.deviation[single.levels[thin]]
    middle.plot(value[thin], mean, color=COLOURS[0])
    middle.fill_between(value[thin], mean - spread, mean + spread, alpha=0.25, lw=0)
    middle.set(xlabel="value", ylabel=READING, title="one value: its reading")
    weight = np.bincount(single.levels, minlength=len(VOLTS)) @ CELL.matrix
    seen = np.flatnonzero(likely(weight))[::4]
    right.plot(CELL.readings[seen], packed_estimates(single, CELL)[0, seen], color=COLOURS[0])
    right.set(xlabel=READING, ylabel="estimate", title="one value: its estimate")


def fixed_length(figure: Figure) -> None:
    """Draw where the bits of an index go, and what each would add to the squared error."""
    magnitudes = np.linspace(0, 5, 4001)[1:]
    gaussian = Histogram(magnitudes, norm.pdf(magnitudes))
    worth = bit_variances(CELL, design_modulation(CELL, 8))
    formats, cells, _ = choose_formats(gaussian, worth, design_store(CELL).bits_per_cell)
    shown = [(form, n) for form, n in zip(formats, cells) if n < 3.1]
    left, right = panels(figure, 2)
    for row, (form, _) in enumerate(shown):
        left.barh(row, form.protected, color=COLOURS[6], label="error-free" if row == 3 else None)
        for plane in range(3):
            begin = form.protected + plane * form.raw / 3
            name = f"label bit {plane + 1}" if row == 3 else None
            left.barh(row, form.raw / 3, left=begin, color=COLOURS[plane], label=name)
        left.vlines(np.arange(1, form.bits), row - 0.4, row + 0.4, color="white", lw=1)
    left.set(xlabel="bits of the index, the most significant first", ylabel="cells per weight")
    left.set_yticks(range(len(shown)), [f"{n:.2f}" for _, n in shown])
    left.set(title="where the bits go", xlim=(0, 10.5))
    left.legend(loc="lower right")
    form = next(f for f in formats if (f.bits, f.protected) == (5, 2))
    significance = np.arange(form.bits)
    for plane in range(3):
        added = 4.0**significance * form.step**2 * worth[plane]
        right.plot(significance, added, ":", color=COLOURS[plane])
        at = form.raw - 1 - plane
        right.plot(at, added[at], "o", color=COLOURS[plane], label=f"on label bit {plane + 1}")
    rest = expected_distortion(gaussian, form.bits, 0.0, np.array([form.step]))[0]
    right.axhline(rest, color=GREY, lw=0.8)
    right.text(4, 0.5 * rest, "quantisation", color=GREY)
    right.set(yscale="log", xlabel="significance of the bit", ylabel="expected squared error")
    right.set_title("5 bits, the upper 2 error-free")
    right.xaxis.set_major_locator(MaxNLocator(integer=True))
    right.invert_xaxis()
    right.legend()


def entropy_coded(figure: Figure) -> None:
    """Draw the two quantisers of a trellis, and what real streams lose to the limit."""
    left, middle, right = panels(figure, 3)
    index = np.arange(-3, 4)
    for quantiser in (0, 1):
        values = index - quantiser * np.sign(index) / 2
        left.scatter(
            values, 0 * values + 1 - quantiser, c=[COLOURS[4 * (i % 2)] for i in index], s=25
        )
        for i, value in zip(index, values):
            left.annotate(f"{i}", (value, 1.1 - quantiser), ha="center")
    left.set_yticks([0, 1], ["odd\nstates", "even\nstates"])
    left.set(xlabel="reconstruction, steps", ylim=(-0.5, 1.5), title="values of the indices")
    for state, following in enumerate(Trellis(8).transitions):
        for parity, after in enumerate(following):
            middle.plot([0, 1], [state, after], color=COLOURS[4 * parity], lw=0.9)
    middle.set_xticks([0, 1], ["state", "next state"])
    middle.set(title="parity of the index: even blue, odd red", xlim=(-0.1, 1.1))
    middle.invert_yaxis()
    weights = np.random.default_rng(0).laplace(0, np.sqrt(0.5), (100, 1000)).astype(np.float32)
    grid = np.linspace(-12, 12, 24001)
    density = np.exp(-np.sqrt(2) * np.abs(grid))
    limit = density_curve(
        grid, density / density.sum(), entropy_bits=float(np.log2(np.sqrt(2) * np.e))
    )
    schemes = {"rounding": (1, 0.0), "scalar, D + λR": (1, None), "trellis, D + λR": (8, None)}
    power = float((weights.astype(np.float64) ** 2).mean())
    for number, (name, (states, price)) in enumerate(schemes.items()):
        points = []
        for step in 2.0 ** np.arange(-3, 1.1, 0.5):
            stream = encode(weights, step, trade_off=price, trellis=Trellis(states))
            error = (decode(stream, weights.shape).astype(np.float64) - weights) ** 2
            bits = 8 * len(stream) / weights.size
            lost = 10 * np.log10(error.mean() / power / limit.distortion_at(bits))
            points.append((bits, lost))
        right.plot(*zip(*points), "o-", color=COLOURS[number], markersize=3, label=name)
    right.axhline(0, color="black", ls="--", lw=0.8)
    right.set(xlabel="bits per weight, side information included", ylabel="dB below the limit R(D)")
    right.set_title("real streams, Laplacian weights")
    right.legend()


def strong_digital(figure: Figure) -> None:
    """Draw the laws of the labelled levels and the log-likelihood ratios of the label bits."""
    chosen = design_modulation(CELL, 8)
    rows = CELL.matrix[list(chosen.indices)]
    bits = label_bits(chosen.labels)
    figure.set_size_inches(7, 3.6)
    upper, lower = figure.subplots(2, 1, sharex=True)
    for number, (law, label) in enumerate(zip(rows, bits)):
        colour = COLOURS[number % 7]
        seen = np.flatnonzero(law > 1e-3 * law.max())[::2]
        upper.plot(CELL.readings[seen], law[seen] / law.max(), color=colour)
        peak = CELL.readings[law.argmax()]
        upper.text(peak, 1.05, "".join(map(str, label)), ha="center", color=colour)
    upper.set(ylabel="p(reading | level)", ylim=(0, 1.2), yticks=[])
    information = bit_information(rows, chosen.labels)
    ratios = np.clip(log_likelihood_ratios(rows, bits), -25, 25)
    seen = np.flatnonzero(likely(rows.max(axis=0)))[::3]
    for bit, ratio in enumerate(ratios):
        name = f"bit {bit + 1}: {information[bit]:.3f} bits"
        lower.plot(CELL.readings[seen], ratio[seen], color=COLOURS[bit], label=name)
    lower.axhline(0, color=GREY, lw=0.6)
    lower.set(xlabel=READING, ylabel="log-likelihood ratio")
    lower.legend(loc="center left", bbox_to_anchor=(1, 0.5))


def conventional(figure: Figure) -> None:
    """Draw the four levels with their labels, and the strength that the BCH code needs."""
    store = design_store(CELL)
    left, right = panels(figure, 2)
    for number, level in enumerate(store.indices):
        law = CELL.matrix[level]
        seen = np.flatnonzero(law[1:-1] > 1e-9)[::2] + 1  # without all that lies beyond
        left.semilogy(CELL.readings[seen], law[seen], color=COLOURS[number])
        peak = CELL.readings[law.argmax()]
        left.text(peak, 1.5 * law.max(), f"{store.labels[number]:02b}", ha="center")
    left.set(xlabel=READING, ylabel="p(reading's bin | level)", title="four levels")
    strength = range(1, 13)
    for raw, colour in ((1e-4, COLOURS[4]), (store.raw_bit_error_rate, COLOURS[0])):
        rates = [
            uncorrectable_bit_error_rate(BCH(k=store.k, t=t).n, store.k, t, raw) for t in strength
        ]
        name = f"raw bit error rate {raw:.1e}"
        right.semilogy(strength, rates, "o-", color=colour, markersize=3, label=name)
    right.axhline(UBER, color="black", ls="--", lw=0.8)
    right.set(xlabel="t, errors that a code word survives", ylabel="UBER", ylim=(1e-22, 1))
    right.set_title(f"strength of the code of {store.k} bits")
    right.legend()


DRAWN = (
    *(analog, coarse_to_fine, joint_map, packed),
    *(entropy_coded, fixed_length, strong_digital, conventional),
)
FIGURES = {draw.__name__.replace("_", "-"): draw for draw in DRAWN}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path("docs/figures"))
    parser.add_argument("--only", nargs="+", choices=FIGURES, default=list(FIGURES))
    args = parser.parse_args()
    for name in args.only:
        with rc_context(STYLE):
            figure = Figure(layout="constrained")
            FIGURES[name](figure)
            path = args.folder / f"code-{name}.svg"
            # A date in the file would make every figure another one.
            figure.savefig(path, metadata={"Date": None})
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
