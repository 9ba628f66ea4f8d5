"""softcell optimise on the command line, and what is done with its plans."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from softcell.cli import main
from softcell.search import TrialMaker
from softcell.weights import TensorInfo, WeightsReader, WeightsWriter

OWN = """
import torch
from torch import nn

def make():
    torch.manual_seed(0)
    layers = nn.Conv2d(2, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10)
    network = nn.Sequential(*layers)
    network(torch.rand(64, 2, 6, 6))
    with torch.no_grad():
        network[-1].weight.mul_(8)
    return network.eval()

def other():
    return nn.Linear(3, 4)

def no_logits():
    network = make()
    network.forward = lambda x: x.mean()
    return network

NETWORK = make().state_dict()

def evaluate(state):
    error = sum(float(((state[n] - t) ** 2).sum()) for n, t in NETWORK.items())
    return 0.9 - error / sum(float((t ** 2).sum()) for t in NETWORK.values())

def nan(state):
    return float("nan")

def none(state):
    return None

def words(state):
    return "very good"

def two(state):
    return torch.zeros(2)

def broken(state):
    raise RuntimeError("no images\\nhere")

def late(state, calls=[]):
    calls.append(1)
    return 0.9 if len(calls) == 1 else float("inf")
"""
MODULE = ("--module", "optimise_network:make", "--inputs", "inputs.safetensors")
SEARCH = ("optimise", "model.safetensors", *MODULE, "--max-divergence", "0.05")
ASKED = ("optimise", "model.safetensors", "--max-drop", "2", "--evaluate")


def save(path, tensors):
    infos = [
        TensorInfo(n, v.shape, "I64" if v.dtype.kind == "i" else "F32") for n, v in tensors.items()
    ]
    with WeightsWriter(path, infos) as writer:
        for name, values in tensors.items():
            writer.write(name, values)


def tensors(path):
    with WeightsReader(path) as file:
        return {name: file.read(name) for name in file.names}


def divergence(folder, restored):
    """Return the divergence on the inputs that the search confirms on, by the user's own module."""
    import torch

    sys.path.insert(0, str(folder))
    import optimise_network

    sys.path.remove(str(folder))
    inputs = torch.from_numpy(tensors("inputs.safetensors")["x"][-16:])
    network, logs = optimise_network.make(), []
    for state in (optimise_network.NETWORK, {n: torch.tensor(v) for n, v in restored.items()}):
        network.load_state_dict(state)
        with torch.no_grad():
            logs.append(network(inputs).log_softmax(dim=1))
    return float((logs[0].exp() * (logs[0] - logs[1])).sum(dim=1).mean())


@pytest.fixture(scope="session")
def prepared(tmp_path_factory) -> Path:
    """A folder with a network, its inputs, its plan, and what was printed when it was found."""
    import torch

    folder = tmp_path_factory.mktemp("optimise")
    (folder / "optimise_network.py").write_text(OWN)
    before = os.getcwd()
    os.chdir(folder)
    try:
        sys.path.insert(0, str(folder))
        import optimise_network

        state = {n: t.numpy() for n, t in optimise_network.NETWORK.items()}
        save("model.safetensors", state)
        save("other.safetensors", {n: v + (n == "4.bias") for n, v in state.items()})
        generator = torch.Generator().manual_seed(3)
        save("inputs.safetensors", {"x": torch.rand(64, 2, 6, 6, generator=generator).numpy()})
        printed, told = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(told):
            assert main([*SEARCH, "-o", "plan.json"]) == 0
        (folder / "printed.txt").write_text(printed.getvalue())
        (folder / "told.txt").write_text(told.getvalue())
    finally:
        sys.path.remove(str(folder))
        os.chdir(before)
    return folder


@pytest.fixture
def folder(prepared, softcell, tmp_path):
    """The same in the working folder."""
    for each in prepared.glob("*.*"):
        shutil.copy(each, tmp_path / each.name)
    return tmp_path


