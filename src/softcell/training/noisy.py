"""Analog storage in the training loop: noise of the same first two moments as a code's."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from softcell.errors import InputError
from softcell.streams import Stream
from softcell.training.storage import Storage, rows_of


class NoisyStorage(Storage):
    """A matrix that comes back with white noise, relative to the size of each row.

    read back of row r: gain_r w_r + noise_r rms(w_r) eps,  eps ~ N(0, 1)

    The noise is reparameterised: it moves with the weights, and the gradient knows it. Every
    forward pass in training has a draw of its own; in evaluation all have the same until training
    goes on.

    Where the code keeps a mask of the zeros, as `sparsity` does, they come back as exact zeros;
    rms(w_r) is then that of the row's weights that are not zero, on which alone there is noise.

    Args:
        noise: Deviation of the noise over a row's root mean square, at least 0; one for all rows
            or one for each.
        gain: What a weight comes back as on average, over the weight; likewise.
        seed: Seed of the noise, 0 to 2**63 - 1.
        label: What tells the noise of this matrix from that of others, such as its name.
        exact_zeros: The code keeps a mask: zeros come back as zeros.

    Raises:
        InputError: A value is out of range or not finite, or the seed is.

    Example:
        >>> storage = NoisyStorage(np.array([0.0, 0.5]), seed=1, label="w")
        >>> back = storage(torch.ones(2, 1000))
        >>> back[0].unique().tolist(), round(float(back[1].std()), 1)
        ([1.0], 0.5)

    Source:
        Kingma and Welling, arXiv 1312.6114 (reparameterisation); Joshi et al., Nature
        Communications 11, 2473 (2020) (noise on the weights in training, for analog memory).
    """

    noise: Tensor
    gain: Tensor
    draws: Tensor

    def __init__(
        self,
        noise: float | NDArray[np.floating],
        *,
        gain: float | NDArray[np.floating] = 1.0,
        seed: int,
        label: str,
        exact_zeros: bool = False,
    ) -> None:
        super().__init__()
        for what, values, least in (("noise", noise, 0.0), ("gain", gain, -np.inf)):
            given = np.asarray(values, np.float32)
            if given.ndim > 1 or not (np.isfinite(given).all() and (given >= least).all()):
                raise InputError(
                    f"{what} must be finite{' and at least 0' if least == 0 else ''}, one number "
                    f"or one for each row, got shape {given.shape}"
                )
            self.register_buffer(what, torch.from_numpy(given.reshape(-1, 1).copy()))
        self.register_buffer("draws", torch.zeros((), dtype=torch.int64))
        self.stream = Stream.of(seed, f"training noise/{label}")
        self.exact_zeros = exact_zeros

    @classmethod
    def at(cls, sdr_db: float, *, seed: int, label: str, exact_zeros: bool = False) -> NoisyStorage:
        """Return white noise at a signal-to-distortion ratio in dB.

        Example:
            >>> NoisyStorage.at(20.0, seed=0, label="w").noise.item()
            0.10000000149011612
        """
        return cls(10 ** (-sdr_db / 20), seed=seed, label=label, exact_zeros=exact_zeros)

    @classmethod
    def like(
        cls,
        wanted: NDArray[np.floating],
        seen: NDArray[np.floating],
        *,
        seed: int,
        label: str,
        exact_zeros: bool = False,
    ) -> NoisyStorage:
        """Return the noise that a code was seen to have, row by row.

        gain = <wanted, seen> / <wanted, wanted>,  noise = rms(seen - gain wanted) / rms(wanted)

        With exact zeros both means are over the weights that are not zero, so that the ratio is the
        same number.

        Args:
            wanted: What was to be stored, shape (rows, ...).
            seen: What came back of it, of the same shape.
            seed: As for the class.
            label: As for the class.
            exact_zeros: As for the class.

        Raises:
            InputError: The shapes differ, the values are not finite, or a zero did not come back
                as one although zeros are to be exact.
        """
        a, b = (np.asarray(each, np.float64).reshape(len(each), -1) for each in (wanted, seen))
        if a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
            raise InputError(
                f"expected finite weights and what came back of them, got shapes {wanted.shape} "
                f"and {seen.shape}"
            )
        if exact_zeros and b[a == 0].any():
            raise InputError(
                "zeros came back as other values, so that the code keeps no mask of them; leave "
                "exact_zeros out"
            )
        power = (a * a).sum(axis=1)
        some = power > 0
        gain = np.divide((a * b).sum(axis=1), power, out=np.ones(len(a)), where=some)
        left = np.square(b - gain[:, None] * a).sum(axis=1)
        noise = np.sqrt(np.divide(left, power, out=np.zeros(len(a)), where=some))
        return cls(noise, gain=gain, seed=seed, label=label, exact_zeros=exact_zeros)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the matrix as it is read back this time."""
        rows = rows_of(weight.float())
        stream = self.stream.named("training" if self.training else "evaluation")
        drawn = stream.normal(rows.numel(), draw=int(self.draws) % 2**32)
        if self.training:
            self.draws += 1
        eps = torch.from_numpy(drawn).to(rows.device).reshape(rows.shape)
        # A row of zeros has no noise; the root's gradient there would be infinite.
        power = rows.square().mean(dim=1, keepdim=True)
        if self.exact_zeros:
            there = rows != 0
            eps = eps * there
            power = power * (rows.shape[1] / there.sum(dim=1, keepdim=True).clamp(min=1))
        size = torch.where(power > 0, power, 1.0).sqrt() * (power > 0)
        seen = self.gain * rows + self.noise * size * eps
        return seen.reshape(weight.shape).to(weight.dtype)
