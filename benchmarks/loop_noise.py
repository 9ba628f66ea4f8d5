"""Noise of a code in the feedback loop, for training: what is left of errors once carried on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from softcell.codes.schemes import PACKED
from softcell.curvature import LayerCurvature
from softcell.curvature.tensor_file import read_tensors, write_tensors
from softcell.devices import Device
from softcell.evaluate.sensitivity import task_calibration
from softcell.evaluate.tasks import Task
from softcell.feedback.factor import factorise
from softcell.search import Goal, Recipe, Workshop
from softcell.search.subjects import task_subject
from softcell.streams import Stream
from softcell.training import Storage
from softcell.training.storage import rows_of


class LoopNoise(Storage):
    """A matrix that comes back from the feedback loop.

    The k-th column is off its target by e_k, white and relative to the size of each row, and its
    target by what the columns before it have left: with the factor I + U of the curvature

    seen = w + e (I + U)^-1,  e_r = noise_r rms(w_r) eps,  eps ~ N(0, 1)

    A row that is not stored is seen as zero.

    Args:
        layer: Curvature of the layer, of one group.
        noise: Deviation of e over a row's root mean square, shape (rows,); infinite for rows that
            are not stored.
        seed: Seed of the noise.
        label: What tells the noise of this matrix from that of others.
    """

    noise: Tensor
    spread: Tensor
    draws: Tensor

    def __init__(self, layer: LayerCurvature, noise: np.ndarray, *, seed: int, label: str) -> None:
        super().__init__()
        factor = factorise(layer.covariance)
        spread = np.linalg.inv(np.eye(factor.columns) + factor.coefficients[0].astype(np.float64))
        self.register_buffer("noise", torch.from_numpy(noise.astype(np.float32)[:, None]))
        # From the order of writing back to that of the tensor.
        back = np.argsort(factor.order)
        self.register_buffer("spread", torch.from_numpy(spread[:, back].astype(np.float32)))
        self.register_buffer("draws", torch.zeros((), dtype=torch.int64))
        self.stream = Stream.of(seed, f"loop noise/{label}")

    def forward(self, weight: Tensor) -> Tensor:
        """Return the matrix as it is read back this time."""
        rows = rows_of(weight.float())
        eps = torch.from_numpy(self.stream.normal(rows.numel(), draw=int(self.draws) % 2**32))
        if self.training:
            self.draws += 1
        stored = self.noise.isfinite()
        size = rows.square().mean(dim=1, keepdim=True).clamp(min=1e-20).sqrt()
        error = torch.where(stored, self.noise, 0.0) * size * eps.reshape(rows.shape)
        return ((rows + error @ self.spread) * stored).reshape(weight.shape).to(weight.dtype)


def loop_noise(
    task: Task, device: Device, cells: float, reads: int, path: Path
) -> dict[str, np.ndarray]:
    """Return the noise of every row of a float network in packed cells, by matrix.

    The network is planned and written once, to a chip on which nothing is measured; what columns
    are off their targets is compared with the weights.

    Args:
        task: The task.
        device: The device.
        cells: Cells per weight.
        reads: Verifying reads of a cell.
        path: File that keeps the noise.
    """
    if path.exists():
        return read_tensors(path)[0]
    workshop = Workshop(task_subject(task), device, Goal(max_cells=cells, decoder="table"))
    recipe = Recipe(PACKED, verify_reads=reads)
    _, _, written = workshop.write(recipe, workshop.plan(recipe, cells), 0)
    if written is None:
        raise RuntimeError("the plan has no loop")
    noise = {}
    for name in task_calibration(task).layers:
        wanted, targets, seen = (
            np.asarray(each[name], np.float64).reshape(len(each[name]), -1)
            for each in (written.wanted, written.targets, written.seen)
        )
        size, off = (np.sqrt(np.mean(x**2, axis=1)) for x in (wanted, seen - targets))
        found = np.divide(off, size, out=np.zeros_like(off), where=size > 0)
        noise[name] = np.where((seen != 0).any(axis=1), found, np.inf)
        print(f"{name}: noise {np.median(found):.2f}, {np.isinf(noise[name]).mean():.2f} left out")
    write_tensors(path, noise, {})
    return noise
