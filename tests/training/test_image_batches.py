import numpy as np
import pytest
import torch

from softcell.errors import InputError
from softcell.evaluate.datasets import Images
from softcell.evaluate.preprocessing import Preprocessing
from softcell.training import ImageBatches

PLAIN = Preprocessing((0.0,), (1.0,))


def images(count):
    """Return images with one bright pixel in the middle, as bright as their label."""
    pixels = np.zeros((count, 5, 5, 1), np.uint8)
    pixels[:, 2, 2, 0] = np.arange(count) + 1
    return Images(pixels, np.arange(count) + 1)


def test_every_epoch_has_every_image_once_in_another_order():
    batches = ImageBatches(images(10), PLAIN, size=4, shift=0, seed=3)
    assert batches.epoch == 3
    epochs = [torch.cat([batches(3 * e + i)[1] for i in range(3)]) for e in range(2)]
    for labels in epochs:
        assert sorted(labels.tolist()) == list(range(1, 11))
    assert not torch.equal(*epochs)
    x, labels = batches(0)
    assert x.shape == (4, 1, 5, 5)
    assert torch.equal(x[:, 0, 2, 2].long(), labels)


def test_a_batch_is_a_function_of_seed_and_number():
    a, b = (ImageBatches(images(9), PLAIN, size=4, seed=3) for _ in range(2))
    wanted = [a(step) for step in range(7)]
    for step in (6, 0, 4):
        for x, y in zip(b(step), wanted[step], strict=True):
            assert torch.equal(x, y)
    other = ImageBatches(images(9), PLAIN, size=4, seed=4)
    assert not torch.equal(other(0)[0], wanted[0][0])


def test_images_are_shifted_by_up_to_so_much():
    batches = ImageBatches(images(100), PLAIN, size=100, shift=1, seed=0)
    x, labels = batches(0)
    assert torch.equal(x.sum(dim=(1, 2, 3)).long(), labels)
    places = {tuple(np.argwhere(one.numpy() > 0)[0]) for one in x[:, 0]}
    assert places == {(r, c) for r in (1, 2, 3) for c in (1, 2, 3)}


@pytest.mark.parametrize("options", [{"size": 0}, {"shift": -1}, {"seed": -1}])
def test_bad_arguments(options):
    with pytest.raises(InputError):
        ImageBatches(images(3), PLAIN, **options)
