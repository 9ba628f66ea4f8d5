"""Trained networks are written, read and measured beside the conventional ones."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from softcell.codes.entropy.stream import stored_steps
from softcell.devices import parse_device
from softcell.durations import Ages
from softcell.errors import InputError
from softcell.evaluate.results import read_results, write_results
from softcell.evaluate.tasks import load_task
from softcell.network import plan_network, write_network
from softcell.network import write as network_write
from softcell.records import values_of
from softcell.search import Recipe
from softcell.search.record import PlanSettings
from softcell.search.subjects import task_network
from softcell.training import trained_results
from softcell.training.grid_plan import plan_of_grid
from softcell.training.matrix_steps import eight_bits
from softcell.training.trained_network import TrainedNetwork
from softcell.training.trained_results import measure_trained, times_fewer
from softcell.weights import StateDictWeights

DEVICE = parse_device("pcm-partial-reset")
RECIPE = Recipe(states=1, trade_off=0.0, vector_bits=12)


@pytest.fixture(scope="module")
def task():
    return load_task("digits")


def network(name, state, plan, recipe=RECIPE):
    settings = values_of(PlanSettings(recipe, "digits", "cnn"))
    return TrainedNetwork(
        *(name, "digits", "cnn", state, replace(plan, settings=settings)),
        command="tests",
        seed=0,
    )


@pytest.fixture(scope="module")
def grid(task):
    """Return the network of the digits, rounded to a coarse grid as if it were trained on it."""
    state, steps = task.state_dict(), {}
    for name, values in state.items():
        if values.ndim > 1:
            steps[name] = stored_steps(np.array([0.8 * values.std()]))
            state[name] = np.rint(values / steps[name]) * steps[name]
    return network("coarse", state, plan_of_grid(state, steps, DEVICE, Ages(0.0, 0.0)))


@pytest.fixture(scope="module")
def results(grid):
    return list(measure_trained([grid, grid], seeds=3, first_seed=5))


def test_conventional_rows_come_once_and_first(results):
    assert [row.scheme for row in results] == ["float32", "int8", *["strong-digital"] * 2]
    assert [row.trained.partition("@")[0] for row in results] == ["", "", "coarse", "coarse"]
    assert results[2] == results[3]
    assert {(row.task, row.model, row.device) for row in results} == {
        ("digits", "cnn", "pcm-partial-reset")
    }
    assert {(row.seeds, row.first_seed, row.failed_code_words) for row in results} == {(3, 5, 0)}


def test_accuracy_is_that_of_the_trained_weights_and_the_drop_of_the_tasks_own(task, grid, results):
    own, coarse = task.evaluate(task.state_dict()), task.evaluate(grid.state)
    assert coarse < own  # rounded so coarsely that it can be told from its own
    assert {row.float_accuracy for row in results} == {own}
    assert results[0].accuracies == (own,) * 3
    assert results[2].accuracy_mean == pytest.approx(coarse, abs=0.01)  # its vectors have 12 bits
    assert len(set(results[2].accuracies)) == 1  # every chip gives the same


def test_everything_is_counted(task, grid, results):
    weights = sum(values.size for values in task.state_dict().values())
    row = results[2]
    assert row.cells_per_weight == grid.plan.target
    assert row.cells_per_weight * weights == pytest.approx(round(row.cells_per_weight * weights))
    # float32 takes 32 bits a weight, and this device holds about 1.96 of them without error.
    assert times_fewer(row, results, "float32") * row.cells_per_weight == pytest.approx(
        32 / 1.96, rel=0.05
    )
    assert times_fewer(row, results, "int8") == pytest.approx(
        times_fewer(row, results, "float32") / 4, rel=0.1
    )
    assert times_fewer(row, results[1:], "float32") is None
    assert row.limit_cells_per_weight == 0
    assert row.sdr_db > 100  # stored without error


def test_one_image_serves_every_chip(grid, monkeypatch):
    written = []

    def counted(*arguments, **options):
        written.append(options["seed"])
        return write_network(*arguments, **options)

    monkeypatch.setattr(network_write, "write_network", counted)
    list(measure_trained([grid], seeds=4))
    assert written == [0] * 3  # with the two conventional rows


def test_known_results_are_not_measured_again(grid, results, monkeypatch, tmp_path):
    write_results(tmp_path / "r.json", results)
    known = read_results(tmp_path / "r.json")
    assert known == results
    monkeypatch.setattr(trained_results, "measure_plan", lambda *a, **o: pytest.fail("written"))
    monkeypatch.setattr(trained_results, "run_trials", lambda *a, **o: pytest.fail("tried"))
    assert list(measure_trained([grid], seeds=3, first_seed=5, known=known)) == results[:3]


def test_a_network_of_the_same_name_is_measured_anew(grid, results):
    state = dict(grid.state)
    state["bn1.bias"] = state["bn1.bias"] + np.float32(0.5)
    other = TrainedNetwork(**(vars(grid) | {"state": state}))
    row = list(measure_trained([other], seeds=3, first_seed=5, known=results))[-1]
    assert row.trained != results[2].trained
    assert row.accuracies != results[2].accuracies


def test_results_of_networks_that_were_not_trained_have_the_key_they_had(results):
    plain, trained = results[0], results[2]
    assert replace(plain, trained="").key == plain.key
    assert plain.key[-1] == 0  # verifying reads, as before there were trained networks
    assert trained.key == (*replace(trained, trained="").key, trained.trained)


def test_without_seeds_there_is_nothing_to_measure(grid):
    with pytest.raises(InputError, match="at least 1 seed"):
        list(measure_trained([grid], seeds=0))


@pytest.mark.parametrize(
    ("scheme", "cells"),
    [("strong-digital", 2.5), pytest.param("packed", 1.6, marks=pytest.mark.slow)],
)
def test_plans_for_the_loop_are_written_through_it(task, scheme, cells):
    state = eight_bits(task.state_dict())
    recipe = Recipe(scheme=scheme, vector_bits=12)
    subject = task_network(task, source=partial(StateDictWeights, state))
    plan = plan_network(
        subject,
        DEVICE,
        scheme,
        cells_per_weight=cells,
        procedure=recipe.procedure(loop=True),
        vector_bits=12,
        quantiser=recipe.quantiser,
    )
    looped = network("looped", state, plan, recipe)
    *_, row = measure_trained([looped], seeds=2)
    assert (row.loop, row.feedback) == ("closed", True)
    assert row.cells_per_weight <= cells
    assert row.accuracy_mean > row.float_accuracy - 0.05
    if scheme == "packed":
        assert (row.decoder, row.verify_reads) == ("table", 1)
        assert row.programmed_cells > 0
        assert row.sdr_db < 30
