"""The search: fewest cells, by measured trials, on networks without labels."""

import math
from dataclasses import replace

import numpy as np
import pytest

from softcell.allocate.plan_file import save_plan
from softcell.devices import parse_device
from softcell.durations import Ages
from softcell.errors import InfeasibleError, InputError
from softcell.network.own import learnt_of
from softcell.search import Goal, Recipe, Search, TrialMaker, Verdict
from softcell.search.judge import CONFIRM, SEARCH
from softcell.search.subjects import own_subject

GOAL = Goal(max_divergence=0.01)


def found(subject, device, goal=GOAL, **options):
    search = Search(subject, device, goal, **options)
    return search, search.run()


def text(plan, folder):
    """Return a plan as it stands in a file."""
    save_plan(folder / "plan.json", plan)
    return (folder / "plan.json").read_text()


@pytest.fixture(scope="module")
def outcome(cnn_subject, device):
    return found(cnn_subject, device)[1]


def test_the_plan_keeps_to_the_goal_when_written_anew(cnn_subject, device, outcome):
    assert outcome.best.score <= 1
    assert (outcome.confirmed.score, outcome.confirmed.inputs) <= (1, CONFIRM)
    maker = TrialMaker(cnn_subject, device, GOAL)
    for seed in (101, 102):
        state, header, _ = maker.write(outcome.plan, seed)
        for inputs in (SEARCH, CONFIRM):
            assert cnn_subject.judge(state, inputs).divergence <= GOAL.max_divergence
        assert header.cells_per_weight == pytest.approx(outcome.best.cells_per_weight)


def test_it_takes_fewer_cells_than_it_began_with(outcome):
    first = outcome.trials[0]
    assert first.target == 1.0
    assert first.score < 0.9
    assert outcome.best.cells_per_weight < 0.8 * first.cells_per_weight
    # Nothing tried before was good enough with less.
    enough = [t for t in outcome.trials if t.score <= 1 and t.inputs == SEARCH]
    assert outcome.best.cells_per_weight == min(t.cells_per_weight for t in enough)


def test_cells_and_divergence_are_what_was_written(cnn, cnn_subject, device, outcome):
    """The count is of the original network, and every trial can be made again."""
    best = outcome.best
    again, _ = TrialMaker(cnn_subject, device, GOAL).trial(Recipe(), outcome.trials[0].target)
    assert again == outcome.trials[0]
    header = TrialMaker(cnn_subject, device, GOAL).write(outcome.plan, 0)[1]
    assert header.weights == sum(tensor.numel() for tensor in cnn.state.values())
    assert best.cells_per_weight == header.cells / header.weights


def test_the_same_search_gives_the_same_plan(cnn, device, tmp_path):
    one, other = (found(cnn.subject(), device, vary=False)[1] for _ in range(2))
    assert one.trials == other.trials
    assert text(one.plan, tmp_path) == text(other.plan, tmp_path)


def test_known_trials_are_not_made_again(cnn_subject, device, outcome, monkeypatch, tmp_path):
    made = []
    trial = TrialMaker.trial

    def counted(self, recipe, cells, **options):
        made.append((recipe, cells))
        return trial(self, recipe, cells, **options)

    monkeypatch.setattr(TrialMaker, "trial", counted)
    again = found(cnn_subject, device, known=outcome.trials)[1]
    assert made == []
    assert again.trials == outcome.trials
    assert text(again.plan, tmp_path) == text(outcome.plan, tmp_path)
    # It goes on from where it was stopped.
    found(cnn_subject, device, known=outcome.trials[:-1])
    assert made == [(t.recipe, t.target) for t in outcome.trials[-1:]]


def test_it_tells_of_every_trial_and_the_best_so_far(cnn_subject, device, outcome):
    told = []
    found(cnn_subject, device, known=outcome.trials, told=lambda *each: told.append(each))
    assert [trial for trial, _ in told] == list(outcome.trials)
    best = [b.cells_per_weight for _, b in told if b is not None]
    assert best
    searching = [c for (t, _), c in zip(told, best) if t.inputs == SEARCH]
    assert searching == sorted(searching, reverse=True)
    # Stopped at any moment, there is a plan for the best.
    search = Search(cnn_subject, device, GOAL, known=outcome.trials)
    plan = search.plan_of(told[0][1] or told[-1][1])
    assert plan.target == (told[0][1] or told[-1][1]).target


