"""How a planned network is written."""

from __future__ import annotations

from dataclasses import dataclass

from softcell.errors import InputError

MOST_READS = 1000
"""Verifying reads of a cell: of so many the mean is 30 times as sure as of one."""


@dataclass(frozen=True)
class Procedure:
    """How a network is written by its plan: what is compressed before, and what is read back.

    Args:
        loop: Matrices go through the feedback loop: they are written column by column, and each
            column is read back before the next.
        feedback: In the loop, columns still to be written absorb the error of those before; False
            for an open loop.
        verify_reads: Verifying reads of each cell that the loop programs, which are averaged.
        corrected: The drift of activations is corrected, as far as the network's module and inputs
            are at hand.
        sequential: Share of the shift by which each layer makes up for what the stored layers
            before it do to its inputs, from 0 to 1; above 0 the loop writes layer after layer.
        sparsity: Part of the matrices' weights that is pruned first, those that stay making up for
            it; from 0 to below 1.

    Raises:
        InputError: A value is out of range.
    """

    loop: bool = False
    feedback: bool = True
    verify_reads: int = 1
    corrected: bool = True
    sequential: float = 0.0
    sparsity: float = 0.0

    def __post_init__(self) -> None:
        if not 1 <= self.verify_reads <= MOST_READS:
            raise InputError(
                f"expected at least 1 verifying read and at most {MOST_READS}, got "
                f"{self.verify_reads}"
            )
        if not 0 <= self.sequential <= 1:
            raise InputError(f"expected sequential from 0 to 1, got {self.sequential}")
        if not 0 <= self.sparsity < 1:
            raise InputError(f"expected a sparsity from 0 to below 1, got {self.sparsity}")

    @property
    def name(self) -> str:
        """Name of this way into the cells, as results have it; "" without the loop."""
        if not self.loop:
            return ""
        if self.feedback:
            return "closed" if self.corrected else "closed, uncorrected"
        return "open, corrected" if self.corrected else "open"
