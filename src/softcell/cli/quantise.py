"""softcell quantise: the weights of a matrix share a few values."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from softcell.cli.experiment import read_network
from softcell.cli.options import JsonFlag, SensitivityOption, listed
from softcell.cli.output import print_facts, print_json, require_writable
from softcell.cli.prune import KeepOption, write_network


def quantise(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Safetensors file.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Safetensors file to write.")
    ],
    bits: Annotated[
        int, typer.Option("--bits", help="Bits of an index: a matrix has at most 2^bits values.")
    ] = 4,
    sensitivity: SensitivityOption = None,
    feedback: Annotated[
        Path | None,
        typer.Option(
            "--feedback",
            metavar="FILE",
            help="Choose values in the feedback loop, by what `softcell calibrate` found of the "
            "network: weights still to be chosen make up for those that are.",
        ),
    ] = None,
    keep: KeepOption = "",
    as_json: JsonFlag = False,
) -> None:
    """Let the weights of each matrix share a few values.

    Code books of k-means; vectors are left alone, and zeros stay zero, so that a pruned network
    stays pruned. With --sensitivity the weights that the loss feels most are kept best.

    Example:
      softcell quantise model.safetensors --bits 4 -o shared.safetensors
      softcell quantise model.safetensors --sensitivity fisher.safetensors -o shared.safetensors
      softcell quantise model.safetensors --feedback calibration.safetensors -o shared.safetensors
    """
    import numpy as np

    from softcell.compress import kmeans_codebook
    from softcell.curvature import load_calibration, load_fisher

    require_writable(output, model, sensitivity, feedback)
    state = read_network(model)
    felt = None if sensitivity is None else load_fisher(sensitivity)
    known = None if feedback is None else load_calibration(feedback)
    shared, books = kmeans_codebook(
        state, bits, sensitivity=felt, calibration=known, keep=listed(keep)
    )
    write_network(output, model, shared)
    weights = sum(state[name].size for name in books)
    power = sum(float(np.square(state[n], dtype=np.float64).sum()) for n in books)
    error = sum(float(np.square(shared[n] - state[n], dtype=np.float64).sum()) for n in books)
    ratio = 10 * float(np.log10(power / error)) if power and error else None
    values = sum(book.size for book in books.values())
    if as_json:
        print_json(
            {
                "output": str(output),
                "bits": bits,
                "matrices": len(books),
                "weights_in_matrices": weights,
                "values": values,
                "signal_to_distortion_db": ratio,
            }
        )
        return
    print_facts(
        [
            ("output", str(output)),
            ("code books", f"{values:,} values for {weights:,} weights in {len(books)} matrices"),
            ("error", "none" if ratio is None else f"{ratio:.1f} dB below the weights"),
        ]
    )
