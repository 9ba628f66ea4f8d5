import pickle

import numpy as np
import pytest
import torch
from torch.nn import functional

from softcell.errors import InputError
from softcell.evaluate.sensitivity import task_fisher
from softcell.evaluate.tasks import TASKS, Task, load_task

# Of the data README, in per cent, each on 1,000 images.
PUBLISHED = {
    ("cifar10", "resnet20"): 91.5,
    ("cifar10", "resnet32"): 92.8,
    ("cifar10", "resnet56"): 92.6,
    ("imagenet", "squeezenet1_1"): 60.0,
    ("imagenet", "mobilenet_v2"): 88.0,
    ("imagenet", "mobilenet_v1_025"): 56.9,
}


@pytest.fixture
def digits():
    return load_task("digits")


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize(
    ("name", "model"),
    [
        pytest.param(*key, marks=[pytest.mark.slow] if key[0] == "imagenet" else [])
        for key in PUBLISHED
    ],
)
def test_float_accuracy_is_that_of_the_data_readme(name, model):
    task = load_task(name, model)
    assert task.images == 1000
    assert round(1000 * task.evaluate(task.state_dict())) == round(10 * PUBLISHED[name, model])


def test_digits_are_read_well(digits):
    assert digits.model == "cnn"
    assert digits.images == 500
    assert digits.evaluate(digits.state_dict()) >= 0.97


def test_accuracy_is_the_same_on_any_number_of_threads(digits):
    state = digits.state_dict()
    threads = torch.get_num_threads()
    outputs = {}
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            outputs[count] = digits.outputs(state)
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_array_equal(outputs[1], outputs[2])
    np.testing.assert_array_equal(outputs[1], outputs[3])


def test_outputs_are_those_of_the_module(digits):
    images = digits._model.preprocessing(torch.from_numpy(digits._test.pixels))
    with torch.inference_mode():
        expected = digits.module()(images).numpy()
    np.testing.assert_allclose(digits.outputs(digits.state_dict()), expected, atol=1e-4)


def test_spoilt_weights_give_a_bad_accuracy_and_no_error(digits):
    state = digits.state_dict()
    for value in (np.nan, np.inf, -np.inf):
        state["linear.weight"] = np.full_like(state["linear.weight"], value)
        assert digits.evaluate(state) == 0.0
    state["linear.weight"] = np.zeros_like(state["linear.weight"])
    assert 0.0 < digits.evaluate(state) < 0.2


def test_the_weights_are_copies(digits):
    digits.state_dict()["linear.weight"][:] = 0
    with torch.no_grad():
        digits.module().linear.weight.zero_()
    assert digits.evaluate(digits.state_dict()) >= 0.97


def test_missing_and_misshapen_tensors_are_named(digits):
    state = digits.state_dict()
    bias = state.pop("linear.bias")
    with pytest.raises(InputError, match=r"linear\.bias"):
        digits.evaluate(state)
    with pytest.raises(InputError, match=r"\(10,\), got \(5,\)"):
        digits.evaluate(state | {"linear.bias": bias[:5]})


def test_fewer_images_keep_the_share_of_every_class(digits):
    some = Task("digits", "cnn", 100)
    np.testing.assert_array_equal(some._test.pixels, digits._test.pixels[::5])
    assert some.evaluate(some.state_dict()) >= 0.94


def test_calibration_images_are_new_but_alike(digits):
    images = digits.calibration(1500, seed=0)  # more than there are training images
    assert images.shape == (1500, 1, 8, 8)
    assert images.dtype == torch.float32
    assert torch.equal(images, digits.calibration(1500, seed=0))
    assert not torch.equal(images, digits.calibration(1500, seed=1))
    test = digits._model.preprocessing(torch.from_numpy(digits._test.pixels))
    assert float(images.mean()) == pytest.approx(float(test.mean()), abs=0.15)
    rows = {image.numpy().tobytes() for image in images}
    assert len(rows) > 1400  # varied, not repeated
    assert not rows & {image.numpy().tobytes() for image in test}


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize("name", ["cifar10", "imagenet"])
def test_calibration_works_on_photographs(name):
    task = load_task(name, images=2)
    images = task.calibration(6, seed=3)
    size = 32 if name == "cifar10" else 224
    assert images.shape == (6, 3, size, size)
    with torch.inference_mode():
        assert torch.isfinite(task.module()(images)).all()


@pytest.mark.usefixtures("data")
def test_imagenet_can_be_evaluated_on_held_out_images_alone():
    task = load_task("imagenet", images=4, subset="held_out")
    assert task._test.labels.tolist() == [0, 250, 500, 750]
    assert load_task("imagenet", subset="held_out").images == 800


