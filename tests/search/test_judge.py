"""What is measured of a stored network: divergence, the drop to expect, a user's own figure."""

import math

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy
from torch import nn

from softcell.errors import InputError
from softcell.search import OutputJudge, OwnJudge, module_outputs
from softcell.search.judge import CONFIRM, SEARCH, tempered

FLOAT, WORSE = {"w": np.zeros(1)}, {"w": np.ones(1)}


def judge_of(logits, stored, accuracy=None):
    """Return a judge of a network that gives `logits`, and stored `stored`, on every input."""
    outputs = {0.0: logits, 1.0: stored}
    return OutputJudge(
        lambda state, inputs: outputs[float(state["w"][0])], FLOAT, lambda _: None, accuracy
    )


@pytest.mark.parametrize("accuracy", [0.3, 0.6, 0.9, 0.999])
def test_tempered_probabilities_are_as_sure_as_the_network_is_accurate(accuracy):
    logits = torch.tensor(np.random.default_rng(0).normal(size=(500, 6)) * 3)
    sure = tempered(logits, accuracy)
    assert float(sure.max(dim=1).values.mean()) == pytest.approx(accuracy, abs=1e-6)
    np.testing.assert_allclose(sure.sum(dim=1), 1.0)
    assert (sure.argmax(dim=1) == logits.argmax(dim=1)).all()


def test_the_drop_to_expect_is_the_true_one_of_calibrated_networks():
    """Labels are drawn from softmax(z / T); the network knows its inputs: its T is not 1."""
    random = np.random.default_rng(3)
    count, temperature = 40_000, 2.5
    logits = random.normal(size=(count, 5)) * 4
    stored = logits + random.normal(size=logits.shape) * 3
    chances = softmax(logits / temperature, axis=1)
    labels = (chances.cumsum(axis=1) < random.random((count, 1))).sum(axis=1)
    right, still = (float((z.argmax(axis=1) == labels).mean()) for z in (logits, stored))
    verdict = judge_of(torch.tensor(logits), torch.tensor(stored), right)(WORSE)
    assert right - still > 0.1
    # The labels' own standard error is below 0.003.
    assert verdict.drop == pytest.approx(right - still, abs=0.01)
    # Without the temperature it would be another.
    sure = softmax(logits, axis=1)
    untempered = (
        sure.max(axis=1) - np.take_along_axis(sure, stored.argmax(axis=1)[:, None], 1)[:, 0]
    )
    assert abs(untempered.mean() - (right - still)) > 0.05
    # Its standard error is that of a mean over inputs.
    halves = [
        judge_of(torch.tensor(logits[part]), torch.tensor(stored[part]), right)(WORSE)
        for part in (slice(0, count // 2), slice(count // 2, None))
    ]
    assert halves[0].error == pytest.approx(verdict.error * 2**0.5, rel=0.05)
    assert abs(halves[0].drop - halves[1].drop) < 4 * verdict.error * 2


def test_the_same_network_loses_nothing():
    logits = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    verdict = judge_of(logits, logits.clone(), 0.7)(WORSE)
    assert (verdict.drop, verdict.error, verdict.divergence) == (0.0, 0.0, 0.0)


def test_the_divergence_is_that_of_scipy():
    random = np.random.default_rng(2)
    p, q = random.normal(size=(2, 30, 3, 7)) * 2  # three predictions for each input
    verdict = judge_of(torch.tensor(p), torch.tensor(q))(WORSE)
    expected = entropy(softmax(p, axis=-1), softmax(q, axis=-1), axis=-1).mean()
    assert verdict.divergence == pytest.approx(expected, rel=1e-9)
    assert verdict.divergence != pytest.approx(
        entropy(softmax(q, axis=-1), softmax(p, axis=-1), axis=-1).mean(), rel=1e-3
    )
    assert (verdict.drop, verdict.error) == (None, 0.0)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("accuracy", "drop"), [(None, None), (0.8, 1.0)])
def test_outputs_that_are_not_finite_are_the_worst(value, accuracy, drop):
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    stored = logits.clone()
    stored[2, 1] = value
    verdict = judge_of(logits, stored, accuracy)(WORSE)
    assert (verdict.drop, verdict.divergence) == (drop, math.inf)


@pytest.mark.parametrize(
    ("outputs", "reason"),
    [
        (torch.full((3, 2), math.nan), "not finite"),
        (torch.zeros(3), "logits of shape"),
        ((torch.zeros(3, 2),), "logits of shape"),
    ],
)
def test_a_float_network_that_cannot_be_compared_with(outputs, reason):
    with pytest.raises(InputError, match=reason):
        judge_of(outputs, outputs)(WORSE)


def test_the_search_does_not_see_what_a_plan_is_confirmed_on():
    inputs = {SEARCH: torch.zeros(2, 1), CONFIRM: torch.ones(3, 1)}
    seen = []

    def outputs(state, given):
        seen.append(given)
        return torch.cat([given * float(state["w"][0]), given], dim=1)

    judge = OutputJudge(outputs, FLOAT, inputs.__getitem__)
    assert judge(WORSE).divergence == 0.0
    assert judge(WORSE, CONFIRM).divergence > 0
    # The float network is run once for each set.
    judge(WORSE)
    assert [len(each) for each in seen] == [2, 2, 3, 3, 2]


def test_a_function_of_ones_own():
    calls = []

    def evaluate(state):
        calls.append(float(state["w"][0]))
        state["w"][:] = 7  # it may do with them what it likes
        return 0.9 - 0.2 * calls[-1]

    judge = OwnJudge(evaluate, FLOAT)
    assert judge(WORSE).drop == pytest.approx(0.2)
    assert judge(WORSE, CONFIRM).drop == pytest.approx(0.2)
    assert calls == [0.0, 1.0, 1.0]
    assert judge(WORSE).divergence is None
    logits = torch.tensor([[0.0, 1.0], [2.0, 0.0]])
    besides = judge_of(logits, logits + torch.tensor([0.0, 1.0]))
    both = OwnJudge(evaluate, FLOAT, besides)(WORSE)
    assert both.drop == pytest.approx(0.2)
    assert both.divergence == besides(WORSE).divergence > 0


@pytest.mark.parametrize(
    "given", [math.nan, math.inf, None, "good", torch.zeros(2), np.zeros(2), [0.5]]
)
def test_a_function_gives_a_finite_number(given):
    with pytest.raises(InputError, match="expected a finite number"):
        OwnJudge(lambda state: given, FLOAT)(WORSE)
    # Of the stored network, too.
    with pytest.raises(InputError, match="expected a finite number"):
        OwnJudge(lambda state: given if state["w"][0] else 0.5, FLOAT)(WORSE)


def test_numbers_of_other_kinds_are_taken():
    judge = OwnJudge(lambda state: torch.tensor(0.5 - state["w"][0] / 4), FLOAT)
    assert judge(WORSE).drop == 0.25


def test_outputs_of_a_module_with_other_tensors():
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)).train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    inputs = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
    state = {name: tensor.numpy() + 1 for name, tensor in before.items()}
    given = module_outputs(module, batch=2)(state, inputs)
    assert module.training
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    module.load_state_dict({name: torch.tensor(array) for name, array in state.items()})
    with torch.no_grad():
        torch.testing.assert_close(given, module.eval()(inputs))


