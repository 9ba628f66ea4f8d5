"""Train the small networks, once, and keep them."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from softcell.cache import cache_folder
from softcell.errors import FormatError, InputError, SoftcellError
from softcell.evaluate import preprocessing
from softcell.evaluate.datasets import DATASETS, Images
from softcell.evaluate.models import require_recipe
from softcell.evaluate.networks import DigitsCNN, LeNet5, LeNet300, with_weights
from softcell.evaluate.preprocessing import Preprocessing, random_offsets, shifted
from softcell.progress import Progress
from softcell.streams import Stream
from softcell.weights.tensor_file import read_tensors, write_tensors

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: AdamW, the learning rate falling along a cosine to zero.

    Args:
        network: Makes the network.
        preprocessing: Its normalisation.
        epochs: Passes over the training images, >= 1.
        learning_rate: At the start, > 0.
        batch: Images per step, >= 1.
        weight_decay: Decoupled decay of the weights per unit of learning rate, >= 0.
        shift: Training images are shifted by up to so many pixels either way, >= 0.
    """

    network: Callable[[], nn.Module]
    preprocessing: Preprocessing
    epochs: int
    learning_rate: float
    batch: int = 128
    weight_decay: float = 1e-2
    shift: int = 1

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 1 or self.shift < 0:
            raise InputError(
                "expected epochs >= 1, batch >= 1 and shift >= 0, got "
                f"{self.epochs}, {self.batch} and {self.shift}"
            )
        if not self.learning_rate > 0 or not self.weight_decay >= 0:
            raise InputError(
                "expected learning_rate > 0 and weight_decay >= 0, got "
                f"{self.learning_rate} and {self.weight_decay}"
            )


RECIPES: dict[tuple[str, str], Recipe] = {
    ("digits", "cnn"): Recipe(DigitsCNN, preprocessing.DIGITS, epochs=30, learning_rate=5e-3),
    ("mnist", "lenet-300-100"): Recipe(
        LeNet300, preprocessing.MNIST, epochs=12, learning_rate=1e-3
    ),
    ("mnist", "lenet5"): Recipe(LeNet5, preprocessing.MNIST, epochs=5, learning_rate=1e-3),
}


def train(task_name: str, model: str, *, seed: int = 0, progress: Progress | None = None) -> Path:
    """Train a network and save it in the cache folder, in place of one that is there.

    The same seed gives the same weights to the bit on the same kind of machine: one thread does
    all the work, and every random number is a function of the seed and its position.

    Args:
        task_name: `digits` or `mnist`.
        model: `cnn` for the digits; `lenet-300-100` or `lenet5` for MNIST.
        seed: Seed of the initial weights, the order and the shifts, 0 to 2**63 - 1.
        progress: Called with ("training", steps done, steps in all) after each step.

    Returns:
        The safetensors file, in the folder that SOFTCELL_CACHE names (`cache_folder`).

    Raises:
        InputError: No such task or model, the data are missing, or the cache cannot be written.
        SoftcellError: The training diverged.
    """
    recipe = _recipe(task_name, model)
    path = _path(task_name, model, seed)
    state = fit(recipe, DATASETS[task_name].training(), seed=seed, progress=progress)
    write_tensors(path, state, {"recipe": repr(recipe), "seed": str(seed)})
    return path


def trained_weights(
    task_name: str, model: str, *, seed: int = 0, progress: Progress | None = None
) -> dict[str, np.ndarray]:
    """Return the weights of a trained network, training it first if it is not in the cache.

    A cached file that is damaged, or that another recipe made, is replaced. The log (at the level
    INFO, or WARNING for a damaged file) says when a network is trained.

    Args:
        task_name: As for `train`.
        model: As for `train`.
        seed: As for `train`.
        progress: As for `train`; never called when the network is in the cache.

    Returns:
        float32 arrays by name.

    Raises:
        InputError: No such task or model, the data are missing, or the cache cannot be used.
        SoftcellError: The training diverged.
    """
    recipe = _recipe(task_name, model)
    path = _path(task_name, model, seed)
    if path.exists():
        try:
            state, metadata = read_tensors(path)
            if metadata.get("recipe") != repr(recipe):
                raise FormatError(f"{path} was trained by another recipe")
            with_weights(recipe.network, state)
            return state
        except (FormatError, InputError) as error:
            _log.warning("the cached network cannot be used and is trained again: %s", error)
    _log.info("training %s for %s once; it is kept in %s", model, task_name, path)
    return read_tensors(train(task_name, model, seed=seed, progress=progress))[0]


