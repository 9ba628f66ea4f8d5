"""What a search leaves in its plan file, and what the next one takes from it."""

import json
from dataclasses import replace

import numpy as np
import pytest

from softcell.allocate import make_plan
from softcell.allocate.plan_file import load_plan, network_digest
from softcell.devices import parse_device
from softcell.durations import Ages
from softcell.errors import FormatError, InputError
from softcell.records import values_of
from softcell.search import Goal, Recipe, Search
from softcell.search.record import PlanSettings, keep_plan, tried
from softcell.search.subjects import own_subject
from softcell.weights import StateDictWeights

GOAL = Goal(max_cells=2.0)


@pytest.fixture
def subject(plain):
    return own_subject(
        lambda: StateDictWeights(plain),
        evaluate=lambda state: float(np.exp(-state["a.bias"].std())),
    )


@pytest.fixture
def digest(plain):
    return network_digest(StateDictWeights(plain))


@pytest.fixture
def kept(subject, digest, device, tmp_path):
    search = Search(subject, device, GOAL)
    outcome = search.run()
    keep_plan(
        *(tmp_path / "plan.json", search, outcome.best, outcome.plan),
        **{"network": digest, "task": "digits", "model": "cnn", "report": {"layers": [1]}},
    )
    return tmp_path / "plan.json", outcome


def test_trials_come_back(kept, subject, digest, device):
    path, outcome = kept
    known = tried(path, digest=digest, network=subject, device=device, goal=GOAL)
    assert known == list(outcome.trials)
    again = Search(subject, device, GOAL, known=known)
    again.maker.trial = None  # none is made
    assert again.run().best == outcome.best


def test_the_settings_say_how_to_write(kept, digest):
    path, outcome = kept
    file = load_plan(path)
    assert file.network == digest
    settings = PlanSettings.of(file)
    assert settings == PlanSettings(
        outcome.best.recipe, "digits", "cnn", "at most 2 cells per weight"
    )
    assert file.report["layers"] == [1]
    assert file.report["best"] == outcome.best.values()


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"digest": "0" * 32}, "another network"),
        ({"device": "pcm-mushroom"}, "the device pcm-partial-reset"),
        ({"device": "pcm-partial-reset+stuck:low=0.01"}, "the device pcm-partial-reset"),
        ({"goal": Goal(max_cells=1.9)}, "another goal"),
        ({"goal": Goal(max_cells=2.0, max_drop=0.1)}, "another goal"),
        ({"goal": Goal(max_cells=2.0, decoder="table")}, "another goal"),
        ({"goal": Goal(max_cells=2.0, verify=False)}, "another goal"),
        ({"goal": Goal(max_cells=2.0, ages=Ages(0.0, 60.0))}, "other ages"),
        ({"keep": frozenset({"a.bias"})}, "other tensors to keep"),
    ],
)
def test_trials_of_another_search_are_not_taken(kept, subject, digest, device, changed, reason):
    options = {
        "digest": changed.get("digest", digest),
        "network": replace(subject, keep=changed.get("keep", frozenset())),
        "device": parse_device(changed.get("device", "pcm-partial-reset")),
        "goal": changed.get("goal", GOAL),
    }
    with pytest.raises(InputError, match=f"{reason}.*leave out --resume"):
        tried(kept[0], **options)


def plan_of_little():
    weights = StateDictWeights({"w": np.ones((2, 2), np.float32)})
    return make_plan(weights, parse_device("pcm-partial-reset"), "int8")


@pytest.mark.parametrize(
    "damage",
    [
        {"tried": "many"},
        {"tried": [{"recipe": {}}]},
        {"tried": [3]},
        {"tried": None},
    ],
)
def test_damaged_trials_are_found(kept, subject, digest, device, damage):
    values = json.loads(kept[0].read_text())
    values["report"] |= damage
    kept[0].write_text(json.dumps(values))
    with pytest.raises(FormatError):
        tried(kept[0], digest=digest, network=subject, device=device, goal=GOAL)


@pytest.mark.parametrize(
    "damage",
    [
        {"recipe": {"scheme": "magic"}},
        {"recipe": {"scheme": 3}},
        {"recipe": None},
        {"task": None},
    ],
)
def test_damaged_settings_are_found(damage):
    plan, values = plan_of_little(), values_of(PlanSettings(Recipe(), "digits", "cnn"))
    whole = replace(plan, settings=json.loads(json.dumps(values)))
    assert PlanSettings.of(whole) == PlanSettings(Recipe(), "digits", "cnn")
    with pytest.raises(FormatError):
        PlanSettings.of(replace(plan, settings=values | damage))
    del values["recipe"]
    with pytest.raises(FormatError):
        PlanSettings.of(replace(plan, settings=values))
