"""softcell train --module: a network, a loader and a loss of one's own."""

import json

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from softcell.training.trained_network import TrainedNetwork
from softcell.weights import TensorInfo, WeightsReader, WeightsWriter

OWN = """
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

def drawn(count, seed):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, 16, generator=generator)
    return inputs, (inputs[:, :4].sum(1) > 0).long() + 2 * (inputs[:, 4:8].sum(1) > 0).long()

def make():
    generator = torch.Generator().manual_seed(0)
    network = nn.Sequential(nn.Linear(16, 160), nn.ReLU(), nn.Linear(160, 4))
    for parameter in network.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) / 8
    return network

def loader():
    return DataLoader(TensorDataset(*drawn(320, 1)), batch_size=32, shuffle=True)

def loss(outputs, labels):
    return functional.cross_entropy(outputs, labels)

def evaluate(state):
    network = make()
    network.load_state_dict(state)
    inputs, labels = drawn(200, 2)
    with torch.no_grad():
        return float((network(inputs).argmax(1) == labels).float().mean())

def number():
    return 7

def broken_loss(outputs, labels):
    raise RuntimeError("no labels\\nhere")
"""

CELLS = ("--target-cells", "2", "--set", "above=0", "--epochs", "3", "-o", "own.safetensors")


@pytest.fixture
def own(softcell, tmp_path):
    """Run `softcell train --module` where the user's code, weights and inputs are."""
    (tmp_path / "train_own_module.py").write_text(OWN)
    space: dict = {}
    exec(OWN, space)
    inputs = space["drawn"](64, 1)[0].numpy()
    weights = {name: tensor.numpy() for name, tensor in fitted(space).state_dict().items()}
    save(tmp_path / "inputs.safetensors", {"x": inputs})
    save(tmp_path / "model.safetensors", weights)

    def run(*arguments):
        words = [str(word).replace("own:", "train_own_module:") for word in arguments]
        return softcell("train", *words)

    return run


def save(path, tensors):
    infos = [TensorInfo(name, values.shape, "F32") for name, values in tensors.items()]
    with WeightsWriter(path, infos) as writer:
        for name, values in tensors.items():
            writer.write(name, values)


def fitted(space) -> nn.Module:
    """Return the network, trained for a moment."""
    network, (inputs, labels) = space["make"](), space["drawn"](320, 1)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(60):
        loss = functional.cross_entropy(network(inputs), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network


def test_a_module_its_loader_and_loss(own, softcell, tmp_path):
    words = ("model.safetensors", "--module", "own:make", "--loader", "own:loader")
    words += ("--loss", "own:loss", "--evaluate", "own:evaluate")
    told = own(*words, *CELLS, "--json")
    assert told.status == 0, told.err
    facts = json.loads(told.out)
    assert (facts["task"], facts["model"], facts["images"]) == ("", "", 0)
    assert facts["cells_per_weight"] < 2.05
    assert min(facts["accuracy"], facts["float_accuracy"]) > 0.85
    assert facts["log"][0].startswith("start: ")
    assert not list(tmp_path.glob("*checkpoint*"))
    # The plan is enough to write it, and what is read is what was trained.
    softcell("write", "own.safetensors", "--plan", "own.json", "-o", "own.cells")
    assert softcell("read", "own.cells", "--seed", "3", "-o", "read.safetensors").status == 0
    network = TrainedNetwork.load("own.safetensors")
    with WeightsReader("read.safetensors") as restored:
        for name, values in network.state.items():
            np.testing.assert_array_equal(restored.read(name), values)
    assert "of somebody's own" in softcell("results", "--trained", "own.safetensors").one_line()
    # The kept command makes the same network again.
    again = softcell(*network.command.split()[1:], "-o", "again.safetensors")
    assert again.status == 0, again.err
    assert TrainedNetwork.load("again.safetensors").digest == network.digest
    shown = dict(line.split("  ", 1) for line in again.out.splitlines())
    assert shown["plan"].strip().endswith("softcell write again.safetensors --plan again.json")


def test_inputs_alone_distil_the_network(own, tmp_path):
    told = own(
        *("model.safetensors", "--module", "own:make", "--inputs", "inputs.safetensors"), *CELLS
    )
    assert told.status == 0, told.err
    assert "accuracy" not in told.out
    first = TrainedNetwork.load("own.safetensors")
    told = own(
        *("model.safetensors", "--module", "own:make", "--inputs", "inputs.safetensors"),
        *("--from", "own.safetensors", *CELLS[:-1], "more.safetensors"),
    )
    assert told.status == 0, told.err
    assert TrainedNetwork.load("more.safetensors").log[: len(first.log)] == first.log


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--loader", "own:loader", *CELLS), "--module"),
        (("model.safetensors", *CELLS), "--module"),
        (("--module", "own:make", *CELLS), "--loader, or --inputs"),
        (
            ("--module", "own:make", "--inputs", "inputs.safetensors", "--loss", "own:loss"),
            "takes labels",
        ),
        (("--module", "own:make", "--loader", "own:loader"), "--target-cells"),
        (("--module", "own:make", "--loader", "own:loader", "--task", "mnist", *CELLS), "--task"),
        (
            ("--module", "own:make", "--loader", "own:loader", "--teacher", "cnn", *CELLS),
            "--teacher",
        ),
        (("--module", "own:number", "--loader", "own:loader", *CELLS), "torch.nn.Module"),
        (("--module", "own:make", "--loader", "own:number", *CELLS), "got a int"),
        (("--module", "own:make", "--loader", "own:nothing", *CELLS), "no function 'nothing'"),
        (("--module", "own:make", "--loader", "own:loader", "--set", "mix=0.2", *CELLS), "mix"),
        (
            ("--module", "own:make", "--loader", "own:loader", "--loss", "own:broken_loss", *CELLS),
            "train_own_module.py:",
        ),
        (
            ("--module", "own:make", "--inputs", "own.safetensors", *CELLS),
            "is what is read",
        ),
    ],
)
def test_mistakes(own, words, message):
    told = own(*words)
    assert told.status == 2
    assert message in told.err
    assert "Traceback" not in told.err
