"""The feedback loop in training: what is left of a code's errors once they are carried on."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from softcell.curvature import LayerCurvature
from softcell.devices import Device
from softcell.errors import InputError
from softcell.feedback.factor import factorise
from softcell.search import Goal, Recipe, Subject, TrialMaker
from softcell.streams import Stream
from softcell.training.storage import Storage


class LoopNoise(Storage):
    """A matrix that comes back from the feedback loop.

    A column is off its target by noise that is white and relative to the size of each row, and its
    target off the weight by what the columns before it have left. With I + U the layer's factor

    seen = w + e (I + U)^-1,  e_r = noise_r rms(w_r) eps,  eps ~ N(0, 1)

    Rows that the code does not store are seen as zero. Every forward pass in training has a draw of
    its own; in evaluation all have the same until training goes on.

    Args:
        layer: Curvature of the layer, which says how errors are carried on.
        noise: Deviation of a column from its target over the row's root mean square, at least 0,
            shape (rows,), rows as in the layer's matrix view; infinite where a row is not stored.
        seed: Seed of the noise, 0 to 2**63 - 1.
        label: What tells the noise of this matrix from that of others, such as its name.

    Raises:
        InputError: The noise has another shape than the rows, is negative or not a number, or the
            seed is out of range.

    Example:
        >>> layer = LayerCurvature(np.ones((1, 8, 8), np.float32), np.ones(2, np.float32))
        >>> storage = LoopNoise(layer, np.array([0.1, np.inf]), seed=1, label="w")
        >>> seen = storage(torch.ones(2, 8))
        >>> bool((seen[0] - 1).abs().max() > 0.1), abs(float(seen[0].mean()) - 1) < 0.1
        (True, True)
        >>> seen[1].unique().tolist()
        [0.0]

    Source:
        As for `softcell.feedback.factor.FeedbackFactor`, whose targets these are.
    """

    noise: Tensor
    spread: Tensor
    draws: Tensor

    def __init__(
        self, layer: LayerCurvature, noise: NDArray[np.floating], *, seed: int, label: str
    ) -> None:
        super().__init__()
        if noise.shape != layer.rows.shape or not (noise >= 0).all():
            raise InputError(
                f"expected noise of at least 0 for each of {layer.rows.size} rows, got shape "
                f"{noise.shape}"
            )
        factor = factorise(layer.covariance)
        spread = np.linalg.inv(np.eye(factor.columns) + factor.coefficients.astype(np.float64))
        # From the order of writing back to that of the tensor.
        back = np.argsort(factor.order)
        self.register_buffer("noise", torch.from_numpy(noise.astype(np.float32)[:, None]))
        self.register_buffer("spread", torch.from_numpy(spread[:, :, back].astype(np.float32)))
        self.register_buffer("draws", torch.zeros((), dtype=torch.int64))
        self.stream = Stream.of(seed, f"loop noise/{label}")

    def forward(self, weight: Tensor) -> Tensor:
        """Return the matrix as it is read back this time.

        Raises:
            InputError: It has another shape than the layer.
        """
        groups, columns, _ = self.spread.shape
        if weight.numel() != self.noise.numel() * columns:
            raise InputError(
                f"a layer of {self.noise.numel()} rows and {columns} columns has no weights of "
                f"shape {tuple(weight.shape)}"
            )
        # The layer's matrix view: wide matrices in blocks below each other, or outputs joined.
        parts = weight.float().reshape(min(len(weight), self.noise.numel()), -1, columns)
        rows = parts.transpose(0, 1).reshape(-1, columns)
        eps = torch.from_numpy(self.stream.normal(rows.numel(), draw=int(self.draws) % 2**32))
        if self.training:
            self.draws += 1
        stored = self.noise.isfinite()
        size = rows.square().mean(dim=1, keepdim=True).clamp(min=1e-20).sqrt()
        error = torch.where(stored, self.noise, 0.0) * size * eps.to(rows.device).view_as(rows)
        carried = (error.reshape(groups, -1, columns) @ self.spread).reshape(rows.shape)
        seen = ((rows + carried) * stored).reshape(-1, len(parts), columns).transpose(0, 1)
        return seen.reshape(weight.shape).to(weight.dtype)


def row_noise(
    wanted: NDArray[np.floating], targets: NDArray[np.floating], seen: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return by how much what is seen of each row is off its targets, for `LoopNoise`.

    noise_r = rms(seen_r - targets_r) / rms(wanted_r)

    Args:
        wanted: The weights before the loop, shape (rows, columns).
        targets: What was to be encoded, of the same shape.
        seen: What the decoder sees of that.

    Returns:
        Shape (rows,); infinite for rows of which nothing is seen, 0 for wanted rows of zeros.

    Example:
        >>> wanted = np.array([[3.0, 4.0], [1.0, 1.0]])
        >>> row_noise(wanted, wanted, wanted + [[0.3, -0.4], [-1.0, -1.0]]).round(3).tolist()
        [0.1, inf]
    """
    size, off = (np.sqrt(np.mean(each**2, axis=1)) for each in (wanted, seen - targets))
    found = np.divide(off, size, out=np.zeros_like(off), where=size > 0)
    return np.where((seen != 0).any(axis=1), found, np.inf)


def noise_in_loop(
    subject: Subject,
    device: Device,
    cells_per_weight: float,
    *,
    verify_reads: int = 1,
    seed: int = 0,
) -> dict[str, NDArray[np.float64]]:
    """Return the noise of every row in packed cells, as the loop that writes them has it.

    The network is planned and written once, and what its columns are off their targets is compared
    with its weights.

    Args:
        subject: The float network, with a calibration.
        device: The device.
        cells_per_weight: Cells per weight, as for `make_plan`.
        verify_reads: Verifying reads of a cell, at least 1.
        seed: Seed of the chip that it is written to.

    Returns:
        For every matrix that has a curvature, the noise that `LoopNoise` takes.

    Raises:
        InputError: There is no calibration.
        InfeasibleError: There are too few cells.
    """
    calibration = subject.calibration
    if calibration is None:
        raise InputError("the noise of the loop needs a calibration; give the network's")
    maker = TrialMaker(subject, device, Goal(max_cells=cells_per_weight, decoder="table"))
    recipe = Recipe("packed", verify_reads=verify_reads)
    plan = maker.plan(recipe, cells_per_weight)
    _, _, written = maker.write(plan, seed)
    assert written is not None  # there is a calibration
    noise = {}
    for name, layer in calibration.layers.items():
        if name not in written.wanted:  # it is there under another of its names
            continue
        wanted, targets, seen = (
            layer.matrix(np.asarray(each[name])).astype(np.float64)
            for each in (written.wanted, written.targets, written.seen)
        )
        noise[name] = row_noise(wanted, targets, seen)
    return noise