def test_what_was_found_is_shown(folder):
    printed = Path("printed.txt").read_text()
    plan = json.loads(Path("plan.json").read_text())
    best = plan["report"]["best"]
    for table in ("tried", "one group of layers stored", "by tensor"):
        assert f"\n{table}\n" in f"\n{printed}"
    for tensor in ("0.weight", "4.weight"):
        assert tensor in printed
    facts = dict(line.split("  ", 1) for line in printed.splitlines()[-7:])
    facts = {name: value.strip() for name, value in facts.items()}
    assert facts["plan"].startswith("plan.json, ")
    assert facts["goal"] == "a divergence of at most 0.05"
    assert facts["cells per weight"] == f"{best['cells_per_weight']:.3f}"
    assert facts["measured"] == f"divergence {best['verdict']['divergence']:.4f}"
    assert facts["confirmed"].endswith(", on other inputs")
    # Every trial was told of as it was made, with the best so far.
    told = Path("told.txt").read_text().splitlines()
    assert len(told) == len(plan["report"]["tried"])
    assert all(line.startswith("softcell: ") and "divergence" in line for line in told)
    assert sum("on other inputs and chips" in line for line in told) >= 1
    assert "best so far" in told[-1]


def test_the_plan_file_holds_the_record(folder):
    plan = json.loads(Path("plan.json").read_text())
    assert plan["schema"] == "softcell.plan/2"
    report = plan["report"]
    assert report["best"]["score"] <= 1
    assert report["confirmed"]["score"] <= 1
    assert report["confirmed"]["inputs"] == 1
    assert report["best"] in report["tried"]
    assert report["cells_per_weight"] == pytest.approx(report["best"]["cells_per_weight"])
    assert sum(layer["share_of_cells"] for layer in report["layers"]) == pytest.approx(1, abs=0.01)
    assert {layer["tensor"] for layer in report["layers"]} == set(tensors("model.safetensors"))


def test_a_plan_is_written_and_read_back(softcell, folder):
    report = json.loads(Path("plan.json").read_text())["report"]
    words = ("write", "model.safetensors", "--plan", "plan.json", *MODULE, "-o", "model.cells")
    outcome = softcell(*words, "--json")
    assert (outcome.status, outcome.err) == (0, ""), outcome
    assert json.loads(outcome.out)["cells"] == report["cells"]
    assert softcell("read", "model.cells", "-o", "restored.safetensors").status == 0
    restored, given = tensors("restored.safetensors"), tensors("model.safetensors")
    assert restored.keys() == given.keys()
    assert (restored["4.weight"] != given["4.weight"]).any()
    assert 0 < divergence(folder, restored) <= 0.05
    # The device may be named, if it is the plan's.
    again = softcell(*words[:-1], "b.cells", "--device", "pcm-partial-reset")
    assert again.status == 0, again
    assert Path("b.cells").read_bytes() == Path("model.cells").read_bytes()


def test_a_search_as_json(softcell, folder):
    outcome = softcell(*ASKED, "optimise_network:evaluate", "-o", "own.json", "--json")
    assert outcome.status == 0, outcome
    told = json.loads(outcome.out)
    assert told["output"] == "own.json"
    assert told["goal"] == "a drop of at most 2 points"
    assert 0 < told["best"]["verdict"]["drop"] <= 0.02
    assert told["confirmed"]["score"] <= 1
    assert len(told["tried"]) > 2
    assert told["groups"] == []
    assert told["cells"] / told["weights"] == pytest.approx(told["cells_per_weight"])
    # Without the loop a plan needs no module to be written.
    outcome = softcell("write", "model.safetensors", "--plan", "own.json", "-o", "model.cells")
    assert outcome.status == 0, outcome
    assert softcell("read", "model.cells", "-o", "restored.safetensors").status == 0
    sys.path.insert(0, str(folder))
    import optimise_network
    import torch

    sys.path.remove(str(folder))
    restored = {n: torch.from_numpy(v) for n, v in tensors("restored.safetensors").items()}
    drop = 0.9 - optimise_network.evaluate(restored)
    assert drop == pytest.approx(told["best"]["verdict"]["drop"], rel=1e-4)


