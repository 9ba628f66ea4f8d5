"""Valid files of every kind, small, made once."""

from __future__ import annotations

import json
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

from drawn import normal
from softcell.allocate import Plan, make_plan
from softcell.allocate.plan_file import load_plan, network_digest, save_plan
from softcell.curvature import Calibration, LayerCurvature, save_calibration, save_fisher
from softcell.devices import parse_device
from softcell.durations import Ages
from softcell.evaluate.results import Result, write_results
from softcell.image.cell_image import CellImage
from softcell.image.chip import write_chip
from softcell.image.write import write_image
from softcell.network import Network
from softcell.records import values_of
from softcell.search import Goal, Recipe, Verdict
from softcell.search.trial import Trial
from softcell.training.checkpoint import write_checkpoint
from softcell.training.trained_network import TrainedNetwork
from softcell.weights import StateDictWeights, WeightsWriter

STATE = {
    "a.weight": normal(12, 10, label="fuzz"),
    "b.weight": 0.1 * normal(6, 2, 3, 3, label="fuzz", seed=1),
    "b.bias": normal(6, label="fuzz", seed=2),
    "scale": np.ones(9, np.float32),
    "steps": np.array(7),
}
SCHEMES: dict[str, float | None] = {
    **{"float32": None, "float16": None, "int8": None, "naive": 2.0, "sign+sparsity": 2.0},
    **{"combined": 3.0, "coarse-to-fine": 2.5, "hybrid": 2.5, "joint-map": 2.0, "packed": 1.5},
    **{"fixed-length": 2.5, "entropy-coded": 2.0, "strong-digital": 12.0},
}
GOAL = Goal(max_cells=2.0)
DEVICE = "pcm-partial-reset"


@cache
def folder() -> Path:
    """Return a folder that lasts as long as the process."""
    made = tempfile.TemporaryDirectory(prefix="softcell-fuzz-")
    folder.kept = made  # type: ignore[attr-defined]
    return Path(made.name)


@cache
def plan(scheme: str) -> Plan:
    """Return a plan of the small network."""
    weights = StateDictWeights(STATE)
    return make_plan(weights, parse_device(DEVICE), scheme, cells_per_weight=SCHEMES[scheme])


@cache
def image(scheme: str) -> Path:
    """Return an image of the small network."""
    path = folder() / f"{scheme}.cells"
    write_image(StateDictWeights(STATE), plan(scheme), path)
    return path


@cache
def chip() -> Path:
    """Return a chip that holds an image."""
    path = folder() / "chip.safetensors"
    with CellImage(image("combined")) as opened:
        write_chip(opened, 3, path)
    return path


@cache
def plan_file(scheme: str) -> Path:
    """Return a plan's file, with what a search says of it."""
    path = folder() / f"{scheme}.json"
    save_plan(path, plan(scheme))
    values = json.loads(path.read_text())
    trial = Trial(Recipe("combined"), 2.0, 1.5, Verdict(0.01, 0.001, 0.1), None, 0.5)
    values["settings"] = {
        "recipe": values_of(Recipe("combined")),
        "task": "",
        "model": "",
        "goal": "x",
    }
    values["report"] = {
        "asked": values_of(GOAL) | {"keep": []},
        "tried": [trial.values()],
        "layers": [],
    }
    values["network"] = network_digest(StateDictWeights(STATE))
    path.write_text(json.dumps(values))
    return path


@cache
def searched() -> Network:
    """Return the network that a search was for."""
    return Network(source=lambda: StateDictWeights(STATE))


@cache
def calibration() -> Path:
    """Return a calibration's file."""
    path = folder() / "calibration.safetensors"
    layers = {
        "a.weight": LayerCurvature(np.eye(10, dtype=np.float32)[None], np.ones(12, np.float32)),
        "b.weight": LayerCurvature(
            np.eye(18, dtype=np.float32)[None],
            np.ones(6, np.float32),
            across=LayerCurvature(
                np.eye(36, dtype=np.float32)[None], np.ones(3, np.float32), joined=True
            ),
        ),
    }
    fisher = {name: np.ones_like(v) for name, v in STATE.items() if v.dtype == np.float32}
    save_calibration(path, Calibration(layers, {"b": 1e-5}, 4, "fisher", fisher))
    return path


