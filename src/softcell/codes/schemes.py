"""The registry of storage schemes: which code, which store, and what a user may ask of them.

A scheme of one's own is one entry: `SCHEMES["mine"] = Scheme("mine", "mine")`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from softcell.errors import InputError

PROTECTIONS = {
    "inversion": "levels follow the inverse of the cell's mean response",
    "sign": "signs are stored error-free",
    "adaptive": "the range follows the weights and takes the part of the cell that suits them",
    "sparsity": "mask and signs are stored error-free; large weights have a range of their own",
    "sensitivity": "cells go to the rows that the loss feels most",
}
"""Protections of the analog code; any set of them, joined by +, is a scheme."""


@dataclass(frozen=True)
class Scheme:
    """How tensors are stored.

    Args:
        name: As `parse_scheme` understands it.
        kind: How its matrices are stored: a family of codes, or a number format.
        store: Kind of its digital store: "hard" for hard decisions, "soft" for soft ones.
        takes_cells: Whether it takes a number of cells; otherwise it has its own.
        least_cells: Fewest cells per weight that can be asked for, whatever the network.
        look_up: Weights are decoded by a table of posterior means, which can be designed for a span
            of ages, and for a decoder that is not told the age.
        takes_feedback: Its matrices can be written through the feedback loop.
        decoder: What decodes a weight: "table", a look-up of its cells' readings, or "full", the
            error correction or entropy coding of all weights.
        digital: Whether all is stored error-free, so that every chip gives the same weights.
        uses_sensitivity: Whether its plan asks what the loss feels of each row.
        protections: Protections of the analog code.
    """

    name: str
    kind: str
    store: str = "hard"
    takes_cells: bool = True
    least_cells: float = 1.0
    look_up: bool = False
    takes_feedback: bool = True
    decoder: str = "full"
    digital: bool = False
    uses_sensitivity: bool = True
    protections: frozenset[str] = frozenset()

    def has(self, protection: str) -> bool:
        """Return whether the analog code has a protection."""
        return protection in self.protections


def _conventional(name: str) -> Scheme:
    """Return the scheme of a number format: every weight in it, stored error-free."""
    return Scheme(
        name,
        name,
        takes_cells=False,
        takes_feedback=False,
        digital=True,
        uses_sensitivity=False,
    )


def _analog(name: str, *protections: str) -> Scheme:
    """Return a scheme of the analog code."""
    chosen = frozenset(protections)
    return Scheme(
        name,
        "analog",
        # A mask of the zeros may leave fewer weights than there would be cells.
        least_cells=0.0 if "sparsity" in chosen else 1.0,
        decoder="full" if "sign" in chosen else "table",
        uses_sensitivity="sensitivity" in chosen,
        protections=chosen,
    )


CONVENTIONAL = ("float32", "float16", "int8")
"""Number formats on error-corrected cells."""

SCHEMES: dict[str, Scheme] = {
    scheme.name: scheme
    for scheme in (
        *(_conventional(name) for name in CONVENTIONAL),
        # The paper's story: each scheme adds a protection to the one before.
        _analog("naive"),
        _analog("inversion", "inversion"),
        _analog("inversion+sign", "inversion", "sign"),
        _analog("inversion+sign+adaptive", "inversion", "sign", "adaptive"),
        _analog("inversion+sign+adaptive+sparsity", "inversion", "sign", "adaptive", "sparsity"),
        _analog("combined", *PROTECTIONS),
        # Robust cells for the part of the range and one more for the place in it.
        Scheme("coarse-to-fine", "coarse-to-fine", look_up=True, decoder="table"),
        # The same with the part stored error-free.
        Scheme("hybrid", "coarse-to-fine", look_up=True),
        # One cell for each weight, or two that hold it together.
        Scheme("joint-map", "joint-map", look_up=True, decoder="table"),
        # No, half a, one or several cells for each weight of a row, made for feedback.
        Scheme("packed", "packed", least_cells=0.0, look_up=True, decoder="table"),
        # Indices of equal length for all weights of a row, their lower bits unprotected.
        Scheme("fixed-length", "fixed-length", takes_feedback=False),
        # Quantised, entropy-coded and error-free.
        Scheme("entropy-coded", "entropy-coded", least_cells=0.0, digital=True),
        # The same with soft decisions and an LDPC code: the strongest digital storage.
        Scheme("strong-digital", "entropy-coded", "soft", least_cells=0.0, digital=True),
    )
}
"""Schemes by name, in the order in which a comparison shows them."""

DEFAULT = "combined"
"""Scheme of a network that is written without a feedback loop, unless another is named."""

LOOP_DEFAULT = "packed"
"""Scheme of one that goes through it, and of a search for decoding by look-up alone."""

LOOK_UP_DEFAULT = "coarse-to-fine"
"""Scheme of a search for look-up alone where cells cannot be read while they are written."""

STRONGEST = "strong-digital"
"""Scheme of fewest cells, which the search begins with and training is for."""


def parse_scheme(text: str) -> Scheme:
    """Return the scheme of a name.

    Args:
        text: One of `SCHEMES`, or protections of the analog code joined by "+". Every protection
            implies inversion; sparsity implies sign.

    Raises:
        InputError: An unknown name.

    Example:
        >>> sorted(parse_scheme("sign+adaptive").protections)
        ['adaptive', 'inversion', 'sign']
    """
    if text in SCHEMES:
        return SCHEMES[text]
    chosen = set(text.split("+"))
    if chosen - set(PROTECTIONS):
        raise InputError(
            f"unknown scheme {text!r}; known: {', '.join(_named())}, or any of "
            f"{', '.join(PROTECTIONS)} joined by +"
        )
    chosen.add("inversion")
    if "sparsity" in chosen:
        chosen.add("sign")
    return _analog(text, *chosen)


def schemes_that(*, look_up: bool | None = None, takes_feedback: bool | None = None) -> str:
    """Return the names of the schemes with these properties, for a message.

    Example:
        >>> schemes_that(look_up=True)
        'coarse-to-fine, hybrid, joint-map, packed'
    """
    wanted = {"look_up": look_up, "takes_feedback": takes_feedback}
    asked = {name: value for name, value in wanted.items() if value is not None}
    return ", ".join(
        name
        for name in _named()
        if all(getattr(SCHEMES[name], each) == value for each, value in asked.items())
    )


def scheme_names() -> str:
    """Return what can be named as a scheme, for help: names, and what is joined by +."""
    return f"{', '.join(_named())}; or any of {', '.join(PROTECTIONS)} joined by +"


def _named() -> Iterator[str]:
    """Yield the names of schemes, those that are protections joined by + left out."""
    return (name for name in SCHEMES if set(name.split("+")) - set(PROTECTIONS))