def test_so_many_cells_and_no_more(cnn_subject, device):
    cells = 0.6
    search, outcome = found(cnn_subject, device, Goal(max_cells=cells))
    assert outcome.best.cells_per_weight <= cells * 1.0001
    assert outcome.best == search.best
    tried = [t.score for t in outcome.trials if t.inputs == SEARCH]
    # A change is kept if it is worth it: 3 % less.
    assert outcome.best.score <= min(tried) / 0.97
    assert outcome.best.score == outcome.best.verdict.divergence


def test_more_cells_lose_less(cnn_subject, device):
    low, high = (
        TrialMaker(cnn_subject, device, GOAL).trial(Recipe(), cells)[0] for cells in (0.45, 2.0)
    )
    assert high.verdict.divergence < 0.5 * low.verdict.divergence
    assert high.predicted < 0.5 * low.predicted


def test_cells_and_divergence_together(cnn_subject, device, outcome):
    most = outcome.best.cells_per_weight * 2
    both = found(cnn_subject, device, Goal(max_divergence=0.01, max_cells=most), vary=False)[1]
    assert both.best.score <= 1
    assert both.best.cells_per_weight <= most * 1.0001


def test_what_cannot_be_reached_says_how_far_it_came(cnn_subject, device):
    goal = Goal(max_divergence=1e-7, max_cells=0.6)
    with pytest.raises(
        InfeasibleError, match=r"0\.[56]\d cells per weight the divergence is 0\.0\d+"
    ):
        found(cnn_subject, device, goal, vary=False)
    with pytest.raises(InfeasibleError, match="vectors and integers alone take"):
        found(cnn_subject, device, Goal(max_divergence=0.01, max_cells=0.1))
    with pytest.raises(InfeasibleError, match="ask for more"):
        found(cnn_subject, device, Goal(max_cells=0.1))


def test_what_is_asked_for_must_be_measured(cnn_subject, device):
    with pytest.raises(InputError, match="evaluate function or a task"):
        found(cnn_subject, device, Goal(max_drop=0.01))


def test_a_tensor_to_keep_is_kept_to_the_byte(cnn, device):
    """A vector, too, though other vectors are corrected for what was written before them."""
    kept = frozenset({"7.weight", "7.bias"})
    subject = cnn.subject(keep=kept)
    maker = TrialMaker(subject, device, GOAL)
    state, header, _ = maker.write(maker.plan(Recipe(), 8.0), 9)
    for name in kept:
        assert state[name].tobytes() == cnn.state[name].numpy().tobytes()
    assert (state["3.weight"] != cnn.state["3.weight"].numpy()).any()
    # It is counted: 32 of its bits take 10 cells or more.
    assert header.cells > 10 * cnn.state["7.weight"].numel()


def test_a_network_that_needs_many_cells(cnn, device):
    """What is kept alone takes 7 cells per weight: the search gets there."""
    subject = cnn.subject(keep=frozenset({"7.weight"}))
    outcome = found(subject, device, Goal(max_divergence=0.01), vary=False)[1]
    assert 7 < outcome.best.cells_per_weight < 8


def test_a_normalisation_cannot_be_kept_where_it_is_folded(cnn, device):
    subject = cnn.subject(keep=frozenset({"1.weight"}))
    with pytest.raises(InputError, match=r"'1\.weight' belongs to a normalisation"):
        found(subject, device, Goal(max_cells=1))


def test_half_precision(half_cnn, device):
    maker = TrialMaker(half_cnn.subject(), device, GOAL)
    low, high = (maker.trial(Recipe(sequential=0.5), cells) for cells in (0.6, 1.5))
    assert high[0].verdict.divergence < min(0.02, 0.7 * low[0].verdict.divergence)
    assert high[0].cells_per_weight < 1.6
    dtype = {"torch.bfloat16": "BF16", "torch.float16": "F16"}[str(half_cnn.inputs.dtype)]
    assert {t.info.dtype for t in high[1].tensors} == {dtype, "I64"}


