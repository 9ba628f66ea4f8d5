"""What a plan has to keep to, and what is chosen besides cells."""

import json
import math

import pytest

from softcell.errors import FormatError, InputError
from softcell.records import record_of, values_of
from softcell.search import Goal, Recipe, Trial, Verdict
from softcell.search.recipe import first_recipe, variations


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, "ask for"),
        ({"max_drop": 0.0}, "above 0"),
        ({"max_drop": -0.1}, "above 0"),
        ({"max_drop": math.nan}, "above 0"),
        ({"max_divergence": math.inf}, "above 0"),
        ({"max_drop": 0.1, "max_cells": 0}, "above 0"),
        ({"max_drop": 1.0}, "part of 1"),
        ({"max_cells": 1, "decoder": "magic"}, "any, table"),
    ],
)
def test_goals_that_cannot_be(options, reason):
    with pytest.raises(InputError, match=reason):
        Goal(**options)


def test_a_drop_that_guessing_would_do_for_is_refused():
    lost = Verdict(0.3, 0.0, None, 0.45)
    assert Goal(max_drop=0.4).score(lost) == pytest.approx(0.75)
    with pytest.raises(InputError, match="45.00 points better than guessing"):
        Goal(max_drop=0.45).score(lost)
    assert "guessing" not in str(lost)
    assert str(Verdict(0.45, 0.0, None, 0.45)) == "drop 45.00 points, no better than guessing"


def test_the_score_is_the_part_of_what_is_allowed():
    lost = Verdict(0.004, 0.001, 0.03)
    assert Goal(max_drop=0.005).score(lost) == pytest.approx(0.8)
    assert Goal(max_divergence=0.02).score(lost) == pytest.approx(1.5)
    assert Goal(max_drop=0.005, max_divergence=0.02).score(lost) == pytest.approx(1.5)
    assert Goal(max_drop=0.002, max_divergence=0.02).score(lost) == pytest.approx(2)
    # Cells alone: the less is lost the better.
    assert Goal(max_cells=1).score(lost) == 0.004
    assert Goal(max_cells=1).score(Verdict(None, 0.0, 0.03)) == 0.03
    assert Goal(max_cells=1).score(Verdict(None)) == math.inf
    assert Goal(max_drop=0.005).score(Verdict(-0.01)) < 0


def test_what_is_asked_for_must_have_been_measured():
    with pytest.raises(InputError, match="evaluate function or a task"):
        Goal(max_drop=0.1).score(Verdict(None, 0.0, 0.1))
    with pytest.raises(InputError, match="module and inputs"):
        Goal(max_divergence=0.1).score(Verdict(0.1))


def test_a_goal_in_words():
    assert str(Goal(max_drop=0.005)) == "a drop of at most 0.5 points"
    assert str(Goal(max_divergence=0.01, max_cells=2)) == (
        "a divergence of at most 0.01 and at most 2 cells per weight"
    )
    assert [Goal(max_cells=1).measured, Goal(max_drop=0.1).measured] == [False, True]


@pytest.mark.parametrize(
    "options",
    [
        {"scheme": "magic"},
        {"vector_bits": 8},
        {"sequential": 1.5},
        {"sequential": math.nan},
        {"trade_off": -1.0},
        {"trade_off": math.nan},
        {"verify_reads": 0},
    ],
)
def test_recipes_that_cannot_be(options):
    with pytest.raises(InputError):
        Recipe(**options)
    # In a file they are damage.
    with pytest.raises(FormatError):
        record_of(Recipe, values_of(Recipe()) | options, "recipe")


def test_recipes_go_through_a_file():
    recipe = Recipe("packed", trade_off=0.0, vector_bits=12, sequential=0.5, verify_reads=4)
    assert record_of(Recipe, json.loads(json.dumps(values_of(recipe))), "recipe") == recipe
    for damaged in ({"vector_bits": "12"}, {"scheme": "magic"}, {"trade_off": None}):
        with pytest.raises(FormatError):
            record_of(Recipe, values_of(recipe) | damaged, "recipe")


def test_a_recipe_in_words():
    assert str(Recipe()) == "strong-digital, bits at 0.02"
    changed = Recipe("packed", vector_bits=12, sequential=0.5, corrected=True, verify_reads=4)
    assert str(changed) == (
        "packed, 12-bit vectors, layer after layer, corrected sensitivity, 4 verifying reads"
    )


def test_first_recipes_and_what_is_worth_a_try():
    assert first_recipe("any").digital
    assert not first_recipe("table").digital
    with pytest.raises(InputError, match="any, table"):
        first_recipe("magic")
    # Only what is known of the network can be used.
    assert variations(first_recipe("any"), loop=False, module=False) == []
    changes = variations(first_recipe("any"), loop=True, module=False)
    names = {name for change in changes for name in change}
    assert {"vector_bits", "trade_off"} <= names
    assert not {"sequential", "corrected", "verify_reads"} & names
    changes = variations(first_recipe("table"), loop=True, module=True)
    names = {name for change in changes for name in change}
    assert names == {"sequential", "vector_bits", "corrected", "verify_reads"}


@pytest.mark.parametrize(
    ("verdict", "score"),
    [
        (Verdict(0.01, 0.002, 0.3), 2.0),
        (Verdict(None, 0.0, math.inf), math.inf),
        (Verdict(-0.01), -2.0),
    ],
)
def test_trials_go_through_a_file(verdict, score):
    trial = Trial(Recipe(), 1.5, 1.498, verdict, 0.1, score, chips=3, first_seed=4)
    values = json.loads(json.dumps(trial.values(), allow_nan=False))
    back = Trial.of(values, "trial")
    assert back.recipe == trial.recipe
    assert (back.target, back.cells_per_weight, back.score) == (1.5, 1.498, score)
    assert (back.chips, back.first_seed, back.predicted) == (3, 4, 0.1)
    assert back.verdict.drop == verdict.drop
    for name in ("recipe", "verdict", "score", "target"):
        with pytest.raises(FormatError):
            Trial.of({key: value for key, value in values.items() if key != name}, "trial")
    with pytest.raises(FormatError):
        Trial.of(values | {"verdict": 3}, "trial")
