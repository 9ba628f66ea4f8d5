"""The curvature of the loss over one layer's weights, and the matrix view that it speaks of."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from softcell.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

Kind = Literal["fisher", "inputs"]
"""Where a curvature comes from: the Fisher information of the outputs, or the layers' inputs."""

WIDEST = 8192
"""Columns that share one covariance; wider matrices are cut into blocks of equal width."""

_BLOCK = 4096  # columns of such a block at most


@dataclass(frozen=True, eq=False)
class LayerCurvature:
    """How the loss feels changes of one weight tensor, to second order.

    loss ~ 0.5 sum_r rows[r] / mean(rows of g) dW_r covariance[g] dW_r^T,  g = the group of row r

    dW is the change in the layer's matrix view (see `matrix`). The groups divide its rows evenly,
    in order: rows 0 to rows/groups - 1 are the first group.

    Args:
        covariance: float32, shape (groups, columns, columns), symmetric and, up to the rounding of
            float32, positive semidefinite: the mean over the rows of a group of the second-order
            loss of one row.
        rows: float32, shape (rows,), >= 0: the mean loss of one weight of each row. The mean over
            a group is the mean of its covariance's diagonal.
        joined: Each row of the matrix view is the weights of several outputs, one after the other.
        across: For layers whose outputs have so few weights of their own (9 in a depthwise
            convolution) that an error finds few others to carry it, the curvature of the same
            weights with the outputs joined, so that errors are carried across outputs; or None.

    Raises:
        InputError: Shapes that do not fit each other, another type, or values that are not finite,
            not symmetric or, on the diagonal or in `rows`, negative.

    Example:
        >>> layer = LayerCurvature(np.eye(9, dtype=np.float32)[None], np.ones(4, np.float32))
        >>> layer.matrix(np.zeros((4, 1, 3, 3))).shape
        (4, 9)
    """

    covariance: NDArray[np.float32] = field(repr=False)
    rows: NDArray[np.float32] = field(repr=False)
    joined: bool = False
    across: LayerCurvature | None = None

    def __post_init__(self) -> None:
        covariance, rows = self.covariance, self.rows
        if covariance.dtype != np.float32 or rows.dtype != np.float32:
            raise InputError(
                f"a curvature must be float32, got {covariance.dtype} and {rows.dtype}"
            )
        square = covariance.ndim == 3 and covariance.shape[1] == covariance.shape[2]
        if not square or min(covariance.shape) < 1 or rows.ndim != 1 or rows.size < 1:
            raise InputError(
                "expected a covariance (groups, columns, columns) and rows (rows,), got shapes "
                f"{covariance.shape} and {rows.shape}"
            )
        if rows.size % len(covariance):
            raise InputError(f"{len(covariance)} groups do not divide {rows.size} rows evenly")
        if not (np.isfinite(covariance).all() and np.isfinite(rows).all()):
            raise InputError("a curvature must be finite; check the network's weights and inputs")
        if (rows < 0).any() or (np.diagonal(covariance, axis1=1, axis2=2) < 0).any():
            raise InputError("the diagonal and the rows of a curvature must be >= 0")
        if not np.array_equal(covariance, covariance.swapaxes(1, 2)):
            raise InputError("a covariance must be symmetric")

    @property
    def groups(self) -> int:
        """Number of groups of rows, each with a covariance of its own."""
        return len(self.covariance)

    @property
    def columns(self) -> int:
        """Number of columns of the matrix view."""
        return int(self.covariance.shape[1])

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Say whether this can be the curvature of a tensor of a shape."""
        if len(shape) < 2 or math.prod(shape) != self.rows.size * self.columns:
            return False
        if self.joined:
            return shape[0] % self.rows.size == 0
        return self.rows.size % shape[0] == 0

    def matrix(self, weights: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return a tensor of the layer as the matrix (rows, columns) that the curvature is of.

        Rows are the first axis, columns the others: (outputs, inputs / groups * taps) for a
        convolution. A matrix of more than 8192 columns is cut into blocks of equal width, put
        below each other: all rows of the first block, then all rows of the second. Where outputs
        are `joined`, each row is those of several, and as long as the covariance is wide.

        Args:
            weights: Any type, of the tensor's shape.

        Raises:
            InputError: The shape is not that of the layer.
        """
        self._require(weights.shape)
        if self.joined:
            return weights.reshape(-1, self.columns)
        return unfolded(weights, self.columns)

    def tensor(self, matrix: NDArray[np.generic], shape: tuple[int, ...]) -> NDArray[np.generic]:
        """Return the tensor of a shape whose `matrix` this is.

        Args:
            matrix: Shape (rows, columns).
            shape: The tensor's shape.

        Raises:
            InputError: The shapes do not fit each other.
        """
        self._require(shape)
        if matrix.shape != (self.rows.size, self.columns):
            raise InputError(
                f"expected a matrix {(self.rows.size, self.columns)}, got {matrix.shape}"
            )
        if self.joined:
            return matrix.reshape(shape)
        return matrix.reshape(-1, shape[0], self.columns).swapaxes(0, 1).reshape(shape)

    def _require(self, shape: tuple[int, ...]) -> None:
        if not self.fits(shape):
            raise InputError(
                f"a tensor of shape {shape} cannot have a curvature of {self.rows.size} rows and "
                f"{self.columns} columns; calibrate this very network"
            )


def require_felt(largest: float) -> None:
    """Make sure that some weight matters.

    Args:
        largest: Largest curvature of all.

    Raises:
        InputError: There is none.
    """
    if not largest > 0:
        raise InputError(
            "the curvature is 0 for every weight: these outputs say nothing of what matters "
            "(they are too sure of themselves, or do not depend on the weights); scale the logits "
            "down, give other inputs, or go by the layers' inputs (--kind inputs)"
        )


def block_width(columns: int) -> int:
    """Return the number of columns that share a covariance: all, or blocks of at most 4096.

    Example:
        >>> block_width(4608), block_width(25088)
        (4608, 3584)
    """
    if columns <= WIDEST:
        return columns
    return max(width for width in range(1, _BLOCK + 1) if columns % width == 0)


def unfolded(weights: NDArray[np.generic], width: int) -> NDArray[np.generic]:
    """Return a tensor (outputs, ...) as a matrix (blocks * outputs, width)."""
    outputs = len(weights)
    return weights.reshape(outputs, -1, width).swapaxes(0, 1).reshape(-1, width)


def mean_curvature(
    total: Tensor,
    count: int,
    rows: NDArray[np.float32],
    *,
    joined: bool = False,
    across: LayerCurvature | None = None,
) -> LayerCurvature:
    """Return the curvature of running sums over a count of predictions times rows of a group."""
    # A matrix product need not be symmetric in its last bit.
    mean = (total + total.mT).div_(2 * count)
    return LayerCurvature(mean.cpu().numpy(), rows, joined=joined, across=across)


def matrices(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that have a curvature, by their first names: those of 2 dimensions up.

    Example:
        >>> from torch import nn
        >>> list(matrices(nn.Linear(2, 3)))
        ['weight']
    """
    return {
        name: parameter
        for name, parameter in module.named_parameters()
        if parameter.ndim >= 2 and parameter.numel() and parameter.is_floating_point()
    }
