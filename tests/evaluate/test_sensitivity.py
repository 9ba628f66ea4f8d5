import numpy as np
import pytest

from softcell.evaluate import sensitivity
from softcell.evaluate.sensitivity import task_calibration, task_fisher
from softcell.evaluate.tasks import load_task


@pytest.fixture
def digits():
    return load_task("digits")


@pytest.fixture
def own_cache(digits, tmp_path, monkeypatch):
    digits.state_dict()
    monkeypatch.setenv("SOFTCELL_CACHE", str(tmp_path))
    return tmp_path


def test_the_calibration_of_a_task_is_made_once(digits, own_cache, monkeypatch):
    calls = []
    first = task_calibration(digits, count=40, progress=lambda *c: calls.append(c))
    assert calls[-1] == ("calibration inputs", 40, 40)
    done = len(calls)
    second = task_calibration(digits, count=40, progress=lambda *c: calls.append(c))
    assert len(calls) == done
    first.require_network({n: values.shape for n, values in digits.state_dict().items()})
    assert set(first.layers) == {n for n, v in digits.state_dict().items() if v.ndim > 1}
    assert set(first.normalisations) == {"bn1", "bn2", "bn3"}
    for name, layer in first.layers.items():
        np.testing.assert_array_equal(layer.covariance, second.layers[name].covariance)
    # Anything that matters makes another file, and a damaged one is replaced.
    state = digits.state_dict()
    state["linear.weight"] *= 2
    task_calibration(digits, count=41)
    task_calibration(digits, count=40, seed=1)
    task_calibration(digits, count=40, state=state)
    task_calibration(digits, count=40, kind="inputs")
    files = sorted(own_cache.iterdir())
    assert len(files) == 5
    for path in files:
        path.write_bytes(path.read_bytes()[:-1])
    again = task_calibration(digits, count=40)
    np.testing.assert_array_equal(
        again.layers["conv1.weight"].covariance, first.layers["conv1.weight"].covariance
    )
    monkeypatch.setattr(sensitivity, "_CALIBRATION_VERSION", -1)
    task_calibration(digits, count=40)
    assert len(list(own_cache.iterdir())) == 6


@pytest.mark.usefixtures("own_cache")
def test_its_diagonal_is_the_fisher_of_the_task(digits):
    calibration, fisher = task_calibration(digits, count=40), task_fisher(digits, count=40)
    assert calibration.fisher.keys() == fisher.keys()
    for name, values in fisher.items():
        np.testing.assert_array_equal(calibration.fisher[name], values)
