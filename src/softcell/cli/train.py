"""softcell train: the small networks, trained once and kept."""

from __future__ import annotations

from typing import Annotated

import typer

from softcell.cli.options import DEFAULT_TASK, JsonFlag, ModelOption, TaskOption
from softcell.cli.output import print_facts, print_json
from softcell.cli.progress import counting, progress_bars


def train(
    task: TaskOption = DEFAULT_TASK,
    model: ModelOption = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Initial weights, order and shifts of the images.")
    ] = 0,
    as_json: JsonFlag = False,
) -> None:
    """Train a small network and keep it in the cache folder.

    The networks of the digits and of MNIST are trained here. Other commands take that of seed 0,
    and train it themselves if it is not there. SOFTCELL_CACHE names the folder.

    Example:
      softcell train --task mnist --model lenet5
    """
    from softcell.curvature.tensor_file import read_tensors
    from softcell.evaluate.tasks import TASKS, load_task
    from softcell.evaluate.training import train as train_network

    chosen = model or next(iter(TASKS.get(task, {})), "")
    with progress_bars() as progress:
        path = train_network(task, chosen, seed=seed, progress=counting(progress, "training"))
        loaded = load_task(task, chosen)
        accuracy = loaded.evaluate(read_tensors(path)[0])
    if as_json:
        print_json(
            {
                "output": str(path),
                "task": loaded.name,
                "model": loaded.model,
                "seed": seed,
                "accuracy": accuracy,
                "images": loaded.images,
            }
        )
        return
    print_facts(
        [
            ("network", str(path)),
            ("accuracy", f"{100 * accuracy:.2f} % of {loaded.images:,} test images"),
        ]
    )
