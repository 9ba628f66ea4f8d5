"""softcell calibrate: how much each weight of a task's network matters."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from softcell.cli.options import DEFAULT_TASK, JsonFlag, ModelOption, TaskOption
from softcell.cli.output import print_facts, print_json, require_writable
from softcell.cli.progress import counting, progress_bars


def calibrate(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FISHER", help="Safetensors file to write.")
    ],
    task: TaskOption = DEFAULT_TASK,
    model: ModelOption = None,
    images: Annotated[
        int, typer.Option("--images", min=1, help="Number of calibration images.")
    ] = 2000,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Which images, and the estimate's randomness.")
    ] = 0,
    as_json: JsonFlag = False,
) -> None:
    """Estimate how much each weight of a task's network matters.

    The diagonal Fisher information on calibration images is what `write --sensitivity` takes.

    Example:
      softcell calibrate --task cifar10 --model resnet20 --images 2000 -o fisher.safetensors
      softcell write model.safetensors --sensitivity fisher.safetensors -o model.cells
    """
    from softcell.curvature import save_fisher
    from softcell.evaluate.sensitivity import task_fisher
    from softcell.evaluate.tasks import load_task

    require_writable(output)
    with progress_bars() as progress:
        loaded = load_task(task, model, progress=counting(progress, "training"))
        fisher = task_fisher(
            loaded, count=images, seed=seed, progress=counting(progress, "calibration images")
        )
    save_fisher(output, fisher)
    weights = sum(values.size for values in fisher.values())
    if as_json:
        print_json(
            {
                "output": str(output),
                "task": loaded.name,
                "model": loaded.model,
                "images": images,
                "tensors": len(fisher),
                "weights": weights,
            }
        )
        return
    print_facts(
        [
            ("fisher", f"{output}, {weights:,} weights in {len(fisher)} tensors"),
            ("network", f"{loaded.name} {loaded.model}, on {images:,} images"),
        ]
    )
