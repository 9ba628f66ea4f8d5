"""What inputs that were held out say of a network that went through the feedback loop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from softcell.curvature.procedures import CLOSED
from softcell.image.loop_check import MatrixCheck
from softcell.records import values_of

CORRECTED = "corrected sensitivity"


@dataclass(frozen=True)
class LoopCheck:
    """How the feedback loop did on inputs that the calibration has not seen.

    Args:
        inputs: Inputs that matrices were checked on; 0 if the calibration holds none out.
        matrices: What came of each matrix.
        predicted: Divergence in nats that the curvature lets one expect of the closed loop; None
            without Fisher information.
        measured: The one measured of it; None without the network's module and inputs.
        tried: Divergence of other procedures for the whole network, as far as they were tried.
        procedure: The one that was taken; single matrices may have another.
        left: Divergence of the network as it was written; None if it was not measured.
        surprise: How far the calibration was off when it was made, if that was tried.
        doubted: Whether errors of single matrices' outputs decided.
    """

    inputs: int
    matrices: tuple[MatrixCheck, ...] = ()
    predicted: float | None = None
    measured: float | None = None
    tried: Mapping[str, float] = field(default_factory=dict)
    procedure: str = CLOSED
    left: float | None = None
    surprise: float | None = None
    doubted: bool = False

    @property
    def possible(self) -> bool:
        """Whether there was anything to check by."""
        return bool(self.inputs) or self.measured is not None

    @property
    def changed(self) -> tuple[str, ...]:
        """Matrices that went through the loop otherwise than the network."""
        usual = (CLOSED, CORRECTED, self.procedure)
        return tuple(m.tensor for m in self.matrices if m.procedure not in usual)

    def notes(self) -> list[str]:
        """Return what is to be said of it in words: where it could not be made, or fell back."""
        notes = []
        if not self.possible:
            notes.append(
                "nothing tells whether the feedback loop does good: the calibration holds no "
                "inputs out; make it again with `softcell calibrate`, or give the network's module "
                "and inputs"
            )
        if self.tried:
            predicted = "" if self.predicted is None else f" ({self.predicted:.4f} predicted)"
            tried = ", ".join(f"{name} {value:.4f}" for name, value in self.tried.items())
            notes.append(
                f"through the closed loop the outputs diverge by {self.measured:.4f} nats"
                f"{predicted} on inputs that were held out; {tried}; taken: {self.procedure}, "
                f"which leaves {self.left:.4f}"
            )
        if self.changed:
            named = ", ".join(
                f"{m.tensor} ({m.procedure})" for m in self.matrices if m.tensor in self.changed
            )
            notes.append(
                "on inputs that were held out, feedback by the calibration makes the outputs of "
                f"{len(self.changed)} of {len(self.matrices)} matrices worse; taken: {named}"
            )
        if self.unsettled:
            notes.append(
                "on inputs that were held out, feedback makes the outputs of "
                f"{len(self.unsettled)} of {len(self.matrices)} matrices worse "
                f"({', '.join(self.unsettled)}), but nothing tells what that does to the "
                "network's; give its module and inputs"
            )
        return notes

    @property
    def unsettled(self) -> tuple[str, ...]:
        """Matrices that feedback seems to harm, where nothing tells of the network's outputs."""
        if self.doubted or self.measured is not None or self.surprise is not None:
            return ()
        return tuple(m.tensor for m in self.matrices if m.harmful)

    def values(self) -> dict[str, Any]:
        """Return plain values; a divergence that is not finite is None."""
        values = values_of(self)
        values |= {"measured": _finite(self.measured), "left": _finite(self.left)}
        values["tried"] = {name: _finite(each) for name, each in self.tried.items()}
        for each in values["matrices"]:
            each["predicted"], each["measured"] = map(
                _finite, (each["predicted"], each["measured"])
            )
        return values | {"possible": self.possible}


def _finite(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None
