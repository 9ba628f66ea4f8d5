"""The registry of codes: what images and plans name, and where it is.

A code of one's own is one entry: `FAMILIES["mine"] = Family(MyCode, plan_of_mine)`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from softcell.errors import FormatError

if TYPE_CHECKING:
    from softcell.allocate.setting import Setting
    from softcell.codes.code import Code

RAW = "raw"
"""Kind of a tensor that is stored as it is, byte by byte."""


@dataclass(frozen=True)
class Family:
    """Codes of one kind.

    Args:
        code: Class of the code, or where it is: "module:name". It is imported when it is needed.
        planner: Function that gives every matrix of a setting its code, likewise.
        has_cells: Whether tensors have cells of their own, beside the error-free store.
    """

    code: type[Code] | str
    planner: Callable[[Setting], Mapping[str, Code]] | str
    has_cells: bool = True

    def code_class(self) -> type[Code]:
        """Return the class of the code."""
        found: type[Code] = _found(self.code)
        return found

    def plan(self, setting: Setting) -> Mapping[str, Code]:
        """Return the code of every matrix, by the name of its tensor.

        Raises:
            InputError: The setting cannot be used.
            InfeasibleError: There are too few cells.
        """
        codes: Mapping[str, Code] = _found(self.planner)(setting)
        return codes


def _family(folder: str, code: str, *, has_cells: bool = True) -> Family:
    """Return a family of softcell's own: a folder beside this file."""
    place = f"{__package__}.{folder}"
    return Family(f"{place}.code:{code}", f"{place}.plan:plan_codes", has_cells)


FAMILIES: dict[str, Family] = {
    "analog": _family("analog", "AnalogCode"),
    "coarse-to-fine": _family("coarse", "CoarseCode"),
    "joint-map": _family("joint", "JointCode"),
    "packed": _family("packed", "PackedCode"),
    "fixed-length": _family("fixed_length", "FixedLengthCode"),
    "entropy-coded": _family("entropy", "EntropyCode", has_cells=False),
}
"""Codes by the kind of their tensors."""


def family_of(kind: str, what: str) -> Family:
    """Return a family.

    Args:
        kind: Kind of a tensor.
        what: Whose kind it is, for the error.

    Raises:
        FormatError: There is none of this name.
    """
    found = FAMILIES.get(kind)
    if found is None:
        raise FormatError(
            f"{what} is of unknown kind {kind!r:.40}; if that is a code of your own, import the "
            "module that registers it first: softcell --import MODULE ..."
        )
    return found


def _found(place: Any) -> Any:
    """Return what is at "module:name"."""
    if not isinstance(place, str):
        return place
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)
