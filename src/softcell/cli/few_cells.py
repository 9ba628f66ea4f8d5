"""What `softcell train --target-cells` takes and tells."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softcell.cli.options import DEFAULT_DEVICE
from softcell.cli.output import print_facts, print_json, print_note
from softcell.errors import InputError

if TYPE_CHECKING:
    from softcell.training.trained_network import TrainedNetwork


_KINDS: dict[str, Callable[[str], Any]] = {
    "float": float,
    "int": int,
    "str": str,
    "bool": lambda text: {"true": True, "false": False}[text.lower()],
    "tuple[str, ...]": lambda text: tuple(text.split(",")),
}
"""What reads a setting, by its type."""


def changed_settings(texts: list[str]) -> dict[str, Any]:
    """Return settings of `--set NAME=VALUE`, of the types that they have.

    Raises:
        InputError: There is no such setting, or the value is of another type.
    """
    from softcell.training.settings import FewCells

    kinds = {f.name: f.type for f in fields(FewCells)}
    found: dict[str, Any] = {}
    for text in texts:
        name, _, value = text.partition("=")
        if name not in kinds or name == "cells":
            known = ", ".join(n for n in kinds if n != "cells")
            raise InputError(f"--set {text}: no setting {name!r}; there are: {known}")
        try:
            found[name] = _KINDS[str(kinds[name])](value)
        except (ValueError, KeyError):
            raise InputError(f"--set {text}: {value!r} is no {kinds[name]}") from None
    return found


def command_again(
    what: list[str],
    cells: float,
    device: str,
    age: str,
    epochs: float | None,
    teachers: list[str] | None,
    changes: list[str] | None,
    seed: int,
) -> str:
    """Return the command that does the same again, given the words that say what is trained."""
    parts = ["softcell", "train", *what, "--target-cells", f"{cells:g}"]
    parts += ["--device", device] if device != DEFAULT_DEVICE else []
    parts += ["--age", age] if age != "0" else []
    parts += ["--epochs", f"{epochs:g}"] if epochs is not None else []
    for model_name in teachers or []:
        parts += ["--teacher", model_name]
    for text in changes or []:
        parts += ["--set", text]
    return shlex.join([*parts, "--seed", str(seed)])


def tell(
    path: Path,
    network: TrainedNetwork,
    wanted: float,
    accuracy: float | None,
    clean: float | None,
    *,
    images: int,
    as_json: bool,
) -> None:
    """Print what is told of a trained network.

    Args:
        path: Its file.
        network: The network.
        wanted: Cells per weight that were asked for.
        accuracy: Accuracy of it; None if it is not known.
        clean: Accuracy of the float network; or None.
        images: Images that it was measured on; 0 if a user's function did it.
        as_json: Print JSON.
    """
    cells = float(network.plan.target or 0)
    if cells > wanted:
        print_note(
            f"note: it takes {cells:.4f} cells per weight, not {wanted:g}: train longer "
            "(--epochs), or for fewer"
        )
    plan = path.with_suffix(".json")
    if as_json:
        print_json(
            {
                "output": str(path),
                "plan": str(plan),
                "task": network.task,
                "model": network.model,
                "seed": network.seed,
                "cells_per_weight": cells,
                "accuracy": accuracy,
                "float_accuracy": clean,
                "images": images,
                "log": list(network.log),
            }
        )
        return
    use = f"softcell evaluate {path} --plan {plan}"
    if not network.task:
        use = f"softcell write {path} --plan {plan}"
    facts = [
        ("network", f"{path}, {path.stat().st_size:,} bytes"),
        ("plan", f"{plan}: {use}"),
        ("cells per weight", f"{cells:.4f}"),
    ]
    if accuracy is not None and clean is not None:
        of = f" of {images:,} test images" if images else ""
        facts += [
            ("accuracy", f"{100 * accuracy:.2f} %{of}"),
            ("float weights", f"{100 * clean:.2f} %"),
        ]
    print_facts(facts)