def test_a_task_sent_to_a_worker_takes_its_names_only(digits):
    digits.evaluate(digits.state_dict())
    sent = pickle.dumps(digits)
    assert len(sent) < 1000
    copy = pickle.loads(sent)
    assert copy == digits
    assert copy.evaluate(copy.state_dict()) == digits.evaluate(digits.state_dict())


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("cifar100",), {}, "unknown task 'cifar100'; there are: digits, mnist"),
        (("digits", "resnet20"), {}, "unknown model 'resnet20' of digits; there are: cnn"),
        (("digits",), {"images": 501}, "from 1 to 500"),
        (("digits",), {"images": 0}, "from 1 to 500"),
        (("digits",), {"subset": "train"}, "unknown subset 'train'; there are: all, held_out"),
    ],
)
def test_wrong_names_and_counts_are_refused(arguments, options, message):
    with pytest.raises(InputError, match=message):
        load_task(*arguments, **options)


def test_missing_data_are_noticed_at_once(monkeypatch):
    monkeypatch.delenv("SOFTCELL_DATA", raising=False)
    with pytest.raises(InputError, match="SOFTCELL_DATA"):
        load_task("cifar10")


def test_a_calibration_without_images_is_refused(digits):
    with pytest.raises(InputError, match="count must be at least 1, got 0"):
        digits.calibration(0, seed=0)


def test_every_task_has_a_model():
    assert set(TASKS) == {"digits", "mnist", "cifar10", "imagenet"}
    assert sum(map(len, TASKS.values())) == 9


def test_the_fisher_of_a_task_is_computed_once(digits, tmp_path, monkeypatch):
    monkeypatch.setenv("SOFTCELL_CACHE", str(tmp_path))
    calls = []
    first = task_fisher(digits, count=40, progress=lambda *c: calls.append(c))
    assert calls[-1] == ("calibration inputs", 40, 40)
    done = len(calls)
    second = task_fisher(digits, count=40, progress=lambda *c: calls.append(c))
    assert len(calls) == done
    parameters = dict(digits.module().named_parameters())
    assert set(first) == set(parameters)
    for name, values in first.items():
        assert values.shape == parameters[name].shape
        np.testing.assert_array_equal(values, second[name])
    # Another count, seed or network is another Fisher, and a damaged file is replaced.
    state = digits.state_dict()
    state["linear.weight"] *= 2
    task_fisher(digits, count=41)
    task_fisher(digits, count=40, seed=1)
    task_fisher(digits, count=40, state=state)
    files = sorted(tmp_path.iterdir())
    assert len(files) == 4
    for path in files:
        path.write_bytes(path.read_bytes()[:-1])
    again = task_fisher(digits, count=40)
    np.testing.assert_array_equal(again["conv1.weight"], first["conv1.weight"])


def test_the_fisher_predicts_what_noise_does(digits, tmp_path, monkeypatch):
    """0.5 sum F s^2 is the divergence that noise of standard deviation s causes, tensor by tensor.

    On the calibration images themselves, where the two differ by the noise of their estimates and
    by terms of higher order.
    """
    monkeypatch.setenv("SOFTCELL_CACHE", str(tmp_path))
    fisher = task_fisher(digits, count=1000)
    images = digits.calibration(1000, seed=0)
    module = digits.module()
    rng = np.random.default_rng(0)
    with torch.inference_mode():
        clean = functional.log_softmax(module(images), dim=1)
        for name in ("conv1.weight", "bn2.bias", "conv3.weight", "linear.weight"):
            weight = module.state_dict()[name]
            original = weight.clone()
            size = (2e-3 / fisher[name].sum()) ** 0.5  # for a divergence of 1e-3
            measured = []
            for _ in range(20):
                weight += torch.from_numpy(rng.normal(0, size, weight.shape).astype(np.float32))
                noisy = functional.log_softmax(module(images), dim=1)
                measured.append(float((clean.exp() * (clean - noisy)).sum(dim=1).mean()))
                weight.copy_(original)
            error = np.std(measured) / 20**0.5
            assert abs(np.mean(measured) - 1e-3) < 5 * error + 1.5e-4, name


def test_validation_images_are_varied_and_not_mixed(digits):
    one, again, other = (digits.validation(60, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert not torch.equal(one, digits.calibration(60, seed=1))
    # Digits are whole numbers from 0 to 16; a mixture of two is none.
    preprocessing = TASKS["digits"]["cnn"].preprocessing
    pixels = one * preprocessing.std[0] + preprocessing.mean[0]
    assert torch.allclose(pixels, pixels.round(), atol=1e-4)
    assert 0 < digits.accuracy < 1
    with pytest.raises(InputError, match="at least 1"):
        digits.validation(0, seed=0)
