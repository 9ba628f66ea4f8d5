import pytest
import torch

from softcell.errors import InputError
from softcell.evaluate.preprocessing import (
    CIFAR10,
    MOBILENET,
    SQUEEZENET,
    Augmentation,
    Preprocessing,
    random_offsets,
    shifted,
)
from softcell.streams import Stream

PIXEL = torch.tensor([10.0, 100.0, 255.0]).reshape(1, 1, 1, 3)  # red, green, blue


@pytest.mark.parametrize(
    ("preprocess", "expected"),
    [
        (SQUEEZENET, (255 - 104, 100 - 117, 10 - 123)),
        (MOBILENET, (10 / 127.5 - 1, 100 / 127.5 - 1, 1.0)),
        (
            CIFAR10,
            ((10 / 255 - 0.485) / 0.229, (100 / 255 - 0.456) / 0.224, (1 - 0.406) / 0.225),
        ),
    ],
)
def test_normalisation_is_that_of_the_data_readme(preprocess, expected):
    x = preprocess(PIXEL.to(torch.uint8))
    assert x.shape == (1, 3, 1, 1)
    assert x.flatten().tolist() == pytest.approx(expected, abs=1e-5)


def test_shifts_move_the_image_and_let_black_in():
    x = torch.arange(1, 10, dtype=torch.uint8).reshape(1, 3, 3, 1)
    y = shifted(x, torch.tensor([[1], [-1]]))
    assert y.squeeze().tolist() == [[0, 4, 5], [0, 7, 8], [0, 0, 0]]


def test_offsets_are_uniform_and_include_both_ends():
    offsets = random_offsets(Stream.of(0, "x"), 7000, 3)
    assert offsets.shape == (2, 7000)
    counts = torch.bincount((offsets + 3).flatten(), minlength=7)
    # 2000 each, standard deviation 41; five of them allowed.
    assert len(counts) == 7
    assert (counts - 2000).abs().max() < 210


def test_no_augmentation_is_the_identity():
    x = torch.rand(4, 5, 5, 3) * 255
    torch.testing.assert_close(Augmentation(mix=0.0)(x, Stream.of(0, "a")), x)


def test_mixing_takes_a_share_of_the_next_image():
    x = torch.tensor([0.0, 100.0] * 500).reshape(1000, 1, 1, 1)
    y = Augmentation(mix=0.4)(x, Stream.of(0, "a")).flatten()
    share = torch.where(x.flatten() == 0, y / 100, 1 - y / 100)
    assert 0 <= share.min() < 0.01
    assert 0.39 < share.max() <= 0.4
    assert float(share.mean()) == pytest.approx(0.2, abs=5 * 0.4 / 12**0.5 / 1000**0.5)


def test_flips_happen_half_the_time():
    x = torch.tensor([1.0, 0.0]).reshape(1, 1, 2, 1).repeat(1000, 1, 1, 1)
    y = Augmentation(flip=True, mix=0.0)(x, Stream.of(0, "a"))
    mirrored = y[:, 0, 1, 0].mean()
    assert float(mirrored) == pytest.approx(0.5, abs=0.08)
    assert torch.equal(y.sum(dim=2), x.sum(dim=2))


def test_zoom_enlarges_a_part():
    ramp = torch.arange(32.0).reshape(1, 1, 32, 1).repeat(200, 32, 1, 1)
    y = Augmentation(zoom=0.5, mix=0.0)(ramp, Stream.of(0, "a"))
    span = y[:, 0, -1, 0] - y[:, 0, 0, 0]
    assert span.min() >= 15 - 1e-3
    assert span.max() <= 31 + 1e-3
    assert float(span.mean()) == pytest.approx(23, abs=1.7)
    assert (y[:, 0] - y[:, 31]).abs().max() < 1e-4  # nothing is turned


def test_the_variation_of_an_image_does_not_depend_on_later_ones():
    x = torch.rand(6, 8, 8, 1)
    vary = Augmentation(shift=2, flip=True, zoom=0.7, mix=0.5)
    torch.testing.assert_close(vary(x, Stream.of(1, "a"))[:3], vary(x[:4], Stream.of(1, "a"))[:3])


@pytest.mark.parametrize(
    "wrong", [{"shift": -1}, {"zoom": 0.0}, {"zoom": 1.5}, {"mix": 0.6}, {"mix": -0.1}]
)
def test_augmentations_out_of_range_are_refused(wrong):
    with pytest.raises(InputError, match="expected shift"):
        Augmentation(**wrong)


@pytest.mark.parametrize(("mean", "std"), [((0.0,), ()), ((), ()), ((0.0,), (0.0,))])
def test_normalisations_that_divide_by_nothing_are_refused(mean, std):
    with pytest.raises(InputError, match="std"):
        Preprocessing(mean, std)