def test_a_tied_tensor_comes_under_any_of_its_names():
    module = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    module[1].weight = module[0].weight
    matrix, inputs = np.diag([2.0, 3.0, 4.0]).astype(np.float32), torch.ones(1, 3)
    for names in (["0.weight"], ["1.weight"], ["0.weight", "1.weight"]):
        given = module_outputs(module)({name: matrix.copy() for name in names}, inputs)
        assert given.tolist() == [[4.0, 9.0, 16.0]]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"more": np.ones(1)}, "no tensor 'more'"),
        ({"bias": np.ones(3)}, r"'bias' must have shape \(2,\)"),
        ({"bias": None}, "'bias' of shape .* is missing"),
    ],
)
def test_tensors_that_a_module_does_not_have(change, reason):
    state = {"weight": np.ones((2, 3)), "bias": np.ones(2)} | change
    state = {name: array for name, array in state.items() if array is not None}
    with pytest.raises(InputError, match=reason):
        module_outputs(nn.Linear(3, 2))(state, torch.ones(1, 3))


@pytest.mark.parametrize("merit", [28.6, 91.5, -0.1])
def test_a_merit_of_another_kind_is_refused(merit):
    with pytest.raises(InputError, match=r"takes one from 0 to 1 of which more is better"):
        OwnJudge(lambda state: merit, FLOAT)(WORSE)


def learnt(worth):
    """Return a network of one matrix, and a function that says how much of its order is left."""
    order = np.arange(64, dtype=np.float32).reshape(8, 8)

    def evaluate(state):
        return worth(float((state["w"] == order).mean()))

    return {"w": order}, evaluate


def test_guessing_is_what_shuffled_weights_give():
    state, evaluate = learnt(lambda right: 0.2 + 0.7 * right)
    verdict = OwnJudge(evaluate, state)(state)
    assert verdict.drop == 0
    assert verdict.guessing == pytest.approx(0.7, abs=0.05)


@pytest.mark.parametrize("worth", [lambda right: 0.9 - 0.8 * right, lambda right: 2.5 - 2 * right])
def test_a_merit_of_which_less_is_better_is_refused(worth):
    """A loss within 0 and 1 looks like an accuracy until a worse network is measured."""
    state, evaluate = learnt(worth)
    with pytest.raises(InputError, match="is less better"):
        OwnJudge(evaluate, state)(state)


def test_a_function_that_does_not_go_by_the_order_of_weights_tells_nothing_of_guessing():
    state, evaluate = learnt(lambda right: 0.5)
    assert OwnJudge(evaluate, state)(state).guessing is None


def test_a_network_that_is_worse_than_one_order_by_chance_is_measured():
    state, _ = learnt(float)
    given = iter([0.6, 0.7, 0.4, 0.55])
    verdict = OwnJudge(lambda state: next(given), state)(state)
    assert verdict.guessing == pytest.approx(0.2)
    assert verdict.drop == pytest.approx(0.05)


def test_a_function_that_cannot_measure_shuffled_weights_is_used():
    state, evaluate = learnt(lambda right: right if right > 0.5 else math.nan)
    verdict = OwnJudge(evaluate, state)(state)
    assert (verdict.drop, verdict.guessing) == (0, None)


def test_a_stored_network_beyond_1_is_refused():
    state, evaluate = learnt(lambda right: 0.5 if right == 1 else 30 * right)
    worse = {"w": state["w"] + (np.arange(64).reshape(8, 8) % 2)}
    with pytest.raises(InputError, match="of a stored network is 15"):
        OwnJudge(evaluate, state)(worse)


def test_guessing_among_classes():
    logits = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    assert judge_of(logits, logits, 0.7)(WORSE).guessing == pytest.approx(0.45)
    assert judge_of(logits, logits)(WORSE).guessing is None


def test_one_logit_says_nothing():
    logits = torch.randn(50, 1, generator=torch.Generator().manual_seed(0))
    with pytest.raises(InputError, match="a softmax over one class"):
        judge_of(logits, logits + 3)(WORSE)
