"""A search for a network of which nothing is known but its tensors and how good they are."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from softcell.curvature import calibrate
from softcell.errors import InfeasibleError, InputError
from softcell.search import Goal, OwnJudge, Search
from softcell.search.subjects import own_subject
from softcell.weights import StateDictWeights


@pytest.fixture
def evaluate(plain):
    """Return an accuracy that falls with the error of the weights: 0.95 without any."""

    def accuracy(state):
        error = sum(float(((state[n] - v) ** 2).sum()) for n, v in plain.items())
        return 0.95 - error / sum(float((v**2).sum()) for v in plain.values())

    return accuracy


def subject_of(plain, evaluate, **options):
    return own_subject(lambda: StateDictWeights(plain), evaluate=evaluate, **options)


def test_it_works_without_the_loop(plain, evaluate, device):
    subject = subject_of(plain, evaluate)
    assert isinstance(subject.judge, OwnJudge)
    assert subject.calibration is None
    search = Search(subject, device, Goal(max_drop=0.02))
    outcome = search.run()
    assert 0 < outcome.best.verdict.drop <= 0.02
    assert outcome.best.verdict.divergence is None
    assert outcome.groups == ()
    # With less the goal is missed, or that was tried.
    missed = [t.cells_per_weight for t in outcome.trials if t.score > 1]
    assert missed
    assert max(missed) < outcome.best.cells_per_weight * 1.1
    # What the plan gives is what was measured, and the same on every chip.
    for seed in (0, 11):
        state, header, _ = search.maker.write(outcome.plan, seed)
        assert 0.95 - evaluate(state) == pytest.approx(outcome.best.verdict.drop)
        assert header.cells_per_weight == pytest.approx(outcome.best.cells_per_weight)


def test_a_laxer_goal_takes_fewer_cells(plain, evaluate, device):
    strict, lax = (
        Search(subject_of(plain, evaluate), device, Goal(max_drop=drop)).run()
        for drop in (0.005, 0.05)
    )
    assert lax.best.cells_per_weight < 0.8 * strict.best.cells_per_weight


def test_the_sensitivity_says_where_cells_go(plain, evaluate, device):
    sensitive = {name: np.ones_like(array) for name, array in plain.items()}
    sensitive["b.weight"] = sensitive["b.weight"] * 1000
    errors = []
    for each in (None, sensitive):
        search = Search(subject_of(plain, evaluate, sensitivity=each), device, Goal(max_cells=1.5))
        outcome = search.run()
        state = search.maker.write(outcome.plan, 0)[0]
        errors.append(float(((state["b.weight"] - plain["b.weight"]) ** 2).mean()))
    assert errors[1] < 0.2 * errors[0]


@pytest.mark.parametrize("given", [math.nan, None, "good"])
@pytest.mark.parametrize("goal", [Goal(max_drop=0.01), Goal(max_cells=2)], ids=str)
def test_what_is_no_number_is_refused(plain, device, given, goal):
    with pytest.raises(InputError, match="expected a finite number"):
        Search(subject_of(plain, lambda state: given), device, goal).run()


def test_what_the_function_raises_comes_through(plain, device):
    def broken(state):
        raise ZeroDivisionError("no images")

    with pytest.raises(ZeroDivisionError, match="no images"):
        Search(subject_of(plain, broken), device, Goal(max_drop=0.01)).run()


def test_a_goal_that_the_function_never_grants(plain, device):
    """It goes up to 16 cells per weight, and says what it came to."""
    first = plain["a.weight"].copy()
    found = []

    def fickle(state):
        found.append(np.array_equal(state["a.weight"], first))
        return 0.9 if found[-1] else 0.5

    with pytest.raises(InfeasibleError, match="the drop is 40.00 points"):
        Search(subject_of(plain, fickle), device, Goal(max_drop=0.01)).run()
    # The float network was asked about once.
    assert (found[0], sum(found)) == (True, 1)


def one_logit():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 1))
        return module, torch.randn(64, 12)


def test_one_logit_has_no_divergence_to_search_by(device):
    module, inputs = one_logit()
    with pytest.raises(InputError, match="a softmax over one class"):
        own_subject(lambda: StateDictWeights(module.state_dict()), module=module, inputs=inputs)


def test_one_logit_is_searched_by_a_function_and_the_layers_inputs(device):
    module, inputs = one_logit()
    state = {name: tensor.detach() for name, tensor in module.state_dict().items()}
    right = module(inputs) > 0

    def evaluate(tensors):
        given = {name: torch.tensor(values) for name, values in tensors.items()}
        answers = torch.func.functional_call(module, given, (inputs,)) > 0
        return float((answers == right).float().mean())

    known = calibrate(module, inputs, seed=0, kind="inputs")
    subject = own_subject(
        lambda: StateDictWeights(state),
        evaluate=evaluate,
        module=module,
        inputs=inputs,
        calibration=known,
    )
    outcome = Search(subject, device, Goal(max_drop=0.1), vary=False).run()
    verdict = outcome.confirmed.verdict
    assert verdict.divergence is None
    assert 0 <= verdict.drop <= 0.1 < verdict.guessing
