"""Training through the storage that a network will live in."""

from softcell.training.checkpoint import read_checkpoint, write_checkpoint
from softcell.training.few_cells import train_for_cells
from softcell.training.grid_plan import plan_of_grid
from softcell.training.image_batches import ImageBatches
from softcell.training.matrix_steps import eight_bits
from softcell.training.noisy import NoisyStorage
from softcell.training.objectives import CrossEntropy, Distillation, Mixture, Objective
from softcell.training.pruning import GradualPruning
from softcell.training.quantised import QuantisedStorage
from softcell.training.settings import FewCells, settings_for
from softcell.training.storage import FloatStorage, Storage
from softcell.training.stored_weights import StoredWeights
from softcell.training.trained_network import TrainedNetwork, trained_networks
from softcell.training.trained_results import measure_trained
from softcell.training.trainer import StoredTraining, TrainingProgress, train_stored
from softcell.training.written import WrittenStorage

__all__ = [
    "CrossEntropy",
    "Distillation",
    "FewCells",
    "FloatStorage",
    "GradualPruning",
    "ImageBatches",
    "Mixture",
    "NoisyStorage",
    "Objective",
    "QuantisedStorage",
    "Storage",
    "StoredTraining",
    "StoredWeights",
    "TrainedNetwork",
    "TrainingProgress",
    "WrittenStorage",
    "eight_bits",
    "measure_trained",
    "plan_of_grid",
    "read_checkpoint",
    "settings_for",
    "train_for_cells",
    "train_stored",
    "trained_networks",
    "write_checkpoint",
]
