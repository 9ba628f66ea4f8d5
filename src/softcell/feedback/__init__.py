"""Feedback: what the decoder will see corrects what is still to be written."""

from typing import TYPE_CHECKING

from softcell.exports import imported_on_use

if TYPE_CHECKING:
    from softcell.feedback.drift import DriftCorrection, correct_drift
    from softcell.feedback.factor import FeedbackFactor, factorise
    from softcell.feedback.folding import fold_normalisations
    from softcell.feedback.loop import feedback_loop, weighted_error
    from softcell.feedback.memory import Memory, SimulatedMemory
    from softcell.feedback.sequential import SequentialWrite
else:
    __getattr__, __dir__ = imported_on_use(__name__)

__all__ = [
    "DriftCorrection",
    "FeedbackFactor",
    "Memory",
    "SequentialWrite",
    "SimulatedMemory",
    "correct_drift",
    "factorise",
    "feedback_loop",
    "fold_normalisations",
    "weighted_error",
]
