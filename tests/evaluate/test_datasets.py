import io

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from softcell.errors import FormatError, InputError
from softcell.evaluate.datasets import DATASETS, Images, data_file


def test_digits_are_split_evenly_and_completely():
    test, training = DATASETS["digits"].test(np.arange(500)), DATASETS["digits"].training()
    assert test.pixels.shape == (500, 8, 8, 1)
    assert training.pixels.shape == (1297, 8, 8, 1)
    both = np.concatenate([test.pixels, training.pixels]).reshape(1797, -1)
    bunch = load_digits()
    everything = np.column_stack([bunch.data, bunch.target])
    ours = np.column_stack([both, np.concatenate([test.labels, training.labels])])
    assert sorted(map(tuple, ours)) == sorted(map(tuple, everything))
    # Spread evenly: every class keeps its share to within a few images.
    assert np.bincount(test.labels).min() >= 40


def test_the_test_images_are_those_asked_for():
    dataset = DATASETS["digits"]
    whole = dataset.test(np.arange(500))
    some = dataset.test(np.array([3, 499, 0]))
    np.testing.assert_array_equal(some.pixels, whole.pixels[[3, 499, 0]])
    np.testing.assert_array_equal(some.labels, whole.labels[[3, 499, 0]])


@pytest.mark.parametrize("name", ["mnist", "cifar10", "imagenet"])
def test_missing_data_are_one_clear_error(name, monkeypatch, tmp_path):
    monkeypatch.delenv("SOFTCELL_DATA", raising=False)
    with pytest.raises(InputError, match=r"SOFTCELL_DATA.*'digits' needs no data"):
        DATASETS[name].test(np.arange(1))
    monkeypatch.setenv("SOFTCELL_DATA", str(tmp_path))
    with pytest.raises(InputError, match=rf"is not in {tmp_path}.*SOFTCELL_DATA"):
        DATASETS[name].training()


def test_damaged_files_are_format_errors(monkeypatch, tmp_path):
    monkeypatch.setenv("SOFTCELL_DATA", str(tmp_path))
    (tmp_path / "mnist.npz").write_bytes(b"PK not really")
    with pytest.raises(FormatError, match=r"mnist\.npz is damaged"):
        DATASETS["mnist"].training()
    np.savez(tmp_path / "cifar10_test1000.npz", x_test=np.zeros((2, 32, 32, 3), np.uint8))
    with pytest.raises(FormatError, match="y_test"):
        DATASETS["cifar10"].test(np.arange(2))
    np.savez(tmp_path / "cifar10_train_labels.npz", y_train=np.zeros(50_000, np.int64))
    (tmp_path / "cifar10_train_0.webp").write_bytes(b"RIFF")
    with pytest.raises(FormatError, match="no whole image"):
        DATASETS["cifar10"].training()


def test_imagenet_decodes_only_what_is_asked_for(monkeypatch, tmp_path):
    # The second "image" is no JPEG: it hurts only whoever asks for it.
    picture = np.zeros((224, 224, 3), np.uint8)
    picture[:, :112] = (250, 10, 10)
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=95)
    jpeg = buffer.getvalue()
    np.savez(
        tmp_path / "imagenet1000_224_jpeg.npz",
        jpeg=np.frombuffer(jpeg + b"broken", np.uint8),
        offsets=np.array([0, len(jpeg), len(jpeg) + 6]),
        labels=np.array([7, 8]),
    )
    monkeypatch.setenv("SOFTCELL_DATA", str(tmp_path))
    images = DATASETS["imagenet"].test(np.array([0]))
    assert images.labels.tolist() == [7]
    # Red first, and left is left.
    assert np.abs(images.pixels[0, 100, 50].astype(int) - (250, 10, 10)).max() < 8
    assert images.pixels[0, 100, 200].max() < 8
    with pytest.raises(FormatError, match="image 1 of"):
        DATASETS["imagenet"].test(np.array([1]))


def test_reserved_imagenet_images_are_not_held_out():
    held_out = DATASETS["imagenet"].held_out
    assert len(held_out) == 800
    assert not set(held_out) & set(range(4, 1000, 5))


def test_images_without_labels_are_refused():
    with pytest.raises(FormatError, match="one label for each"):
        Images(np.zeros((2, 8, 8, 1), np.uint8), np.zeros(3, np.int64))


def test_the_shared_data_are_what_their_readme_says(data):
    assert data_file("mnist.npz").parent == data
    mnist = DATASETS["mnist"].training().pixels / 255
    assert mnist.shape == (60_000, 28, 28, 1)
    assert (mnist.mean(), mnist.std()) == pytest.approx((0.1307, 0.3081), abs=1e-4)
    cifar10 = DATASETS["cifar10"].test(np.arange(1000))
    assert cifar10.pixels.shape == (1000, 32, 32, 3)
    assert cifar10.labels[:5].tolist() == [3, 8, 8, 0, 6]  # cat, ship, ship, airplane, frog


@pytest.mark.slow
@pytest.mark.usefixtures("data")
def test_cifar10_training_images_are_unscrambled():
    images = DATASETS["cifar10"].training()
    assert images.pixels.shape == (40_000, 32, 32, 3)
    assert images.labels.shape == (40_000,)
    # Neighbouring pixels of a photograph are alike; of wrongly cut tiles they are not.
    across = np.abs(np.diff(images.pixels[::100].astype(int), axis=2))
    assert across[:, :, 15].mean() < 1.2 * across.mean()
    # The published means over the training set (0.4914, 0.4822, 0.4465), to 80 % of it.
    mean = images.pixels.reshape(-1, 3).mean(axis=0) / 255
    assert mean == pytest.approx((0.4914, 0.4822, 0.4465), abs=2e-3)