def fit(
    recipe: Recipe, images: Images, *, seed: int, progress: Progress | None = None
) -> dict[str, np.ndarray]:
    """Train a network on images, on one thread.

    Args:
        recipe: Network and settings.
        images: Training images, at least one.
        seed: As for `train`.
        progress: As for `train`.

    Returns:
        Its weights, float32 arrays by name.

    Raises:
        SoftcellError: The loss is no longer finite.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        stream = Stream.of(seed, "training")
        module = with_weights(recipe.network, initial_weights(recipe.network, stream))
        _descend(module.train(), recipe, images, stream, progress)
    finally:
        torch.set_num_threads(threads)
    return {name: tensor.detach().numpy() for name, tensor in module.state_dict().items()}


def initial_weights(network: Callable[[], nn.Module], stream: Stream) -> dict[str, np.ndarray]:
    """Draw the initial weights of a network.

    Weights of two and more dimensions are uniform in +-sqrt(6 / inputs of a unit); biases start
    at 0, batch normalisation at the identity.

    Args:
        network: Makes the network.
        stream: Source of the randomness; the tensors draw from streams of their own names.

    Returns:
        float32 arrays by name.

    Source:
        He et al., ICCV 2015, arXiv 1502.01852, section 2.2 (variance 2 / inputs).
    """
    with torch.device("meta"):
        shapes = {name: tuple(t.shape) for name, t in network().state_dict().items()}
    state = {}
    for name, shape in shapes.items():
        if len(shape) > 1:
            bound = math.sqrt(6 / math.prod(shape[1:]))
            values = 2 * stream.named(name).uniform(math.prod(shape)) - 1
            state[name] = (bound * values).astype(np.float32).reshape(shape)
        else:
            one = name.endswith(("running_var", "weight"))
            state[name] = np.full(shape, 1.0 if one else 0.0, np.float32)
    return state


def _descend(
    module: nn.Module, recipe: Recipe, images: Images, stream: Stream, progress: Progress | None
) -> None:
    pixels, labels = torch.from_numpy(images.pixels), torch.from_numpy(images.labels)
    count = len(labels)
    steps = recipe.epochs * math.ceil(count / recipe.batch)
    optimiser = torch.optim.AdamW(
        module.parameters(),
        lr=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        fused=True,
    )
    done = 0
    for epoch in range(recipe.epochs):
        turn = stream.named(f"epoch {epoch}")
        order = torch.from_numpy(np.argsort(turn.named("order").uniform(count), kind="stable"))
        offsets = random_offsets(turn, count, recipe.shift)
        for start in range(0, count, recipe.batch):
            chosen = order[start : start + recipe.batch]
            x = recipe.preprocessing(shifted(pixels[chosen], offsets[:, chosen]))
            rate = recipe.learning_rate * (1 + math.cos(math.pi * done / steps)) / 2
            loss = _step(module, optimiser, rate, x, labels[chosen])
            done += 1
            if not math.isfinite(loss):
                raise SoftcellError(
                    f"training diverged at step {done} of {steps} (loss {loss}); "
                    f"lower the learning rate, now {recipe.learning_rate}"
                )
            if progress is not None:
                progress("training", done, steps)


def _step(
    module: nn.Module, optimiser: torch.optim.Optimizer, rate: float, x: Tensor, labels: Tensor
) -> float:
    for group in optimiser.param_groups:
        group["lr"] = rate
    loss = functional.cross_entropy(module(x), labels)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
    return float(loss.detach())


def _recipe(task_name: str, model: str) -> Recipe:
    require_recipe(task_name, model)
    return RECIPES[task_name, model]


def _path(task_name: str, model: str, seed: int) -> Path:
    return cache_folder() / f"{task_name}-{model}-seed{seed}.safetensors"