def test_a_search_that_was_stopped_goes_on(softcell, folder, monkeypatch):
    whole = json.loads(Path("plan.json").read_text())
    Path("plan.json").unlink()
    made = []
    trial = TrialMaker.trial

    def stopped(self, *arguments, **options):
        if len(made) == stop:
            raise KeyboardInterrupt
        made.append(arguments)
        return trial(self, *arguments, **options)

    monkeypatch.setattr(TrialMaker, "trial", stopped)
    stop = len(whole["report"]["tried"]) - 2
    outcome = softcell(*SEARCH, "-o", "plan.json")
    assert (outcome.status, outcome.out) == (130, "")
    assert outcome.err.splitlines()[-1] == "softcell: interrupted"
    # The best so far is there, all that was tried with it, and can be written.
    left = json.loads(Path("plan.json").read_text())
    assert left["report"]["best"]["score"] <= 1
    assert left["report"]["tried"] == whole["report"]["tried"][:stop]
    words = ("write", "model.safetensors", "--plan", "plan.json", *MODULE, "-o", "model.cells")
    assert softcell(*words).status == 0
    # Stopped again before anything new is known, nothing is lost.
    made.clear()
    stop = 0
    assert softcell(*SEARCH, "-o", "plan.json", "--resume").status == 130
    assert json.loads(Path("plan.json").read_text()) == left
    stop = -1
    outcome = softcell(*SEARCH, "-o", "plan.json", "--resume")
    assert outcome.status == 0, outcome
    assert len(made) == 2
    assert json.loads(Path("plan.json").read_text()) == whole
    # Of another search nothing is taken.
    for words, reason in [
        (("--max-divergence", "0.04"), "another goal"),
        (("--age", "1d"), "other ages"),
        (("--keep", "4.bias"), "other tensors to keep"),
        (("--device", "pcm-mushroom"), "for the device pcm-partial-reset"),
    ]:
        line = softcell(*SEARCH, *words, "-o", "plan.json", "--resume").one_line()
        assert reason in line
        assert "--resume" in line
    assert json.loads(Path("plan.json").read_text()) == whole


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("other.safetensors", *MODULE), "other weights of the same shapes"),
        (("model.safetensors",), "goes through the feedback loop: give --feedback"),
        (("model.safetensors", "--module", "optimise_network:make"), "both --module and --inputs"),
        (("inputs.safetensors", *MODULE), "the network has none"),
        (("model.safetensors", *MODULE, "--device", "rram-wan"), "for the device pcm-partial-res"),
        (
            ("model.safetensors", *MODULE, "--device", "pcm-partial-reset+stuck:low=0.1"),
            "for the device pcm-partial-reset",
        ),
        (("model.safetensors", *MODULE, "--scheme", "int8"), "leave out --scheme"),
        (("model.safetensors", *MODULE, "--age", "10y"), "leave out --scheme"),
        (("model.safetensors", *MODULE, "--task", "digits"), "leave out --feedback"),
    ],
)
def test_plans_for_something_else(softcell, folder, words, reason):
    assert reason in softcell("write", *words, "--plan", "plan.json", "-o", "x.cells").one_line()
    assert not Path("x.cells").exists()


def _cut(text):
    return text[: len(text) // 2]


def _other_schema(text):
    return text.replace("softcell.plan/2", "softcell.plan/9")


def _no_recipe(text):
    return text.replace('"vector_bits": 1', '"vector_bits": 9')


def _no_procedure(text):
    return json.dumps({k: v for k, v in json.loads(text).items() if k != "procedure"})


def _backwards(text):
    plan = json.loads(text)
    return json.dumps(plan | {"procedure": plan["procedure"] | {"verify_reads": -1}})


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (_cut, "no plan"),
        (_other_schema, "softcell.plan/9"),
        (_no_recipe, "plan"),
        (_no_procedure, "lacks ['procedure']"),
        (_backwards, "procedure: expected at least 1 verifying read"),
        (lambda text: "", "no plan"),
    ],
)
def test_damaged_plans(softcell, folder, damage, reason):
    plan = Path("plan.json")
    plan.write_text(damage(plan.read_text()))
    words = ("write", "model.safetensors", *MODULE, "--plan", "plan.json", "-o", "x.cells")
    assert reason in softcell(*words).one_line()


