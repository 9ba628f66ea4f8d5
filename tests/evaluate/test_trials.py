"""Trials: networks on chips, what they keep, and how far from the limit."""

from __future__ import annotations

import numpy as np
import pytest

from drawn import normal
from softcell.codes.schemes import CONVENTIONAL, SCHEMES
from softcell.devices import parse_device
from softcell.errors import InputError
from softcell.evaluate.experiment import Experiment
from softcell.evaluate.statistics import mean_and_ci95
from softcell.evaluate.trials import compare, grid, run_trials
from softcell.image.cell_image import CellImage
from softcell.image.readings import SimulatedChip
from softcell.image.restore import Restoration
from softcell.network import plan_network
from softcell.streams import Stream
from softcell.weights import StateDictWeights

TEN_YEARS = 10 * 365.25 * 86_400

CUMULATIVE = [name for name, scheme in SCHEMES.items() if scheme.kind == "analog"]


STATE = {
    "a": normal(30, 80),
    "bias": normal(30),
    "b": normal(20, 60, seed=1) * np.float32(0.01),
    "steps": np.array(3),
}


def nearness(state):
    """Accuracy of a kind: 1 where the weights are as they were, less where they are not."""
    error = 0.0
    for name in ("a", "b"):
        exact = STATE[name].astype(np.float64)
        error += float(np.mean((state[name] - exact) ** 2) / exact.var())
    return 1 / (1 + error)


def experiment(device="pcm-partial-reset", state=STATE, evaluate=nearness, **options):
    return Experiment(state, evaluate, parse_device(device), **options)


def test_figures_against_a_direct_computation(tmp_path):
    import softcell

    trial = experiment()
    result = run_trials(trial, "inversion+sign", cells_per_weight=2.5, seeds=3, first_seed=5)
    header = softcell.write(
        STATE, tmp_path / "x.cells", scheme="inversion+sign", cells_per_weight=2.5
    )
    accuracies, error = [], 0.0
    with CellImage(tmp_path / "x.cells") as image:
        for seed in (5, 6, 7):
            chip = SimulatedChip(image, seed=seed)
            restored = dict(Restoration(image, chip).tensors())
            accuracies.append(nearness(restored))
            error += sum(float(((restored[n] - STATE[n]) ** 2).sum()) for n in ("a", "b")) / 3
    signal = sum(float((STATE[n] ** 2).sum()) for n in ("a", "b"))
    assert result.accuracies == pytest.approx(accuracies, rel=1e-12)
    mean, interval = mean_and_ci95(accuracies)
    assert (result.accuracy_mean, result.accuracy_ci95) == (mean, interval)
    assert result.sdr_db == pytest.approx(10 * np.log10(signal / error), abs=1e-3)
    assert result.cells_per_weight == header.cells_per_weight
    assert result.side_cells_per_weight == header.side_cells_per_weight
    assert result.target_cells_per_weight == 2.5
    assert result.float_accuracy == 1.0
    assert (result.seeds, result.first_seed, result.images) == (3, 5, 0)
    assert (result.task, result.model, result.device) == ("custom", "custom", "pcm-partial-reset")
    assert result.capacity_bits == pytest.approx(2.65, abs=0.03)
    assert result.failed_code_words == 0 < result.code_words


def test_later_seeds_go_on_where_earlier_ones_stopped():
    trial = experiment()
    options = {"scheme": "naive", "cells_per_weight": 1.5}
    three = run_trials(trial, seeds=3, **options)
    last = run_trials(trial, seeds=2, first_seed=1, **options)
    assert last.accuracies == three.accuracies[1:]
    assert len(set(three.accuracies)) == 3


def test_equal_weights_are_evaluated_once():
    calls = []

    def evaluate(state):
        calls.append(1)
        return nearness(state)

    trial = experiment(evaluate=evaluate)
    result = run_trials(trial, "float32", seeds=4)
    assert len(calls) == 1  # four chips, all as the network itself
    assert result.accuracies == (1.0, 1.0, 1.0, 1.0)
    run_trials(trial, "int8", seeds=4)
    assert len(calls) == 2
    run_trials(trial, "naive", cells_per_weight=1.5, seeds=4)
    assert len(calls) == 6


