import numpy as np
import pytest
import torch

from softcell.errors import InputError
from softcell.evaluate.datasets import Images
from softcell.evaluate.preprocessing import Augmentation, Preprocessing
from softcell.training import ImageBatches

PLAIN = Preprocessing((0.0,), (1.0,))
AS_THEY_ARE = Augmentation(mix=0.0)
SHIFTED = Augmentation(shift=1, mix=0.0)


def images(count):
    """Return images with one bright pixel in the middle, as bright as their label."""
    pixels = np.zeros((count, 5, 5, 1), np.uint8)
    pixels[:, 2, 2, 0] = np.arange(count) + 1
    return Images(pixels, np.arange(count) + 1)


def test_every_epoch_has_every_image_once_in_another_order():
    batches = ImageBatches(images(10), PLAIN, augmentation=AS_THEY_ARE, size=4, seed=3)
    assert batches.epoch == 3
    epochs = [torch.cat([batches(3 * e + i)[1] for i in range(3)]) for e in range(2)]
    for labels in epochs:
        assert sorted(labels.tolist()) == list(range(1, 11))
    assert not torch.equal(*epochs)
    x, labels = batches(0)
    assert x.shape == (4, 1, 5, 5)
    assert torch.equal(x[:, 0, 2, 2].long(), labels)


def test_a_batch_is_a_function_of_seed_and_number():
    a, b, other = (
        ImageBatches(images(9), PLAIN, augmentation=SHIFTED, size=4, seed=seed)
        for seed in (3, 3, 4)
    )
    wanted = [a(step) for step in range(7)]
    for step in (6, 0, 4):
        for x, y in zip(b(step), wanted[step], strict=True):
            assert torch.equal(x, y)
    assert not torch.equal(other(0)[0], wanted[0][0])


def test_images_are_shifted_by_up_to_so_much():
    batches = ImageBatches(images(100), PLAIN, augmentation=SHIFTED, size=100, seed=0)
    x, labels = batches(0)
    assert torch.equal(x.sum(dim=(1, 2, 3)).long(), labels)
    places = {tuple(np.argwhere(one.numpy() > 0)[0]) for one in x[:, 0]}
    assert places == {(r, c) for r in (1, 2, 3) for c in (1, 2, 3)}


def test_images_are_mirrored_half_of_the_time():
    pixels = np.zeros((400, 5, 5, 1), np.uint8)
    pixels[:, 2, 0] = 7
    every = Images(pixels, np.arange(400))
    mirror = Augmentation(flip=True, mix=0.0)
    x, _ = ImageBatches(every, PLAIN, augmentation=mirror, size=400)(0)
    right = (x[:, 0, 2, 4] == 7).sum()
    assert 160 < int(right) < 240  # 200 on average, with a deviation of 10
    assert int((x[:, 0, 2, 0] == 7).sum()) == 400 - int(right)


def test_images_are_mixed_with_the_next_and_keep_the_label_of_the_larger_share():
    batches = ImageBatches(images(200), PLAIN, augmentation=Augmentation(mix=0.4), size=200, seed=2)
    x, labels = batches(0)
    own, other = labels.float(), labels.roll(-1).float()
    share = (x[:, 0, 2, 2] - own) / (other - own)
    assert float(share.min()) >= 0
    assert 0.35 < float(share.max()) <= 0.4 + 1e-5
    assert float(share.mean()) == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize("options", [{"size": 0}, {"seed": -1}])
def test_bad_arguments(options):
    with pytest.raises(InputError):
        ImageBatches(images(3), PLAIN, augmentation=AS_THEY_ARE, **options)


def test_no_images():
    with pytest.raises(InputError, match="got 0 images"):
        ImageBatches(images(0), PLAIN, augmentation=AS_THEY_ARE)
