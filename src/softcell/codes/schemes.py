"""Storage schemes by name: conventional formats, and the analog code with its protections."""

from __future__ import annotations

from dataclasses import dataclass

from softcell.codes.number.formats import FORMATS
from softcell.errors import InputError

PROTECTIONS = {
    "inversion": "levels follow the inverse of the cell's mean response",
    "sign": "signs are stored error-free",
    "adaptive": "the range follows the weights and takes the part of the cell that suits them",
    "sparsity": "mask and signs are stored error-free; large weights have a range of their own",
    "sensitivity": "cells go to the rows that the loss feels most",
}
"""Protections of the analog code; any set of them, joined by +, is a scheme."""

CUMULATIVE = (
    "naive",
    "inversion",
    "inversion+sign",
    "inversion+sign+adaptive",
    "inversion+sign+adaptive+sparsity",
    "combined",
)
"""The paper's story: each scheme adds a protection to the one before."""

CONVENTIONAL = tuple(FORMATS)

COARSE_TO_FINE = "coarse-to-fine"
"""Scheme of robust cells for the part of the range and one more for the place in it."""

HYBRID = "hybrid"
"""The same with the part stored error-free."""

JOINT_MAP = "joint-map"
"""Scheme of one cell for each weight, or two that hold it together."""

ENTROPY_CODED = "entropy-coded"
"""Scheme of quantised, entropy-coded and error-free stored weights."""

STRONG_DIGITAL = "strong-digital"
"""The same with soft decisions and an LDPC code: the strongest digital storage."""

FIXED_LENGTH = "fixed-length"
"""Scheme of indices of equal length for all weights of a row, their lower bits unprotected."""

PACKED = "packed"
"""Scheme of no, half a, one or several cells for each weight of a row, made for feedback."""

CODED = (COARSE_TO_FINE, HYBRID, JOINT_MAP, PACKED, FIXED_LENGTH, ENTROPY_CODED, STRONG_DIGITAL)
"""Schemes that are a code of their own and take a number of cells."""

SCHEMES = (*CONVENTIONAL, *CUMULATIVE, *CODED)
"""What a comparison shows unless it is told otherwise."""


@dataclass(frozen=True)
class Scheme:
    """How tensors are stored.

    Args:
        name: As `parse_scheme` understands it.
        number_format: Conventional format of every weight, or None for the analog code.
        protections: Protections of the analog code.
    """

    name: str
    number_format: str | None = None
    protections: frozenset[str] = frozenset()

    def has(self, protection: str) -> bool:
        """Return whether the analog code has a protection."""
        return protection in self.protections

    @property
    def kind(self) -> str:
        """How its matrices are stored: the kind of their tensors in an image."""
        if self.coarse_to_fine:
            return COARSE_TO_FINE
        if self.name in (JOINT_MAP, PACKED, FIXED_LENGTH):
            return self.name
        return ENTROPY_CODED if self.entropy_coded else "analog"

    @property
    def entropy_coded(self) -> bool:
        """Whether matrices are quantised, entropy-coded and stored error-free."""
        return self.name in (ENTROPY_CODED, STRONG_DIGITAL)

    @property
    def soft(self) -> bool:
        """Whether the digital store decodes by soft decisions."""
        return self.name == STRONG_DIGITAL

    @property
    def look_up(self) -> bool:
        """Whether weights are decoded by a table of posterior means, whatever ages it is for."""
        return self.coarse_to_fine or self.name in (JOINT_MAP, PACKED)

    @property
    def takes_feedback(self) -> bool:
        """Whether its matrices can be written through the feedback loop."""
        return self.number_format is None and self.name != FIXED_LENGTH

    @property
    def decoder(self) -> str:
        """What decodes a weight: "table", a look-up of its cells' readings, or "full", the error
        correction or entropy coding of all weights.
        """
        stored = self.name in (HYBRID, FIXED_LENGTH) or self.has("sign")
        full = self.number_format is not None or self.entropy_coded or stored
        return "full" if full else "table"

    @property
    def coarse_to_fine(self) -> bool:
        """Whether matrices are stored by coarse-to-fine maps."""
        return self.name in (COARSE_TO_FINE, HYBRID)


def parse_scheme(text: str) -> Scheme:
    """Return the scheme of a name.

    Args:
        text: "float32", "float16", "int8"; "naive" for the analog code without protection,
            "combined" for all protections, or protections joined by "+". Every protection
            implies inversion; sparsity implies sign. "coarse-to-fine", "hybrid",
            "joint-map", "fixed-length", "entropy-coded" and "strong-digital" are codes of their
            own.

    Raises:
        InputError: An unknown name.

    Example:
        >>> sorted(parse_scheme("sign+adaptive").protections)
        ['adaptive', 'inversion', 'sign']
    """
    if text in CONVENTIONAL:
        return Scheme(text, number_format=text)
    if text in ("naive", *CODED):
        return Scheme(text)
    if text == "combined":
        return Scheme(text, protections=frozenset(PROTECTIONS))
    chosen = set(text.split("+"))
    unknown = sorted(chosen - set(PROTECTIONS))
    if unknown:
        raise InputError(
            f"unknown scheme {text!r}; known: {', '.join(CONVENTIONAL)}, naive, combined, "
            f"{', '.join(CODED)}, or any of {', '.join(PROTECTIONS)} joined by +"
        )
    chosen.add("inversion")
    if "sparsity" in chosen:
        chosen.add("sign")
    return Scheme(text, protections=frozenset(chosen))
