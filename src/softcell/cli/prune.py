"""softcell prune: the smallest weights become zeros."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from softcell.cli.experiment import read_network
from softcell.cli.options import JsonFlag
from softcell.cli.output import print_facts, print_json


def prune(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Safetensors file.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Safetensors file to write.")
    ],
    fraction: Annotated[
        float, typer.Option("--fraction", help="Part of the matrices' weights to remove.")
    ] = 0.5,
    as_json: JsonFlag = False,
) -> None:
    """Set the smallest weights of a network's matrices to zero.

    One threshold holds for the whole network; vectors are left alone. The schemes with `sparsity`
    store a mask and give zeros no cell.

    Example:
      softcell prune model.safetensors --fraction 0.3 -o pruned.safetensors
    """
    from softcell.compress import prune_magnitude
    from softcell.weights import WeightsReader, WeightsWriter

    pruned = prune_magnitude(read_network(model), fraction)
    with WeightsReader(model) as weights:
        infos = [weights.info(name) for name in weights.names]
    with WeightsWriter(output, infos) as writer:
        for info in infos:
            writer.write(info.name, pruned[info.name])
        writer.finish()
    matrices = [
        values for values in pruned.values() if values.ndim > 1 and values.dtype.kind == "f"
    ]
    zeros = sum(int((values == 0).sum()) for values in matrices)
    total = sum(values.size for values in matrices)
    if as_json:
        print_json({"output": str(output), "zeros": zeros, "weights_in_matrices": total})
        return
    print_facts([("output", str(output)), ("zeros", f"{zeros:,} of {total:,} weights in matrices")])
