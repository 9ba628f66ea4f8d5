"""A user's own module, loss and loader, trained to a number of cells."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import softcell
from softcell.errors import InputError
from softcell.training import (
    FewCells,
    TrainedNetwork,
    measure_trained,
    own_settings,
    train_for_cells,
)

SHORT = own_settings(0.9, loss=True, epochs=6)


def drawn(count, seed):
    """Return images of four classes, told apart by the brightest quarter."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(4, (count,), generator=generator)
    images = torch.rand(count, 1, 8, 8, generator=generator)
    for image, label in zip(images, labels):
        top, left = 4 * (label // 2), 4 * (label % 2)
        image[0, top : top + 4, left : left + 4] += 0.35
    return images, labels


@pytest.fixture(scope="module")
def data():
    return drawn(512, 1)


@pytest.fixture(scope="module")
def network(data):
    """Convolutions with batch normalisation, trained for a moment."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(
            *(nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
            *(nn.MaxPool2d(2), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(256, 4)),
        )
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    images, labels = data
    for _ in range(8):
        for start in range(0, 512, 64):
            part = slice(start, start + 64)
            loss = functional.cross_entropy(net(images[part]), labels[part])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return net.eval()


def loader(data, **options):
    return DataLoader(TensorDataset(*data), **({"batch_size": 64, "shuffle": True} | options))


def accuracy(network, state):
    module = copy.deepcopy(network)
    module.load_state_dict(state)
    images, labels = drawn(400, 9)
    with torch.no_grad():
        return float((module(images).argmax(1) == labels).float().mean())


def test_a_network_ends_at_its_number_of_cells(network, data, tmp_path):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    lines = []
    trained = train_for_cells(
        network, loader(data), SHORT, loss=functional.cross_entropy, told=lines.append
    )
    assert 0.6 < trained.plan.target < 0.95
    assert tuple(lines) == trained.log
    assert trained.log[0].startswith("start: ")
    assert accuracy(network, before) > 0.95
    assert accuracy(network, trained.state_dict()) > 0.9
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])
    # What was trained is what is read from the cells, counts of batches too.
    path = trained.save(tmp_path, compact=True)
    again = TrainedNetwork.load(path)
    again.write(tmp_path / "own.cells")
    restored = softcell.read(tmp_path / "own.cells", seed=3)
    assert list(restored) == list(before)
    for name, values in trained.state.items():
        np.testing.assert_array_equal(restored[name], values)
        assert restored[name].dtype == again.state[name].dtype == values.dtype
    with pytest.raises(InputError, match="somebody's own"):
        next(measure_trained([again]))


def test_the_network_itself_is_distilled_where_there_is_no_loss(network, data):
    settings = own_settings(0.9, loss=False, epochs=6)
    trained = train_for_cells(network, data[0], settings)
    assert trained.plan.target < 0.95
    module = copy.deepcopy(network)
    module.load_state_dict(trained.state_dict())
    images, _ = drawn(400, 9)
    with torch.no_grad():
        before, after = network(images).log_softmax(1), module(images).log_softmax(1)
    assert float((before.exp() * (before - after)).sum(1).mean()) < 0.1


def test_an_interrupted_run_ends_as_another(network, data, tmp_path):
    # 80 batches of 8: two epochs, the first checkpoint in the middle of the second.
    settings = own_settings(2.0, loss=True, epochs=10, above=0.0)
    options = {"loss": functional.cross_entropy, "seed": 5}
    whole = train_for_cells(network, loader(data, batch_size=8), settings, **options)
    path = tmp_path / "checkpoint.safetensors"

    class StopError(Exception):
        pass

    def stop(what, done, total):
        if what == "training steps" and path.exists():
            raise StopError

    with pytest.raises(StopError):
        train_for_cells(
            *(network, loader(data, batch_size=8), settings),
            **options,
            checkpoint=path,
            progress=stop,
        )
    kept = {"checkpoint": path, "resume": True}
    resumed = train_for_cells(network, loader(data, batch_size=8), settings, **options, **kept)
    assert any(line.startswith("resumed after 500") for line in resumed.log)
    for name, values in whole.state.items():
        np.testing.assert_array_equal(resumed.state[name], values)
    for other in ({"seed": 6}, {"loss": functional.nll_loss}):
        with pytest.raises(InputError, match="another training"):
            train_for_cells(
                network, loader(data, batch_size=8), settings, **options | other, **kept
            )


def test_training_goes_on_from_a_trained_network(network, data):
    settings = replace(SHORT, epochs=1.0, matrices=False, by_row=True, plans=1)
    options = {"loss": functional.cross_entropy}
    first = train_for_cells(network, loader(data), settings, **options)
    second = train_for_cells(network, loader(data), settings, **options, source=first)
    assert second.log[: len(first.log)] == first.log
    for name, values in first.state.items():
        if values.ndim > 1:  # matrices stay as they are written
            np.testing.assert_array_equal(second.state[name], values)
    with pytest.raises(InputError, match="'0.weight' is .* in network, and missing in the module"):
        train_for_cells(nn.Linear(8, 4), torch.rand(64, 8), 1.0, source=first)


def test_plans_are_judged_by_the_users_function(network, data):
    seen = []

    def evaluate(state):
        seen.append(state)
        return accuracy(network, state)

    settings = replace(SHORT, plans=2, epochs=0.2)
    train_for_cells(
        network, loader(data), settings, loss=functional.cross_entropy, evaluate=evaluate
    )
    assert len(seen) == 4  # the float network, one with shuffled weights, and two plans
    assert all(isinstance(tensor, torch.Tensor) for tensor in seen[1].values())


class Residual(nn.Module):
    """Two blocks, either of which the network could do without."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(16, 48), nn.Linear(16, 48)
        self.back, self.output = nn.Linear(48, 16), nn.Linear(16, 8)

    def forward(self, x):
        x = x + self.back(torch.relu(self.first(x)))
        return self.output(x + self.back(torch.relu(self.second(x))))


def test_parts_that_go_leave_zeros():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module, inputs = Residual(), torch.randn(96, 16)
    settings = own_settings(1.5, loss=False, epochs=1, drop=("second",), drop_epochs=20)
    trained = train_for_cells(module, inputs, settings)
    assert trained.log[0] == "without second"
    losses = [float(line.split("loss ")[1]) for line in trained.log if "of 20" in line]
    assert losses[-1] < losses[0]
    assert not trained.state["second.weight"].any()
    assert trained.state["first.weight"].any()
    again = train_for_cells(module, inputs, replace(settings, drop=()), source=trained)
    assert not again.state["second.weight"].any()


class Tied(nn.Module):
    """Predicts tokens; its embedding is the output matrix, too, and a mask goes with it."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(24, 32)
        self.hidden = nn.Linear(32, 32)
        self.output = nn.Linear(32, 24, bias=False)
        self.output.weight = self.embedding.weight
        self.register_buffer("scale", torch.full((1, 32), 1.5))

    def forward(self, tokens):
        return self.output(torch.relu(self.hidden(self.embedding(tokens) * self.scale)))


def test_tied_matrices_and_buffers_are_stored_once(tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module, tokens = Tied().to(torch.bfloat16), torch.randint(24, (96, 6))
    trained = train_for_cells(module, tokens, own_settings(2.5, loss=False, epochs=2))
    assert sorted(trained.state) == ["embedding.weight", "hidden.bias", "hidden.weight", "scale"]
    trained.write(tmp_path / "own.cells")
    module.load_state_dict(trained.state_dict(), strict=False)
    assert module.output.weight is module.embedding.weight


@pytest.mark.parametrize(
    ("settings", "options", "message"),
    [
        (FewCells(1.0), {}, "leave out mix"),
        (own_settings(1.0, loss=False, teachers=("cnn",)), {}, "teachers"),
        (own_settings(1.0, loss=True), {}, "no loss"),
        (own_settings(1.0, loss=False), {"loss": functional.cross_entropy}, "weight is 0"),
        (1.0, {"loss": functional.cross_entropy}, "inputs alone"),
        (1.0, {"inputs": torch.rand(4, 8)}, "at least 8"),
        (1.0, {"device": "tape"}, "tape"),
        (own_settings(1.0, loss=False, drop=("conv9",)), {}, "no part"),
        (own_settings(0.001, loss=False, above=1.0), {}, "too few"),
        (-1.0, {}, "above 0"),
    ],
)
def test_mistakes(settings, options, message):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(8, 800), nn.ReLU(), nn.Linear(800, 4))
        inputs = torch.rand(32, 8)
    with pytest.raises(InputError, match=message):
        train_for_cells(module, inputs, settings, **options)


def test_a_loss_that_is_no_scalar_is_told(network, data):
    with pytest.raises(InputError, match=r"the loss gave \(64,\)"):
        train_for_cells(
            *(network, loader(data), SHORT),
            loss=lambda outputs, labels: functional.cross_entropy(
                outputs, labels, reduction="none"
            ),
        )
