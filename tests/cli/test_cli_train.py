"""softcell train --target-cells, on digits."""

import json

import pytest

from softcell.cli import main

NETWORK = ("--task", "digits", "--target-cells", "1.0")
SHORT = ("--set", "epochs=2", "--set", "above=0")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A trained network, for whoever only reads it."""
    path = tmp_path_factory.mktemp("train") / "small.safetensors"
    assert main(["train", *NETWORK, *SHORT, "--seed", "4", "-o", str(path)]) == 0
    return path


def test_a_trained_network_is_written_and_measured_by_its_plan(softcell, tmp_path):
    path, plan = tmp_path / "small.safetensors", tmp_path / "small.json"
    told = softcell("train", *NETWORK, *SHORT, "-o", str(path), "--json")
    facts = json.loads(told.out)
    assert facts["output"] == str(path)
    assert facts["task"] == "digits"
    assert facts["log"][0].startswith("start: ")
    assert not list(tmp_path.glob("*checkpoint*"))
    assert facts["plan"] == str(plan)
    measured = softcell("evaluate", str(path), "--plan", str(plan), "--seeds", "2", "--json", "-")
    row = json.loads(measured.out)["results"][0]
    assert row["accuracy_mean"] == pytest.approx(facts["accuracy"])
    assert row["cells_per_weight"] == pytest.approx(facts["cells_per_weight"], rel=1e-6)
    image = tmp_path / "small.cells"
    softcell("write", str(path), "--plan", str(plan), "-o", str(image))
    again = tmp_path / "again.safetensors"
    softcell("read", str(image), "-o", str(again))
    assert json.loads(softcell("evaluate", str(again), "--json", "-").out)["results"][0][
        "accuracy_mean"
    ] == pytest.approx(facts["accuracy"])


def test_the_kept_command_makes_the_same_network(softcell, small, tmp_path):
    from softcell.training.trained_network import TrainedNetwork

    network = TrainedNetwork.load(small)
    words = network.command.split()
    assert words[:2] == ["softcell", "train"]
    again = tmp_path / "again.safetensors"
    softcell(*words[1:], "-o", str(again), "--compact")
    assert TrainedNetwork.load(again).digest == network.digest


def test_a_trained_network_is_trained_on(softcell, small, tmp_path):
    from softcell.training.trained_network import TrainedNetwork

    done = tmp_path / "done.safetensors"
    softcell("train", *NETWORK, *SHORT, "--from", str(small), "-o", str(done), "--compact")
    before, after = TrainedNetwork.load(small), TrainedNetwork.load(done)
    assert after.digest != before.digest
    assert after.log[: len(before.log)] == before.log
    begun, ended = after.command.split(" && ")
    assert begun == f"{before.command} --output small.safetensors"
    assert ended.endswith("--from small.safetensors")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--epochs", "3"), "--target-cells"),
        (("--teacher", "cnn"), "--target-cells"),
        (("--from", "small.safetensors"), "--target-cells"),
        (("--target-cells", "1", "--from", "nothing.safetensors"), "nothing.safetensors"),
        (("--target-cells", "1", "--teacher", "resnet9"), "resnet9"),
        (("--target-cells", "1", "--set", "speed=3"), "no setting 'speed'"),
        (("--target-cells", "1", "--set", "batch=many"), "is no int"),
        (("--target-cells", "1", "--set", "room=0.7"), "room"),
        (("--target-cells", "-1"), "above 0"),
        (("--target-cells", "1", "-o", "network.cells"), ".safetensors"),
        (("--target-cells", "1", "--device", "tape"), "tape"),
    ],
)
def test_mistakes(softcell, arguments, message):
    told = softcell("train", "--task", "digits", *arguments)
    assert told.status == 2
    assert message in told.err


@pytest.mark.parametrize("kind", [".checkpoint", ".checkpoint.drop"])
def test_a_checkpoint_that_is_there_is_not_lost(softcell, tmp_path, kind):
    left = tmp_path / f"other{kind}.safetensors"
    left.write_bytes(b"precious")
    path = str(tmp_path / "other.safetensors")
    told = softcell("train", *NETWORK, "-o", path)
    assert told.status == 2
    assert "--resume" in told.err
    assert left.read_bytes() == b"precious"
