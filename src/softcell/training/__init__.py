"""Training through the storage that a network will live in."""

from softcell.training.checkpoint import read_checkpoint, write_checkpoint
from softcell.training.image_batches import ImageBatches
from softcell.training.noisy import NoisyStorage
from softcell.training.objectives import CrossEntropy, Distillation, Mixture, Objective
from softcell.training.pruning import GradualPruning
from softcell.training.quantised import QuantisedStorage
from softcell.training.storage import Storage
from softcell.training.stored_weights import StoredWeights
from softcell.training.trainer import StoredTraining, TrainingProgress, train_stored
from softcell.training.written import WrittenStorage

__all__ = [
    "CrossEntropy",
    "Distillation",
    "GradualPruning",
    "ImageBatches",
    "Mixture",
    "NoisyStorage",
    "Objective",
    "QuantisedStorage",
    "Storage",
    "StoredTraining",
    "StoredWeights",
    "TrainingProgress",
    "WrittenStorage",
    "read_checkpoint",
    "train_stored",
    "write_checkpoint",
]
