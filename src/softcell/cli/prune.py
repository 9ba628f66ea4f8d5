"""softcell prune: the weights that matter least become zeros."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from softcell.cli.experiment import read_network
from softcell.cli.options import JsonFlag, SensitivityOption, listed
from softcell.cli.output import print_facts, print_json, require_writable
from softcell.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

KeepOption = Annotated[
    str, typer.Option("--keep", metavar="NAME,...", help="Tensors to leave as they are.")
]
_Saliency = Literal["magnitude", "fisher"]


def prune(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Safetensors file.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Safetensors file to write.")
    ],
    fraction: Annotated[
        float, typer.Option("--fraction", help="Part of the matrices' weights to remove.")
    ] = 0.5,
    saliency: Annotated[
        _Saliency | None,
        typer.Option(
            "--saliency",
            help="What says how little a weight matters: its size, or the Fisher information times "
            "its square; by default fisher where --sensitivity or --feedback brings it.",
        ),
    ] = None,
    sensitivity: SensitivityOption = None,
    feedback: Annotated[
        Path | None,
        typer.Option(
            "--feedback",
            metavar="FILE",
            help="Let the weights that stay absorb the error, by what `softcell calibrate` found "
            "of the network.",
        ),
    ] = None,
    keep: KeepOption = "",
    as_json: JsonFlag = False,
) -> None:
    """Set the weights that matter least to zero.

    One threshold holds for all matrices of the network; vectors are left alone. The
    schemes with `sparsity` store a mask and give zeros no cell.

    Example:
      softcell prune model.safetensors --fraction 0.3 -o pruned.safetensors
      softcell prune model.safetensors --sensitivity fisher.safetensors -o pruned.safetensors
      softcell prune model.safetensors --feedback calibration.safetensors -o pruned.safetensors
    """
    from softcell.compress import weight_matrices

    require_writable(output, model, sensitivity, feedback)
    pruned = _pruned(
        read_network(model), fraction, saliency, sensitivity, feedback, tuple(listed(keep))
    )
    write_network(output, model, pruned)
    matrices = weight_matrices(pruned).values()
    zeros = sum(int((values == 0).sum()) for values in matrices)
    total = sum(values.size for values in matrices)
    if as_json:
        print_json({"output": str(output), "zeros": zeros, "weights_in_matrices": total})
        return
    print_facts([("output", str(output)), ("zeros", f"{zeros:,} of {total:,} weights in matrices")])


def write_network(output: Path, like: Path, state: Mapping[str, Any]) -> None:
    """Write tensors in the order, the number formats and with the metadata of another file."""
    from softcell.weights import WeightsReader, WeightsWriter

    with WeightsReader(like) as weights:
        infos, texts = [weights.info(name) for name in weights.names], weights.metadata
    with WeightsWriter(output, infos, texts) as writer:
        for info in infos:
            writer.write(info.name, state[info.name])
        writer.finish()


def _pruned(
    state: dict[str, Any],
    fraction: float,
    saliency: _Saliency | None,
    sensitivity: Path | None,
    feedback: Path | None,
    keep: tuple[str, ...],
) -> dict[str, Any]:
    from softcell.compress import prune_absorbing, prune_magnitude, prune_saliency
    from softcell.curvature import load_calibration, load_fisher

    if saliency == "magnitude" and sensitivity is not None:
        raise InputError("--sensitivity is for --saliency fisher; leave one of them out")
    calibration = None if feedback is None else load_calibration(feedback)
    fisher = {} if calibration is None else calibration.fisher
    fisher = fisher if sensitivity is None else load_fisher(sensitivity)
    if saliency == "fisher" and not fisher:
        raise InputError(
            "--saliency fisher takes Fisher information; give it with --sensitivity FILE, or a "
            "--feedback FILE of the kind fisher"
        )
    by_size = saliency == "magnitude" or not fisher
    if calibration is not None and by_size:
        return prune_absorbing(state, fraction, calibration, exponent=0, keep=keep)
    if calibration is not None:
        return prune_absorbing(state, fraction, calibration, fisher=fisher, keep=keep)
    if by_size:
        return prune_magnitude(state, fraction, keep=keep)
    return prune_saliency(state, fraction, fisher, keep=keep)
