"""Feedback: what the decoder will see corrects what is still to be written."""

from softcell.feedback.corrected_layer import normalisations
from softcell.feedback.drift import correct_drift
from softcell.feedback.folding import fold_normalisations

__all__ = ["correct_drift", "fold_normalisations", "normalisations"]
