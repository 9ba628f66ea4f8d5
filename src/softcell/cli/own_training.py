"""A user's own network, its loader and its loss, trained for few cells."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softcell.cli.experiment import read_network
from softcell.cli.own_network import loaded_module, own_inputs, own_module
from softcell.errors import InputError
from softcell.own_code import guarded, imported

if TYPE_CHECKING:
    from torch import Tensor, nn

    from softcell.training.settings import FewCells
    from softcell.training.trained_network import TrainedNetwork

Accuracies = Callable[[], tuple[float | None, float | None]]
"""Gives the accuracy of a trained network and of the float one, None where it is not known."""


@dataclass(frozen=True)
class OwnTraining:
    """What the command line says of a network of the user's own.

    Args:
        network: Safetensors file of its weights; None for those that its function loads.
        module: `module:function` that makes it.
        inputs: Safetensors file of inputs.
        loader: `module:function` that makes the loader; None to train on the inputs.
        loss: `module:function` that is the loss; None to distil the network itself.
        evaluate: `module:function` that says how good tensors by name are; or None.

    Raises:
        InputError: There is no module, or nothing to train on.
    """

    network: Path | None = None
    module: str | None = None
    inputs: Path | None = None
    loader: str | None = None
    loss: str | None = None
    evaluate: str | None = None

    def __post_init__(self) -> None:
        if not self.given:
            return
        if self.module is None:
            raise InputError(
                "MODEL, --inputs, --loader, --loss and --evaluate are of a network of your own; "
                "name the function that makes it with --module"
            )
        if self.inputs is None and self.loader is None:
            raise InputError("train it on what? Give --loader, or --inputs without labels")
        if self.loss is not None and self.loader is None:
            raise InputError("a loss takes labels; give --loader, which brings them")

    @property
    def given(self) -> bool:
        """Whether there is such a network, and no task."""
        return any(each is not None for each in vars(self).values())

    def words(self) -> list[str]:
        """Return the arguments of the command line that say the same again."""
        words = [] if self.network is None else [str(self.network)]
        for name, value in vars(self).items():
            if name != "network" and value is not None:
                words += [f"--{name}", str(value)]
        return words

    def train(self, settings: FewCells, **options: Any) -> tuple[TrainedNetwork, Accuracies]:
        """Train it.

        Args:
            settings: The settings.
            options: Further arguments of `train_for_cells`.

        Returns:
            The trained network, and what asks `evaluate` of it and of the float one.

        Raises:
            InputError: A function is missing or failed, or what `train_for_cells` raises.
        """
        from softcell.training.own_network import train_for_cells

        code = {"--module": self.module, "--loader": self.loader, "--loss": self.loss}
        named = ", ".join(f"{option} {name}" for option, name in code.items() if name)
        made = self._made()
        given = None if self.inputs is None else own_inputs(self.inputs, made, None)
        loader: Any = given
        if self.loader is not None:
            loader = guarded(imported(self.loader, "--loader"), f"--loader {self.loader}")
        loss = None if self.loss is None else imported(self.loss, "--loss")
        evaluate = self._evaluate()
        trained = guarded(
            lambda: train_for_cells(
                *(made, loader, settings), loss=loss, inputs=given, evaluate=evaluate, **options
            ),
            named,
        )

        def accuracies() -> tuple[float | None, float | None]:
            if evaluate is None:
                return None, None
            stored = copy.deepcopy(made)
            stored.load_state_dict(trained.state_dict(), strict=False)
            return evaluate(stored.state_dict()), evaluate(made.state_dict())

        return trained, accuracies

    def _made(self) -> nn.Module:
        module = str(self.module)
        if self.network is None:
            return own_module(module)
        return loaded_module(module, read_network(self.network))

    def _evaluate(self) -> Callable[[dict[str, Tensor]], float] | None:
        if self.evaluate is None:
            return None
        from softcell.evaluate.statistics import figure_of_merit

        function, what = imported(self.evaluate, "--evaluate"), f"--evaluate {self.evaluate}"
        return lambda state: figure_of_merit(guarded(lambda: function(state), what))
