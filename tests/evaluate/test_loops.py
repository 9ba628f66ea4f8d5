"""Trials through the feedback loop: open, open with drift correction, and closed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from softcell.curvature import calibrate
from softcell.devices import parse_device, read_noise_share
from softcell.errors import InputError
from softcell.evaluate.experiment import Experiment
from softcell.evaluate.trials import OPEN, compare, count_rows, grid, run_trials, ways_through
from softcell.feedback import correct_drift

CELL = "pcm-partial-reset"


class Setup:
    """A network of correlated inputs, how near its outputs stay, and its ways through the loop."""

    def __init__(self):
        generator = torch.Generator().manual_seed(0)

        def normal(*shape):
            return torch.randn(*shape, generator=generator)

        self.net = nn.Sequential(
            nn.Linear(40, 30), nn.BatchNorm1d(30), nn.ReLU(), nn.Linear(30, 10)
        ).eval()
        with torch.no_grad():
            for parameter in self.net.parameters():
                parameter.copy_(normal(*parameter.shape) / parameter.shape[-1] ** 0.5)
            self.net[1].weight.copy_(1 + 0.1 * normal(30))
        self.inputs = normal(300, 8) @ normal(8, 40) + 0.2 * normal(300, 40)
        self.state = {name: tensor.numpy() for name, tensor in self.net.state_dict().items()}
        with torch.no_grad():
            self.wanted = self.net(self.inputs)
        self.calibration = calibrate(self.net, self.inputs[:100], seed=0)

        def correct(seen):
            return correct_drift(self.net, seen, self.inputs[:100])

        self.correct = correct
        self.ways = ways_through(corrected=True)
        self.calls = 0

    def evaluate(self, state):
        self.calls += 1
        tensors = {name: torch.from_numpy(np.array(values)) for name, values in state.items()}
        with torch.no_grad():
            found = torch.func.functional_call(self.net, tensors, (self.inputs,))
        return float(1 / (1 + ((found - self.wanted) ** 2).mean() / self.wanted.var()))

    def experiment(self, device=CELL):
        return Experiment(
            self.state,
            self.evaluate,
            parse_device(device),
            calibration=self.calibration,
            correct=self.correct,
        )


@pytest.fixture(scope="module")
def setup():
    return Setup()


@pytest.mark.parametrize(
    ("scheme", "cells"), [("sign", 2.2), ("packed", 1.2), ("entropy-coded", 1.5)]
)
def test_each_way_is_a_row_and_the_closed_loop_the_best(setup, scheme, cells):
    results = list(
        compare(
            setup.experiment(),
            schemes=(scheme, "int8"),
            cells_per_weight=(cells,),
            seeds=3,
            procedures=setup.ways,
        )
    )
    assert [r.loop for r in results] == ["open", "open, corrected", "closed", ""]
    assert [r.feedback for r in results] == [False, False, True, False]
    opened, corrected, closed = (1 - r.accuracy_mean for r in results[:3])
    assert closed < 0.8 * corrected
    assert corrected < 1.05 * opened
    digital = scheme == "entropy-coded"
    for result in results[:3]:
        assert result.cells_per_weight <= cells
        assert result.verify_reads == (0 if digital else 1)
        assert (result.programmed_cells > 0) == (not digital)
        assert result.decoder == ("table" if scheme == "packed" else "full")
        assert result.read_noise_share == read_noise_share(parse_device(CELL))
    assert (results[3].verify_reads, results[3].programmed_cells) == (0, 0)
    assert len({r.key for r in results}) == 4
    rows = grid((scheme, "int8"), (cells,))
    assert count_rows(rows, setup.ways) == 4
    assert count_rows(rows, (OPEN,)) == 2


def test_a_comparison_goes_on_from_known_results(setup):
    options = {"schemes": ("sign", "int8"), "cells_per_weight": (2.2,), "seeds": 2}
    first = list(compare(setup.experiment(), procedures=setup.ways, **options))
    setup.calls = 0
    again = list(compare(setup.experiment(), procedures=setup.ways, known=first, **options))
    assert again == first
    assert setup.calls == 0
    # The closed loop alone is missing: two chips of its own, and the network itself.
    part = [result for result in first if result.loop != "closed"]
    assert list(compare(setup.experiment(), procedures=setup.ways, known=part, **options)) == first
    assert setup.calls == 3
    # Another number of verifying reads is another result; without the loop it is another one, too.
    setup.calls = 0
    more = tuple(replace(way, verify_reads=2) for way in setup.ways)
    other = list(compare(setup.experiment(), procedures=more, known=first, **options))
    assert [r.verify_reads for r in other] == [2, 2, 2, 0]
    assert [r.loop for r in compare(setup.experiment(), known=first, **options)] == ["", ""]


def test_each_chip_has_an_image_of_its_own(setup):
    options = {"cells_per_weight": 1.2, "procedure": setup.ways[2]}
    three = run_trials(setup.experiment(), "packed", seeds=3, **options)
    last = run_trials(setup.experiment(), "packed", seeds=1, first_seed=2, **options)
    assert last.accuracies == three.accuracies[2:]
    assert len(set(three.accuracies)) == 3


def test_digital_weights_are_one_image_for_all_chips(setup):
    result = run_trials(
        setup.experiment(), "entropy-coded", cells_per_weight=1.5, seeds=3, procedure=setup.ways[2]
    )
    assert len(set(result.accuracies)) == 1


def test_several_verifying_reads_help_where_reading_is_noisy(setup):
    noisy = setup.experiment(CELL + ":read_noise=0.15")
    errors = []
    for reads in (1, 16):
        way = replace(setup.ways[2], verify_reads=reads)
        result = run_trials(noisy, "sign", cells_per_weight=2.2, seeds=6, procedure=way)
        assert result.verify_reads == reads
        errors.append(1 - result.accuracy_mean)
    assert errors[1] < errors[0]


def test_a_calibration_of_another_network_is_refused(setup):
    other = {**setup.state, "3.weight": np.zeros((10, 31), np.float32)}
    with pytest.raises(InputError, match="for another network"):
        run_trials(
            replace(setup.experiment(), state=other, evaluate=lambda s: 1.0),
            "sign",
            cells_per_weight=2.2,
            seeds=1,
            procedure=setup.ways[2],
        )


def test_fixed_length_indices_take_no_feedback(setup):
    results = list(
        compare(
            setup.experiment(),
            schemes=("fixed-length",),
            cells_per_weight=(3.0,),
            seeds=1,
            procedures=setup.ways,
        )
    )
    assert [r.loop for r in results] == [""]
    with pytest.raises(InputError, match="not written through the feedback loop"):
        run_trials(
            setup.experiment(),
            "fixed-length",
            cells_per_weight=3.0,
            seeds=1,
            procedure=setup.ways[2],
        )
