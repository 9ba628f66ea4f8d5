"""A user's own batches: the same at the same step, whatever was asked before."""

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset

from softcell.errors import InputError
from softcell.training import InputBatches, LoaderBatches
from softcell.training.loader_batches import first_inputs


class Varied(Dataset):
    """Ten inputs that are never the same twice."""

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return torch.rand(3) + index, torch.tensor(index)


def loader(seed=0, data=None, **options):
    options = {"batch_size": 4, "shuffle": True} | options
    return LoaderBatches(DataLoader(data or Varied(), **options), labelled=True, seed=seed)


def test_every_epoch_has_all_inputs_in_another_order():
    batches = loader()
    assert batches.epoch == 3
    orders = [torch.cat([batches(3 * e + n)[1] for n in range(3)]).tolist() for e in range(3)]
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert orders[0] != orders[1] != orders[2]


def test_a_batch_is_a_function_of_seed_and_step():
    whole = loader()
    expected = [whole(step) for step in range(9)]
    resumed = loader()
    for step in (4, 5, 6, 0, 8):
        for part, other in zip(resumed(step), expected[step]):
            torch.testing.assert_close(part, other, rtol=0, atol=0)
    assert not torch.equal(loader(seed=1)(0)[0], expected[0][0])


def test_the_global_generator_is_left_as_it_was():
    with torch.random.fork_rng():
        torch.manual_seed(7)
        expected = torch.rand(3)
        torch.manual_seed(7)
        loader()(5)
        torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)


def test_an_iterable_without_a_length_is_counted():
    class Endless:
        def __iter__(self):
            return iter([(torch.full((2, 3), n), torch.tensor([0, 1])) for n in range(5)])

    batches = LoaderBatches(Endless(), labelled=True, seed=0)
    assert batches.epoch == 5
    assert batches(8)[0][0, 0] == 3


def test_inputs_alone():
    (inputs, labels) = LoaderBatches([torch.ones(2, 3).half()], labelled=False, seed=0)(0)
    assert inputs.dtype == torch.float32
    assert labels.numel() == 0
    batches = InputBatches(torch.arange(20).reshape(10, 2), size=4, seed=0)
    assert batches.epoch == 3
    epochs = [torch.cat([batches(3 * e + n)[0] for n in range(3)]) for e in range(2)]
    assert all(sorted(e[:, 0].tolist()) == list(range(0, 20, 2)) for e in epochs)
    assert not torch.equal(*epochs)
    assert epochs[0].dtype == torch.int64  # tokens


def test_first_inputs_are_those_of_an_epoch():
    assert first_inputs(loader(shuffle=False), 6).floor()[:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert len(first_inputs(loader(), 100)) == 10


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        (lambda: LoaderBatches(iter([]), labelled=True, seed=0), "list_iterator"),
        (lambda: LoaderBatches(7, labelled=True, seed=0), "int"),
        (lambda: LoaderBatches([], labelled=True, seed=0), "no batches"),
        (lambda: LoaderBatches([{"x": 1}], labelled=True, seed=0), "a dict"),
        (lambda: LoaderBatches([[1, 2]], labelled=True, seed=0), r"a list of 2 \(int, int\)"),
        (lambda: LoaderBatches([torch.ones(2, 2)], labelled=True, seed=0), "inputs alone"),
        (lambda: loader(data=TensorDataset(torch.rand(9, 3))), "inputs alone"),
        (lambda: InputBatches(torch.ones(3), size=2, seed=0), r"shape \(3,\)"),
    ],
)
def test_what_is_no_loader_is_refused(batches, message):
    with pytest.raises(InputError, match=message):
        batches()(0)


def test_an_epoch_that_is_shorter_than_before_is_told():
    shrinking = [[torch.ones(1, 1)] * 3, [torch.ones(1, 1)] * 2]

    class Shrinking:
        def __len__(self):
            return 3

        def __iter__(self):
            return iter(shrinking.pop(0))

    batches = LoaderBatches(Shrinking(), labelled=False, seed=0)
    for step in range(5):
        batches(step)
    with pytest.raises(InputError, match="2 batches in an epoch, and 3 before"):
        batches(5)
