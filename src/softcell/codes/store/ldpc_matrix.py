"""The parity-check matrices of 5G NR's long LDPC codes: base graph 1, lifted."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from softcell.errors import InputError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

SYSTEMATIC = 22
"""Columns of the base graph that carry information."""

CORE = 4
"""Rows whose parity depends on each other; every further row adds one parity column."""

ROWS = 46
"""Rows of the whole base graph."""

_SETS = (2, 3, 5, 7, 9, 11, 13, 15)
LIFTING_SIZES = tuple(sorted(a << j for a in _SETS for j in range(8) if a << j <= 384))
"""Lifting sizes Z of the standard: a 2^j up to 384 (TS 38.212, Table 5.3.2-1)."""


@dataclass(frozen=True, eq=False)
class LiftedGraph:
    """The first rows of the base graph, every entry a circulant of Z x Z.

    Row z of an entry with shift s holds its one in column (z + s) mod Z.

    Attributes:
        lifting: Lifting size Z.
        starts: First entry of each base row, and the number of entries; shape (rows + 1,).
        columns: Base column of each entry, row by row; shape (entries,).
        shifts: Shift of each entry, in [0, Z); shape (entries,).
    """

    lifting: int
    starts: NDArray[np.int64]
    columns: NDArray[np.int64]
    shifts: NDArray[np.int64]

    @property
    def rows(self) -> int:
        """Number of base rows."""
        return len(self.starts) - 1

    @property
    def width(self) -> int:
        """Number of base columns: those of information, and one of parity for each row."""
        return SYSTEMATIC + self.rows

    @property
    def core_turn(self) -> int:
        """Rotation by which the sum of the core rows holds the first parity column."""
        inside = slice(0, self.starts[CORE])
        shifts = self.shifts[inside][self.columns[inside] == SYSTEMATIC]
        return int(next(s for s in shifts if np.count_nonzero(shifts == s) % 2))

    def matrix(self) -> csr_array:
        """Return the parity-check matrix, shape (rows * Z, columns * Z), zeros and ones.

        Example:
            >>> lifted_graph(8, 6).matrix().shape
            (48, 224)
        """
        from scipy.sparse import csr_array

        z = np.arange(self.lifting)
        base_row = np.repeat(np.arange(self.rows), np.diff(self.starts))
        row = base_row[:, None] * self.lifting + z
        column = self.columns[:, None] * self.lifting + (z + self.shifts[:, None]) % self.lifting
        shape = (self.rows * self.lifting, self.width * self.lifting)
        ones = np.ones(row.size, np.uint8)
        return csr_array((ones, (row.ravel(), column.ravel())), shape=shape)


@lru_cache(maxsize=64)
def lifted_graph(lifting: int, rows: int) -> LiftedGraph:
    """Return the first rows of base graph 1 at a lifting size.

    Args:
        lifting: Lifting size Z, one of LIFTING_SIZES.
        rows: Base rows to keep, 4 to 46; the parity of later rows is not used.

    Raises:
        InputError: The standard has no such size or row count.

    Example:
        >>> graph = lifted_graph(384, 8)
        >>> graph.width, len(graph.columns)
        (30, 103)

    Source:
        3GPP TS 38.212, Tables 5.3.2-1 and 5.3.2-2.
    """
    if lifting not in LIFTING_SIZES:
        near = min(LIFTING_SIZES, key=lambda size: abs(size - lifting))
        raise InputError(f"5G has no lifting size {lifting}; the nearest is {near}")
    if not CORE <= rows <= ROWS:
        raise InputError(f"expected {CORE} to {ROWS} base rows, got {rows}")
    table = _base_graph()
    table = table[table[:, 0] < rows]
    odd_part = next(i for i, a in enumerate(_SETS) if lifting in {a << j for j in range(8)})
    starts = np.searchsorted(table[:, 0], np.arange(rows + 1))
    return LiftedGraph(lifting, starts, table[:, 1].copy(), table[:, 2 + odd_part] % lifting)


@lru_cache(maxsize=1)
def _base_graph() -> NDArray[np.int64]:
    """Read row, column and the eight shifts of every entry, shape (316, 10)."""
    text = files("softcell.codes.store").joinpath("tables/base_graph_1.txt").read_text("ascii")
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    return np.array([line.replace(":", "").split() for line in lines], dtype=np.int64)
