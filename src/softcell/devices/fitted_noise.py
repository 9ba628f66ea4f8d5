"""A measured device with the law of noise that its readings allow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from softcell.devices.measured import MeasuredCell
from softcell.devices.measurements import (
    LAWS,
    Evidence,
    Samples,
    choose_law,
    fitted_law,
    folds,
)
from softcell.errors import InputError


def with_law(
    device: MeasuredCell, samples: Samples, kind: str, confidence: float
) -> tuple[MeasuredCell, Evidence | None, MeasuredCell, tuple[MeasuredCell, ...]]:
    """Give a device the law of its noise.

    Returns:
        The device, how the law fits, the device of confidence 0.5, and such ones of each fold.
    """
    if kind == "plain":
        return device, None, device, ()
    if kind not in ("best", *LAWS):
        choice = ", ".join(("best", *LAWS, "plain"))
        raise InputError(f"law is one of {choice}, got {kind!r}")
    if not 0.5 <= confidence <= 0.9999:
        raise InputError(f"confidence lies from 0.5 to 0.9999, got {confidence:g}")
    evidence = choose_law(samples, None if kind == "best" else (kind,))
    parts = []
    for out in folds(samples):
        known = samples.chosen(~out)
        parts.append(
            replace(
                device,
                mean=np.bincount(known.place, known.values) / known.readings,
                deviation=np.sqrt(known.variance),
                noise=fitted_law(evidence.law, known),
            )
        )
    laws = (fitted_law(evidence.law, samples, each).rounded() for each in (confidence, 0.5))
    own, likeliest = (replace(device, noise=law) for law in laws)
    return own, evidence, likeliest, tuple(parts)