def test_plans_that_are_not_there(softcell, folder):
    words = ("model.safetensors", "--plan", "none.json", "-o", "x.cells")
    assert "none.json" in softcell("write", *words).one_line()


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        ("nan", "nan"),
        ("none", "None"),
        ("words", "'very good'"),
        ("two", "tensor([0., 0.])"),
        ("late", "inf"),
        ("broken", "RuntimeError: no images here"),
        ("missing", "no function 'missing'"),
    ],
)
def test_functions_that_do_not_do(softcell, folder, function, reason):
    outcome = softcell(*ASKED, f"optimise_network:{function}", "-o", "x.json")
    assert reason in outcome.one_line()
    assert not Path("x.json").exists()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ((), "optimise what?"),
        (("model.safetensors",), "optimise what?"),
        (("--evaluate", "optimise_network:evaluate"), "give the MODEL"),
        (("model.safetensors", *MODULE), "ask for --max-divergence or --max-cells"),
        (("model.safetensors", *MODULE, "--max-drop", "1"), "--max-drop needs --evaluate"),
        (
            ("model.safetensors", "--evaluate", "optimise_network:evaluate", "--max-divergence", 1),
            "--max-divergence needs --module",
        ),
        ((*SEARCH[1:], "--task", "digits"), "leave out --evaluate"),
        ((*SEARCH[1:], "--max-cells", "-1"), "above 0"),
        ((*SEARCH[1:], "--max-cells", "0.1"), "cannot be reached"),
        ((*SEARCH[1:], "--decoder", "magic"), "any"),
        ((*SEARCH[1:], "--module", "optimise_network:other"), "the module has no tensor '0.bias'"),
        ((*SEARCH[1:], "--module", "optimise_network:no_logits"), "logits"),
        ((*SEARCH[1:3], "optimise_network:make", "--max-cells", "1"), "both --module and --inputs"),
        ((*SEARCH[1:], "--keep", "5.weight"), "'5.weight'"),
        ((*SEARCH[1:], "--keep", "1.weight"), "normalisation"),
        ((*SEARCH[1:], "-o", "model.safetensors"), "what is read"),
        ((*SEARCH[1:], "--resume", "-o", "printed.txt"), "no plan"),
    ],
)
def test_what_cannot_be_searched_for(softcell, folder, words, reason):
    before = sorted(path.name for path in folder.iterdir())
    output = () if "-o" in words else ("-o", "x.json")
    assert reason in softcell("optimise", *words, *output).one_line()
    # The module that was imported leaves its own byte code behind.
    after = {path.name for path in folder.iterdir()} - {"__pycache__"}
    assert after == set(before) - {"__pycache__"}


def test_the_help_has_examples(softcell):
    outcome = softcell("optimise", "--help")
    assert outcome.status == 0
    assert "softcell optimise --task digits --max-drop 0.5 -o plan.json" in outcome.out
    assert "--resume" in outcome.out
    for verb in ("write", "evaluate"):
        assert "--plan plan.json" in softcell(verb, "--help").out


@pytest.mark.slow  # trains a network, and plans it a dozen times
def test_a_task_is_searched_for_and_measured(softcell, tmp_path):
    words = ("optimise", "--task", "digits", "--max-cells", "1.2", "--images", "64")
    outcome = softcell(*words, "-o", "plan.json", "--json")
    assert outcome.status == 0, outcome
    told = json.loads(outcome.out)
    assert told["best"]["cells_per_weight"] <= 1.2 * 1.0001
    assert told["best"]["verdict"]["drop"] is not None
    words = ("evaluate", "--task", "digits", "--plan", "plan.json", "--seeds", "2")
    outcome = softcell(*words, "--images", "300", "--json", "result.json")
    assert outcome.status == 0, outcome
    (result,) = json.loads(Path("result.json").read_text())["results"]
    assert result["cells_per_weight"] == pytest.approx(told["best"]["cells_per_weight"])
    assert np.mean(result["accuracies"]) > result["float_accuracy"] - 0.03
    for wrong, reason in [
        (("--scheme", "int8"), "leave out --scheme"),
        (("--device", "rram-wan"), "for the device"),
        (("--task", "mnist", "--model", "other"), "other"),
    ]:
        assert reason in softcell(*words, *wrong).one_line()