@cache
def fisher() -> Path:
    """Return a file of Fisher information."""
    path = folder() / "fisher.safetensors"
    save_fisher(path, {n: np.abs(v) for n, v in STATE.items() if v.dtype == np.float32})
    return path


@cache
def network() -> Path:
    """Return a file of the small network."""
    path = folder() / "network.safetensors"
    reader = StateDictWeights(STATE)
    with WeightsWriter(path, [reader.info(name) for name in reader.names]) as writer:
        for name in reader.names:
            writer.write(name, reader.read(name))
    return path


@cache
def weights() -> Path:
    """Return a file of weights in several types."""
    path = folder() / "weights.safetensors"
    reader = StateDictWeights({**STATE, "half": np.ones(3, np.float16), "on": np.ones(2, bool)})
    infos = [reader.info(name) for name in reader.names]
    with WeightsWriter(path, infos, {"format": "pt", "who": "us"}) as writer:
        for name in reader.names:
            writer.write(name, reader.read(name))
    return path


def trainer() -> tuple[nn.Module, torch.optim.Optimizer]:
    """Return a module and its optimiser, after one step."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    optimiser = torch.optim.Adam(module.parameters())
    module(torch.ones(2, 3)).sum().backward()
    optimiser.step()
    return module, optimiser


@cache
def checkpoint() -> Path:
    """Return a checkpoint."""
    path = folder() / "checkpoint.safetensors"
    numbers = {"start": 1.0, "lasting": 0.0, "price": 0.5}
    write_checkpoint(path, *trainer(), 4, {"training": "x", "seed": "1"}, numbers=numbers)
    return path


@cache
def trained() -> Path:
    """Return a trained network, with its plan beside it."""
    state = {"w": np.rint(4 * normal(6, 5, label="trained")) / 8, "v": np.ones(5, np.float32)}
    own = make_plan(StateDictWeights(state), parse_device(DEVICE), "int8")
    path = folder() / "plan-of-trained.json"
    save_plan(path, own)
    values = json.loads(path.read_text())
    values["settings"] = {
        "recipe": values_of(Recipe("combined")),
        "task": "",
        "model": "",
        "goal": "",
    }
    path.write_text(json.dumps(values))
    network = TrainedNetwork("small", "", "", state, load_plan(path), "none", 1, ("one", "two"))
    return network.save(folder(), compact=False)


@cache
def results() -> Path:
    """Return a file of results."""
    path = folder() / "results.json"
    result = Result(
        *("digits", "cnn", DEVICE, 0.0, "combined", 2.0, 2.0, 0.1, 0.9, (0.8, 0.95), 0.9, 2, 100),
        *(20.0, 1.0, 2.6),
        accuracies=(0.9, 0.9),
    )
    write_results(path, [result, result])
    return path


def ages() -> tuple[str, ...]:
    """Return ages as people write them."""
    return ("0", "20s", "1.5h", "1d..10y", "10y", "3e8", "1m..1h", str(Ages(0.0, 60.0)))


SPECIFICATIONS = (
    *("ideal", "gaussian:snr_db=12", "pcm-partial-reset:read_noise=0.04", "rram-wan", "pcm-sweep"),
    *("gaussian:snr_db=12+stuck:low=0.001+readout:bits=6", "pcm-mushroom:g_max=20", "rram-reset"),
    *("ideal+spread:sigma=0.1", "my_module:Cell:quiet=0.1", "some/file.toml"),
)
MEASUREMENTS = "device,pulse_voltage_V,resistance_ohm\n" + "".join(
    f"{device},{voltage},{1e4 * (1 + voltage) * (1 + 0.01 * ((device * 7 + voltage * 3) % 5))}\n"
    for device in range(3)
    for voltage in range(4)
    for _ in range(3)
)