@pytest.mark.parametrize("device", ["pcm-partial-reset", "pcm-mushroom", "ideal", "pcm-sweep"])
def test_no_scheme_beats_the_limit(device):
    results = list(
        compare(
            experiment(device),
            schemes=(*CONVENTIONAL, *CUMULATIVE),
            cells_per_weight=(2.5, 8.0),
            seeds=1,
        )
    )
    assert len(results) == 3 + 2 * len(CUMULATIVE)
    for result in results:
        assert 0 <= result.limit_cells_per_weight <= result.cells_per_weight
    by_name = {(r.scheme, r.target_cells_per_weight): r for r in results}
    exact, half, byte = (by_name[name, None] for name in CONVENTIONAL)
    assert exact.sdr_db > half.sdr_db > byte.sdr_db > 35
    assert exact.limit_cells_per_weight > half.limit_cells_per_weight > byte.limit_cells_per_weight
    combined = by_name["combined", 8.0]
    assert combined.sdr_db > by_name["combined", 2.5].sdr_db
    assert combined.limit_cells_per_weight > by_name["combined", 2.5].limit_cells_per_weight


NETWORKS = {
    "pruned": {"a": normal(60, 90) * (Stream.of(2, "m").uniform(5400).reshape(60, 90) < 0.1)},
    "ternary": {"a": np.sign(normal(60, 90)) * (np.abs(normal(60, 90)) > 0.7)},
    "rows": {"a": (normal(60, 90) * np.geomspace(1e-4, 1, 60)[:, None]).astype(np.float32)},
    "tiny": {"a": normal(3, 4), "b": normal(1, 1)},
    "constant": {"a": np.full((20, 30), 0.1, np.float32), "b": normal(20, 30)},
    "int8_grid": {"a": np.rint(normal(40, 50) * 30).clip(-127, 127) / np.float32(64)},
    "float16": {"a": normal(40, 50).astype(np.float16).astype(np.float32)},
    "tiny_scale": {"a": normal(40, 50) * np.float32(1e-30), "b": normal(40, 50)},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_no_scheme_beats_the_limit_on_odd_networks(name):
    state = {key: np.ascontiguousarray(v, np.float32) for key, v in NETWORKS[name].items()}
    trial = experiment(state=state, evaluate=lambda restored: 0.5)
    for scheme, cells in (
        *((scheme, None) for scheme in ("float32", "int8")),
        ("combined", 2.0),
        ("combined", 6.0),
        ("naive", 1.0),
    ):
        result = run_trials(trial, scheme, cells_per_weight=cells, seeds=1)
        assert result.limit_cells_per_weight <= result.cells_per_weight
        assert np.isfinite(result.sdr_db)


def test_the_limit_follows_the_sensitivity():
    """Errors where the loss feels nothing need no bits."""
    fisher = {"a": np.zeros((30, 80)), "b": np.full((20, 60), 1e4)}
    plain = run_trials(experiment(), "int8", seeds=1)
    told = run_trials(experiment(sensitivity=fisher), "int8", seeds=1)
    assert told.sdr_db == plain.sdr_db
    assert told.limit_cells_per_weight < 0.5 * plain.limit_cells_per_weight


def test_matrices_without_sensitivity_count_in_the_same_unit():
    """Fisher information of one tensor is known: that of the other is taken to be as relative."""
    known = {"a": np.full((30, 80), 1e-8 / STATE["a"].var())}
    plain = run_trials(experiment(), "int8", seeds=1)
    told = run_trials(experiment(sensitivity=known), "int8", seeds=1)
    assert 1 < told.limit_cells_per_weight < 4
    assert told.limit_cells_per_weight == pytest.approx(plain.limit_cells_per_weight, rel=1e-6)


@pytest.mark.parametrize("given", [float("nan"), float("inf"), None, "high", [1.0, 2.0]])
def test_an_evaluate_function_must_give_a_finite_number(given):
    trial = experiment(evaluate=lambda state: given)
    with pytest.raises(InputError, match="expected a finite number"):
        run_trials(trial, "int8", seeds=1)


def test_numbers_of_other_kinds_will_do():
    for given in (1, True, np.float32(0.5), np.array(0.25)):
        trial = experiment(evaluate=lambda state, given=given: given)
        result = run_trials(trial, "int8", seeds=2)
        assert result.accuracy_mean == float(given)


def test_what_the_evaluate_function_raises_is_seen():
    def evaluate(state):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        run_trials(experiment(evaluate=evaluate), "int8", seeds=1)


def test_an_evaluate_function_cannot_spoil_the_network():
    def spoil(state):
        value = nearness(state)
        for values in state.values():
            values[...] = 0
        return value

    state = {name: values.copy() for name, values in STATE.items()}
    result = run_trials(experiment(state=state, evaluate=spoil), "int8", seeds=2)
    assert result.float_accuracy == 1.0
    for name in STATE:
        assert (state[name] == STATE[name]).all()


def test_failed_code_words_are_counted(monkeypatch):
    trial = experiment("pcm-mushroom", age_seconds=TEN_YEARS)
    good = run_trials(trial, "int8", seeds=2)
    assert good.failed_code_words == 0
    planned = plan_network

    def for_fresh_cells(*args, **options):
        return planned(*args, **{**options, "ages": 0.0})

    monkeypatch.setattr("softcell.evaluate.trials.plan_network", for_fresh_cells)
    bad = run_trials(trial, "int8", seeds=2)
    assert 0.5 * bad.code_words < bad.failed_code_words <= bad.code_words
    assert bad.accuracy_mean < good.accuracy_mean
    assert bad.sdr_db < good.sdr_db - 20


@pytest.mark.parametrize("seeds", [0, -1])
def test_at_least_one_seed(seeds):
    with pytest.raises(InputError, match="at least 1 seed"):
        run_trials(experiment(), "int8", seeds=seeds)


def test_networks_that_cannot_be_compared():
    for state in ({"bias": normal(3)}, {"steps": np.array([[1, 2]])}):
        with pytest.raises(InputError, match="no tensor of two dimensions"):
            run_trials(experiment(state=state, evaluate=lambda s: 1.0), "int8", seeds=1)


def test_known_results_are_not_measured_again():
    calls = []

    def evaluate(state):
        calls.append(1)
        return nearness(state)

    options = {"schemes": ("int8", "naive"), "cells_per_weight": (1.5, 2.0), "seeds": 2}
    first = list(compare(experiment(), **options))
    trial = experiment(evaluate=evaluate)
    assert list(compare(trial, known=first, **options)) == first
    assert calls == []
    again = list(compare(trial, known=first[:2], **options))
    assert again == first
    assert len(calls) == 3  # the two chips of the last, and the network itself
    other = list(compare(experiment(), known=first, **{**options, "seeds": 1}))
    assert [r.seeds for r in other] == [1, 1, 1]


def test_grid_of_schemes_and_cells():
    assert grid(("int8", "naive"), (1, 2.5)) == [("int8", None), ("naive", 1.0), ("naive", 2.5)]
    with pytest.raises(InputError, match="unknown scheme"):
        grid(("int8", "best"), (1.0,))
    for schemes, cells in (((), (1.0,)), (("naive",), ())):
        with pytest.raises(InputError, match="nothing to compare"):
            grid(schemes, cells)


def test_tensors_are_stored_in_their_own_formats():
    """A network of float16 weights costs conventional storage half of what float32 costs."""
    halves = {name: v.astype(np.float16) for name, v in STATE.items() if v.ndim == 2}
    state = {name: v.astype(np.float32) for name, v in halves.items()}
    options = {"state": state, "evaluate": lambda restored: 1.0}
    as_float32 = run_trials(experiment(**options), "float32", seeds=1)
    as_given = run_trials(
        experiment(source=lambda: StateDictWeights(halves), **options), "float32", seeds=1
    )
    assert as_given.cells_per_weight == pytest.approx(as_float32.cells_per_weight / 2, rel=0.01)
    assert as_given.sdr_db == as_float32.sdr_db


def test_progress_counts_chips():
    seen = []
    run_trials(
        experiment(), "naive", cells_per_weight=1.5, seeds=2, progress=lambda *t: seen.append(t)
    )
    chips = [step for step in seen if step[0] == "naive at 1.5 cells"]
    assert chips == [("naive at 1.5 cells", 1, 2), ("naive at 1.5 cells", 2, 2)]
    assert seen[-2:] == chips  # after the plan's own steps
