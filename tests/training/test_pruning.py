import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from softcell.errors import InputError
from softcell.training import (
    CrossEntropy,
    GradualPruning,
    NoisyStorage,
    QuantisedStorage,
    StoredTraining,
    StoredWeights,
    train_stored,
)


def quiet(name, weight):
    return NoisyStorage(0.0, seed=0, label=name)


def zeros(stored):
    return {name: stored.wanted(name).detach() == 0 for name in stored.names}


def test_one_shot_pruning_is_one_step_long():
    one_shot = GradualPruning(0.9, 10, 11)
    due = [(t, one_shot.sparsity(t)) for t in range(30) if one_shot.due(t)]
    assert due == [(10, 0.0), (11, 0.9)]


def test_fisher_pruning_keeps_small_weights_that_the_loss_feels(network, batches):
    """Of the inputs half are dead: their weights are the largest, and Adam sees no gradient."""
    with torch.no_grad():
        network[0].weight[:, 8:] = 9.0

    def half(step):
        x, labels = batches(step)
        x[:, 8:] = 0
        return x, labels

    pruned = {}
    for saliency in ("magnitude", "fisher"):
        stored = StoredWeights(copy.deepcopy(network), quiet)
        training = StoredTraining(steps=8, pruning=GradualPruning(0.4, 6, 7, saliency=saliency))
        train_stored(stored, CrossEntropy(), half, training, seed=0)
        pruned[saliency] = zeros(stored)["0.weight"]
    dead = 24 * 8
    total = int(0.4 * (16 * 24 + 24 * 4))
    assert dead == total
    assert pruned["fisher"][:, 8:].all()
    assert not pruned["fisher"][:, :8].any()
    assert not pruned["magnitude"][:, 8:].any()


def test_fisher_saliency_is_that_of_adam(network, batches):
    stored = StoredWeights(network.eval(), quiet)
    optimiser = torch.optim.Adam(stored.parameters(), lr=1e-3)
    squares = {name: torch.zeros_like(stored.wanted(name)) for name in stored.names}
    for step in range(5):
        x, labels = batches(step)
        optimiser.zero_grad()
        CrossEntropy()(stored(x), x, labels).backward()
        for name, mean in squares.items():
            mean.mul_(0.999).add_(0.001 * stored.module.get_parameter(name).grad ** 2)
        optimiser.step()
    felt = torch.cat(
        [(squares[name] * stored.wanted(name).detach() ** 2).flatten() for name in stored.names]
    )
    GradualPruning(0.5, 0, 5, saliency="fisher").prune(stored, optimiser, 5)
    gone = torch.cat([each.flatten() for each in zeros(stored).values()])
    assert int(gone.sum()) == gone.numel() // 2
    assert felt[gone].max() <= felt[~gone].min() * (1 + 1e-5)
    sizes = torch.cat([stored.module.get_parameter(n).detach().abs().flatten() for n in squares])
    assert sizes[gone].max() > sizes[~gone].min()


def test_an_interrupted_fisher_pruning_resumes_to_the_same_bits(network, batches, tmp_path):
    training = StoredTraining(
        steps=24,
        learning_rate=1e-2,
        pruning=GradualPruning(0.6, 4, 20, every=4, saliency="fisher"),
        checkpoint_every=10,
    )

    class StopError(Exception):
        pass

    def stop(at):
        if at.step == 15:
            raise StopError

    def run(**options):
        stored = StoredWeights(copy.deepcopy(network), lambda name, w: QuantisedStorage(w))
        train_stored(stored, CrossEntropy(), batches, training, seed=0, **options)
        return stored.state_dict()

    whole = run()
    path = tmp_path / "state.safetensors"
    with pytest.raises(StopError):
        run(checkpoint=path, progress=stop)
    resumed = run(checkpoint=path, resume=True)
    assert all(torch.equal(values, resumed[name]) for name, values in whole.items())
    assert sum(int((~v).sum()) for n, v in whole.items() if n.startswith("kept.")) == int(0.6 * 480)
    magnitude = replace(training, pruning=replace(training.pruning, saliency="magnitude"))
    with pytest.raises(InputError, match="of another training"):
        stored = StoredWeights(copy.deepcopy(network), lambda name, w: QuantisedStorage(w))
        options = {"seed": 0, "checkpoint": path, "resume": True}
        train_stored(stored, CrossEntropy(), batches, magnitude, **options)


def test_before_the_first_step_there_is_nothing_to_go_by(network):
    stored = StoredWeights(network, quiet)
    optimiser = torch.optim.Adam(stored.parameters())
    pruning = GradualPruning(0.5, 0, 1, saliency="fisher")
    pruning.prune(stored, optimiser, 0)
    assert not any(gone.any() for gone in zeros(stored).values())
    with pytest.raises(InputError, match="no squared gradients of '0.weight' after 1 steps"):
        pruning.prune(stored, optimiser, 1)
    replace(pruning, saliency="magnitude").prune(stored, optimiser, 1)
    np.testing.assert_equal(sum(int(gone.sum()) for gone in zeros(stored).values()), 240)


@pytest.mark.parametrize("saliency", ["hessian", ""])
def test_an_unknown_saliency(saliency):
    with pytest.raises(InputError, match="magnitude, fisher"):
        GradualPruning(0.5, 0, 1, saliency=saliency)
