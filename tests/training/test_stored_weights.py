import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from softcell.errors import InputError
from softcell.training import NoisyStorage, QuantisedStorage, Storage, StoredWeights


def quantised(name, weight):
    return QuantisedStorage(weight, step=0.7)


def test_forward_sees_stored_matrices_and_the_module_keeps_the_float_ones(network, batches):
    network.eval()
    x, _ = batches(0)
    before = {name: values.clone() for name, values in network.state_dict().items()}
    stored = StoredWeights(network, quantised).eval()
    assert stored.names == ("0.weight", "3.weight")
    state = stored.state()
    assert state.keys() == before.keys()
    hidden = x @ torch.from_numpy(state["0.weight"]).T + before["0.bias"]
    expected = hidden.relu() @ torch.from_numpy(state["3.weight"]).T + before["3.bias"]
    torch.testing.assert_close(stored(x), expected)
    assert len(np.unique(np.abs(state["0.weight"]))) < 10
    for name, values in network.state_dict().items():
        assert torch.equal(values, before[name])
    assert stored.weights == 16 * 24 + 24 + 24 * 4 + 4


def test_all_that_is_trained_is_among_the_parameters(network, batches):
    stored = StoredWeights(network, quantised)
    x, labels = batches(0)
    (functional.cross_entropy(stored(x), labels) + stored.bits() / stored.weights).backward()
    names = {name for name, values in stored.named_parameters() if values.grad.abs().sum() > 0}
    assert names == {
        "module.0.weight",
        "module.0.bias",
        "module.3.weight",
        "module.3.bias",
        "storages.0/weight.log_step",
        "storages.3/weight.log_step",
    }


def test_gradients_accumulate_over_parts_of_a_batch(network, batches):
    stored = StoredWeights(network.eval(), quantised).eval()
    x, labels = batches(0)

    def gradients(parts):
        stored.zero_grad()
        for inputs, wanted in zip(x.chunk(parts), labels.chunk(parts), strict=True):
            loss = functional.cross_entropy(stored(inputs), wanted) + 0.1 * stored.bits() / 500
            (loss / parts).backward()
        return [each.grad.clone() for each in stored.parameters()]

    for whole, summed in zip(gradients(1), gradients(4), strict=True):
        torch.testing.assert_close(whole, summed, rtol=1e-4, atol=1e-6)


