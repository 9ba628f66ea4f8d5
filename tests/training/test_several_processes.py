"""A stored network in the wrapper that torch has for several processes, each with its images."""

from datetime import timedelta

import numpy as np
import pytest
import torch
from torch import distributed, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from softcell.training import NoisyStorage, QuantisedStorage, StoredWeights

PROCESSES = 2


def stored_network():
    torch.manual_seed(3)
    network = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))

    def storage(name, weight):
        if name == "0.weight":
            return QuantisedStorage(weight, step=0.1)
        return NoisyStorage.at(10.0, seed=5, label=name)

    return StoredWeights(network, storage)


def trained(stored, wrapped, x, labels):
    optimiser = torch.optim.SGD(stored.parameters(), lr=0.1)
    for _ in range(25):
        loss = functional.cross_entropy(wrapped(x), labels) + 0.5 * stored.bits() / stored.weights
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return stored.state()


def batch():
    x = torch.randn(32, 6, generator=torch.Generator().manual_seed(1))
    return x, x[:, :3].argmax(dim=1)


def run(rank, meeting, states):
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{meeting}",
        rank=rank,
        world_size=PROCESSES,
        timeout=timedelta(minutes=2),
    )
    stored = stored_network()
    x, labels = (part.chunk(PROCESSES)[rank] for part in batch())
    state = trained(stored, DistributedDataParallel(stored), x, labels)
    np.savez(f"{states}/{rank}.npz", **state)
    distributed.destroy_process_group()


@pytest.mark.skipif(not distributed.is_gloo_available(), reason="torch was built without gloo")
def test_processes_that_share_their_gradients_train_as_one(tmp_path):
    place = (str(tmp_path / "meeting"), str(tmp_path))
    # This process is one of them: every other one has to import torch.
    others = torch.multiprocessing.spawn(run, place, PROCESSES - 1, join=False)
    run(PROCESSES - 1, *place)
    while not others.join():
        pass
    alone = stored_network()
    whole = trained(alone, alone, *batch())
    for rank in range(PROCESSES):
        for name, values in np.load(tmp_path / f"{rank}.npz").items():
            np.testing.assert_allclose(values, whole[name], rtol=1e-3, atol=1e-5)
