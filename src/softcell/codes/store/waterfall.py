"""What an LDPC code of each rate needs from a cell: simulated frame error rates as a table."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from softcell.codes.store.ldpc_matrix import SYSTEMATIC
from softcell.errors import InputError

PARITY_STEP = 48
"""Parity bits by which rates differ: whole cells of 1, 2, 3 or 4 bits."""


@dataclass(frozen=True, eq=False)
class Waterfall:
    """Frame error rates against information, for one length and number of decoder passes.

    P(a frame is lost) = Q((i - threshold) / width), where a lost frame has more than 12 wrong
    information bits and i is the mean information of a label bit. Threshold and width are fitted
    to simulated frames of 2, 4 and 8 equally spaced levels in Gaussian noise, each point to 100
    lost ones, down to a frame error rate of 3e-3; lower ones are an extrapolation by this law.
    Between parities, and between these spreads of the label bits' information, they are
    interpolated; a larger spread, which only helps, counts as that of the 8 levels.

    Attributes:
        lifting: Lifting size of the code.
        iterations: Most passes of the decoder.
        parities: Parity bits, rising; shape (entries,).
        thresholds: Information at which every second frame is wrong, shape (levels, entries).
        widths: Information that makes one standard deviation, shape (levels, entries).
        spreads: Standard deviation of the label bits' information, shape (levels, entries).

    Source:
        The law: Amraoui, Montanari, Richardson & Urbanke, IEEE Trans. Information Theory 55, 473
        (2009). The figures: scripts/frame_errors.py, which makes the table again.
    """

    lifting: int
    iterations: int
    parities: NDArray[np.int64]
    thresholds: NDArray[np.float64]
    widths: NDArray[np.float64]
    spreads: NDArray[np.float64]

    def threshold_and_width(self, parity: int, spread: float) -> tuple[float, float]:
        """Return the two parameters of the law.

        Args:
            parity: Parity bits of a frame, within those of the table.
            spread: Standard deviation of the label bits' information, from 0.

        Raises:
            InputError: The table ends before this parity.
        """
        if not self.parities[0] <= parity <= self.parities[-1]:
            raise InputError(
                f"frame error rates are known for {self.parities[0]} to {self.parities[-1]} "
                f"parity bits, not for {parity}"
            )
        # The distance from the rate is a smoother function of the parity than the threshold.
        gaps = self.thresholds - self._rate(self.parities)
        gap, width, known = (
            np.array([np.interp(parity, self.parities, row) for row in rows])
            for rows in (gaps, self.widths, self.spreads)
        )
        threshold = float(np.interp(spread, known, gap)) + float(self._rate(np.array(parity)))
        return threshold, float(np.interp(spread, known, width))

    def frame_error_rate(self, parity: int, information: float, spread: float = 0.0) -> float:
        """Return the predicted probability that a frame is lost.

        Args:
            parity: Parity bits of a frame, within those of the table.
            information: Mean information of a label bit, in [0, 1].
            spread: Standard deviation of the label bits' information, from 0.

        Raises:
            InputError: The table ends before this parity.

        Example:
            >>> table = waterfall_table(50)
            >>> table.frame_error_rate(2880, 0.80) > 0.99  # the rate is 0.80
            True
            >>> table.frame_error_rate(2880, 0.89) < 1e-6
            True
        """
        from scipy.special import ndtr

        threshold, width = self.threshold_and_width(parity, spread)
        return float(ndtr((threshold - information) / width))

    def smallest_parity(
        self, information: float, frame_error_rate: float, spread: float = 0.0
    ) -> int | None:
        """Return the least parity that keeps frame errors at or below a rate, None if none does.

        Args:
            information: Mean information of a label bit, in [0, 1].
            frame_error_rate: Highest probability that a frame is lost, in (0, 1).
            spread: Standard deviation of the label bits' information, from 0.

        Raises:
            InputError: The rate is no probability.

        Example:
            >>> waterfall_table(50).smallest_parity(0.4, 1e-3) is None
            True
        """
        from scipy.special import ndtri

        if not 0 < frame_error_rate < 1:
            raise InputError(f"a frame error rate lies between 0 and 1, got {frame_error_rate}")
        deviations = -float(ndtri(frame_error_rate))
        for parity in range(int(self.parities[0]), int(self.parities[-1]) + 1, PARITY_STEP):
            threshold, width = self.threshold_and_width(parity, spread)
            if threshold + deviations * width <= information:
                return parity
        return None

    def _rate(self, parity: NDArray[np.int64]) -> NDArray[np.float64]:
        """Information bits per stored bit; the first two columns are not stored."""
        return SYSTEMATIC * self.lifting / ((SYSTEMATIC - 2) * self.lifting + parity)


@lru_cache(maxsize=8)
def waterfall_table(iterations: int) -> Waterfall:
    """Read the table for a number of decoder passes.

    Raises:
        InputError: There is none for this number.

    Example:
        >>> waterfall_table(20).lifting
        384
    """
    path = files("softcell.codes.store").joinpath("tables/waterfall.json")
    content = json.loads(path.read_text("ascii"))
    entries = [entry for entry in content["entries"] if entry["iterations"] == iterations]
    if not entries:
        known = sorted({entry["iterations"] for entry in content["entries"]})
        raise InputError(f"frame error rates are known for {known} passes, not for {iterations}")
    parities = sorted({entry["parity"] for entry in entries})
    at = {(entry["bits"], entry["parity"]): entry for entry in entries}
    thresholds, widths, spreads = (
        np.array([[at[bits, parity][key] for parity in parities] for bits in (1, 2, 3)])
        for key in ("threshold", "width", "spread")
    )
    return Waterfall(
        content["lifting"], iterations, np.array(parities), thresholds, widths, spreads
    )