def test_autocast(network, batches):
    stored = StoredWeights(network.eval(), quantised).eval()
    x, labels = batches(0)
    full = stored(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        short = stored(x)
        loss = functional.cross_entropy(short, labels) + stored.bits() / stored.weights
    assert short.dtype == torch.bfloat16
    torch.testing.assert_close(short.float(), full, rtol=0.05, atol=0.05)
    loss.backward()
    for values in stored.parameters():
        assert values.grad.dtype == torch.float32
        assert torch.isfinite(values.grad).all()


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(6, 4)
        self.out = nn.Linear(4, 6, bias=False)
        self.out.weight = self.embedding.weight

    def forward(self, tokens):
        return self.out(self.embedding(tokens))


def test_a_matrix_of_two_names_is_stored_once():
    module = Tied()
    module.embedding.weight.data = torch.linspace(-2, 2, 24).reshape(6, 4)
    stored = StoredWeights(module, quantised)
    assert stored.names == ("embedding.weight",)
    state = stored.state()
    seen = torch.from_numpy(state["embedding.weight"])
    np.testing.assert_array_equal(state["out.weight"], seen)
    tokens = torch.tensor([1, 4])
    torch.testing.assert_close(stored(tokens), seen[tokens] @ seen.T)
    assert list(stored.encode()) == ["embedding.weight"]


def test_storages_are_chosen_by_name(network, batches):
    def storage(name, weight):
        if name == "0.weight":
            return NoisyStorage.at(10.0, seed=0, label=name)
        return QuantisedStorage(weight)

    stored = StoredWeights(network, storage)
    alone = stored.storage("3.weight").bits(network[3].weight)
    assert float(stored.bits().detach()) == float(alone.detach())
    assert list(stored.encode()) == ["3.weight"]
    kept = StoredWeights(network, quantised, keep=["0.weight"])
    assert kept.names == ("3.weight",)
    np.testing.assert_array_equal(kept.state()["0.weight"], network[0].weight.detach())


def test_pruning_takes_the_smallest_of_all_matrices_and_they_stay_zero(network, batches):
    stored = StoredWeights(network, lambda name, w: NoisyStorage.at(20.0, seed=0, label=name))
    sizes = torch.cat([network[i].weight.detach().abs().flatten() for i in (0, 3)])
    stored.prune(0.5)
    kept = torch.cat([stored.wanted(name).detach().flatten() for name in stored.names]) != 0
    assert int(kept.sum()) == sizes.numel() // 2
    assert sizes[kept].min() >= sizes[~kept].max()
    # Pruned weights have no gradient, and do not come back when pruned less.
    x, labels = batches(0)
    functional.cross_entropy(stored(x), labels).backward()
    assert not network[0].weight.grad[stored.wanted("0.weight") == 0].any()
    with torch.no_grad():
        network[0].weight.fill_(9.0)
    stored.prune(0.1)
    again = torch.cat([stored.wanted(name).detach().flatten() for name in stored.names]) != 0
    assert not (again & ~kept).any()


def test_pruning_by_fisher_information_takes_what_the_loss_feels_least(network):
    stored = StoredWeights(network, quantised)
    before = {name: stored.wanted(name).detach().clone() for name in stored.names}
    fisher = {
        name: torch.linspace(0.1, 50.0, values.numel()).reshape(values.shape) ** 2
        for name, values in before.items()
    }
    felt = torch.cat([(fisher[name] * before[name] ** 2).flatten() for name in before])
    sizes = torch.cat([values.abs().flatten() for values in before.values()])
    stored.prune(0.4, {name: 1e-12 * each for name, each in fisher.items()})
    gone = torch.cat([stored.wanted(name).detach().flatten() for name in stored.names]) == 0
    assert int(gone.sum()) == int(0.4 * gone.numel())
    assert felt[gone].max() <= felt[~gone].min()
    assert sizes[gone].max() > sizes[~gone].min()


def test_what_is_pruned_counts_before_what_does_not_matter(network):
    stored = StoredWeights(network, quantised)
    nothing = {name: torch.zeros_like(stored.wanted(name)) for name in stored.names}
    stored.prune(0.25)
    stored.prune(0.5, nothing)
    gone = sum(int((stored.wanted(name) == 0).sum()) for name in stored.names)
    assert gone == 240
    stored.prune(0.5, nothing)
    assert gone == sum(int((stored.wanted(name) == 0).sum()) for name in stored.names)


def test_fisher_information_that_cannot_be_used(network):
    stored = StoredWeights(network, quantised)
    good = {name: torch.ones_like(stored.wanted(name)) for name in stored.names}
    for bad in (
        {"0.weight": good["0.weight"]},
        {**good, "3.weight": good["3.weight"].T},
        {**good, "3.weight": -good["3.weight"]},
        {**good, "3.weight": torch.nan * good["3.weight"]},
    ):
        with pytest.raises(InputError, match=r"'3\.weight'"):
            stored.prune(0.5, bad)
    assert all(bool((stored.wanted(name) != 0).all()) for name in stored.names)


def test_zeros_stay_zero(network):
    stored = StoredWeights(network, quantised)
    before = stored.state()
    stored.prune_zeros()
    for name in stored.names:
        np.testing.assert_array_equal(stored.state()[name], before[name])
        zero = before[name] == 0
        assert 0 < zero.sum() < zero.size
        network.get_parameter(name).data += 9.0
        np.testing.assert_array_equal(stored.state()[name] == 0, zero)


class Unknown(Storage):
    def forward(self, weight):
        return weight


def test_a_storage_of_ones_own(network, batches):
    stored = StoredWeights(network.eval(), lambda name, w: Unknown()).eval()
    x, _ = batches(0)
    assert torch.equal(stored(x), network(x))
    assert float(stored.bits()) == 0
    assert stored.encode() == {}


def test_bad_arguments(network):
    with pytest.raises(InputError, match="no parameter 'x'"):
        StoredWeights(network, quantised, keep=["x"])
    with pytest.raises(InputError, match="no matrix"):
        StoredWeights(nn.BatchNorm1d(3), quantised)
    with pytest.raises(InputError, match=r"\[0, 1\)"):
        StoredWeights(network, quantised).prune(1.0)
