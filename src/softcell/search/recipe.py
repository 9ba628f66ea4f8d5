"""What the search chooses besides the number of cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from softcell.allocate import Procedure
from softcell.codes.entropy.plan.curves import Quantiser
from softcell.codes.schemes import LOOP_DEFAULT, STRONGEST, parse_scheme
from softcell.errors import InputError

_SHARE = 0.5
"""Share of the shift layer after layer that is tried: half of it serves best."""

_PRUNED = 0.3
"""Part of the weights that is pruned where that is tried."""

DECODERS = ("any", "table")
"""What may decode a weight: anything, or a look-up of its cells' readings alone."""


@dataclass(frozen=True)
class Recipe:
    """How a network is stored, apart from the number of cells.

    Args:
        scheme: The code.
        states: States of the trellis that weights are quantised by in the loop; 1 for rounding.
        trade_off: Price of a bit when they are: the larger, the more weights are zero.
        vector_bits: Bits of a number in vectors, 16 or 12.
        sequential: Share of the shift by which each layer makes up for what the stored layers
            before it do to its inputs, from 0 to 1.
        sparsity: Part of the matrices' weights that is pruned first, those that stay making up for
            it; from 0 to below 1.
        by_row: Each row has the steps that its own sensitivity asks for; otherwise those of a
            matrix (of a group in it) are alike.
        corrected: Sensitivities are corrected by what errors in groups of layers were measured to
            do.
        verify_reads: Verifying reads of each cell that the loop programs.

    Raises:
        InputError: A value is out of range.
    """

    scheme: str = STRONGEST
    states: int = 8
    trade_off: float = 0.02
    vector_bits: int = 16
    sequential: float = 0.0
    sparsity: float = 0.0
    by_row: bool = True
    corrected: bool = False
    verify_reads: int = 1

    def __post_init__(self) -> None:
        parse_scheme(self.scheme)
        if self.vector_bits not in (12, 16) or not 0 <= self.sequential <= 1:
            raise InputError(
                "expected vector_bits of 12 or 16 and sequential from 0 to 1, got "
                f"{self.vector_bits} and {self.sequential}"
            )
        if not 0 <= self.sparsity < 1:
            raise InputError(f"expected a sparsity from 0 to below 1, got {self.sparsity}")
        if not 0 <= self.trade_off < 10 or self.verify_reads < 1:
            raise InputError(
                "expected trade_off from 0 to 10 and verify_reads from 1, got "
                f"{self.trade_off} and {self.verify_reads}"
            )

    @property
    def quantiser(self) -> Quantiser:
        """How weights are quantised in the loop."""
        return Quantiser(self.states, self.trade_off)

    @property
    def digital(self) -> bool:
        """Whether all is stored error-free, so that every chip gives the same weights."""
        return parse_scheme(self.scheme).digital

    def procedure(self, *, loop: bool) -> Procedure:
        """Return how a network is written by this recipe, through the feedback loop or not."""
        if not loop:
            return Procedure()
        return Procedure(
            loop=True,
            verify_reads=self.verify_reads,
            sequential=self.sequential,
            sparsity=self.sparsity,
        )

    def __str__(self) -> str:
        parts = [self.scheme]
        if self.digital:
            parts.append(f"bits at {self.trade_off:g}")
        parts += [f"{self.vector_bits}-bit vectors"] if self.vector_bits != 16 else []
        parts += [f"{100 * self.sparsity:g} % pruned"] if self.sparsity else []
        parts += ["layer after layer"] if self.sequential else []
        parts += [] if self.by_row else ["steps by tensor"]
        parts += ["corrected sensitivity"] if self.corrected else []
        parts += [f"{self.verify_reads} verifying reads"] if self.verify_reads > 1 else []
        return ", ".join(parts)


def first_recipe(decoder: str) -> Recipe:
    """Return the recipe that a search begins with.

    Raises:
        InputError: There is no such decoder.
    """
    if decoder not in DECODERS:
        raise InputError(f"the decoder is one of {', '.join(DECODERS)}, got {decoder!r}")
    return Recipe(STRONGEST if decoder == "any" else LOOP_DEFAULT)


def variations(recipe: Recipe, *, loop: bool, module: bool) -> list[dict[str, Any]]:
    """Return changes that are worth a try, one after the other, each on top of those that helped.

    Args:
        recipe: The recipe so far.
        loop: Whether the network goes through the feedback loop.
        module: Whether its module and inputs are at hand.
    """
    changes: list[dict[str, Any]] = []
    if module:
        changes.append({"sequential": _SHARE})
    if loop:
        changes.append({"vector_bits": 12})
    if module:
        changes.append({"corrected": True})
    if recipe.digital and loop:
        changes += [
            {"by_row": False},
            {"trade_off": 0.0},
            {"trade_off": 0.06},
            {"sparsity": _PRUNED},
        ]
    if recipe.digital:
        return changes
    return [*changes, {"verify_reads": 4}] if loop else changes
