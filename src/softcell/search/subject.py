"""A network that a plan is looked for."""

from __future__ import annotations

from dataclasses import dataclass

from softcell.network import Network
from softcell.search.judge import Judge


@dataclass(frozen=True, eq=False, kw_only=True)
class Subject(Network):
    """A network that a plan is looked for, with what measures how it was stored."""

    judge: Judge
