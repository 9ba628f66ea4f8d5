"""Training through the storage that a network will live in."""

from typing import TYPE_CHECKING

from softcell.exports import imported_on_use

if TYPE_CHECKING:
    from softcell.training.checkpoint import read_checkpoint, write_checkpoint
    from softcell.training.drift import DriftCorrected
    from softcell.training.grid_plan import plan_of_grid
    from softcell.training.image_batches import ImageBatches
    from softcell.training.loader_batches import InputBatches, LoaderBatches
    from softcell.training.loop_noise import LoopNoise, noise_in_loop
    from softcell.training.matrix_steps import eight_bits
    from softcell.training.noisy import NoisyStorage
    from softcell.training.objectives import (
        CrossEntropy,
        Distillation,
        LabelLoss,
        Mixture,
        Objective,
    )
    from softcell.training.own_network import train_for_cells
    from softcell.training.pruning import GradualPruning
    from softcell.training.quantised import QuantisedStorage
    from softcell.training.settings import FewCells, own_settings, settings_for
    from softcell.training.storage import FloatStorage, Storage
    from softcell.training.stored_weights import StoredWeights
    from softcell.training.task_network import train_task
    from softcell.training.trained_network import TrainedNetwork, trained_networks
    from softcell.training.trained_results import measure_trained
    from softcell.training.trainer import StoredTraining, TrainingProgress, train_stored
    from softcell.training.written import WrittenStorage
else:
    __getattr__, __dir__ = imported_on_use(__name__)

__all__ = [
    "CrossEntropy",
    "Distillation",
    "DriftCorrected",
    "FewCells",
    "FloatStorage",
    "GradualPruning",
    "ImageBatches",
    "InputBatches",
    "LabelLoss",
    "LoaderBatches",
    "LoopNoise",
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
    "noise_in_loop",
    "own_settings",
    "plan_of_grid",
    "read_checkpoint",
    "settings_for",
    "train_for_cells",
    "train_stored",
    "train_task",
    "trained_networks",
    "write_checkpoint",
]