def test_written_blind_and_decoded_by_look_up(cnn, device):
    """No cell is read while it is written: another chip gives other weights, as good ones."""
    goal = Goal(max_divergence=0.02, decoder="table", verify=False, max_cells=3)
    subject = cnn.subject()
    search, outcome = found(subject, device, goal, vary=False, seeds=2)
    assert not search.maker.loops(outcome.best.recipe)
    assert not outcome.best.recipe.digital
    assert outcome.plan.uses_cells
    one, other = (search.maker.write(outcome.plan, s)[0] for s in (8, 9))
    assert (one["3.weight"] != other["3.weight"]).any()
    for state in (one, other):
        assert subject.judge(state, CONFIRM).divergence < 2 * goal.max_divergence


def test_an_age_is_that_of_the_reading(cnn_subject, device):
    """The confirmed chips are others than the one that the search writes to."""
    search = Search(cnn_subject, device, Goal(max_cells=1.5), seeds=2, first_seed=5, vary=False)
    outcome = search.run()
    assert (outcome.best.first_seed, outcome.best.chips) == (4, 1)
    assert (outcome.confirmed.first_seed, outcome.confirmed.chips) == (5, 2)
    assert outcome.confirmed.target == outcome.best.target


def test_groups_of_layers_are_measured(cnn_subject, device):
    search = Search(cnn_subject, device, GOAL)
    search.at(replace(search.first, corrected=True), 0.5)
    assert [name for group in search.groups for name in group.tensors] == [
        "0.weight",
        "3.weight",
        "7.weight",
    ]
    for group in search.groups:
        assert math.isfinite(group.measured)
        assert group.predicted > 0
        assert 1 / 8 <= group.factor <= 8
    # Only ratios count: the loss that is expected of all remains.
    corrections = search.maker.corrections
    total = sum(g.predicted for g in search.groups)
    weighted = sum(g.predicted * corrections[g.tensors[0]] for g in search.groups)
    assert weighted == pytest.approx(total)


def test_inputs_to_learn_from_and_to_measure_on_are_apart(cnn):
    learnt = learnt_of(cnn.inputs)
    assert len(learnt) == 48
    subject = cnn.subject()
    assert subject.calibration.images == 48
    search, confirm = (subject.judge.inputs(each) for each in (SEARCH, CONFIRM))
    together = np.concatenate([learnt, search, confirm])
    np.testing.assert_array_equal(together, cnn.inputs.numpy())
    assert (len(search), len(confirm)) == (24, 24)
    with pytest.raises(InputError, match="at least 8 inputs"):
        learnt_of(cnn.inputs[:7])


def test_a_subject_needs_something_to_measure_by(cnn):
    with pytest.raises(InputError, match="nothing to measure"):
        own_subject(cnn.source)
    with pytest.raises(InputError, match="go together"):
        own_subject(cnn.source, module=cnn.module)


def test_a_span_of_ages_is_read_at_both_ends_and_the_worse_counts(cnn_subject):
    drifting, found_ = parse_device("pcm-mushroom"), []

    def judge(state, inputs=SEARCH):
        found_.append(Verdict(None, 0.0, 0.5 if len(found_) else 0.1))
        return found_[-1]

    subject = replace(cnn_subject, judge=judge)
    for first, worst in ((60.0, 0.5), (3e8, 0.1)):
        found_.clear()
        goal = Goal(max_divergence=1, ages=Ages(first, 3e8))
        trial, _ = TrialMaker(subject, drifting, goal).trial(Recipe(), 4.0)
        assert len(found_) == (2 if first < 3e8 else 1)
        assert trial.verdict.divergence == worst


def test_pruning_leaves_kept_tensors_alone(cnn, device):
    subject = cnn.subject(keep=frozenset({"7.weight"}))
    maker = TrialMaker(subject, device, Goal(max_cells=8))
    recipe = Recipe(sparsity=0.5)
    state, _, _ = maker.write(maker.plan(recipe, 8.0), 0)
    assert np.array_equal(state["7.weight"], cnn.state["7.weight"].numpy())
    assert (state["3.weight"] == 0).mean() > 0.3
