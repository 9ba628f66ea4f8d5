"""softcell train --target-cells, on digits."""

import json

import pytest

NETWORK = ("--task", "digits", "--target-cells", "1.0")
SHORT = ("--set", "epochs=2", "--set", "above=0")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("train")


def test_a_trained_network_is_written_and_measured_by_its_plan(softcell, place):
    path = place / "small.safetensors"
    told = softcell("train", *NETWORK, *SHORT, "-o", str(path), "--json")
    facts = json.loads(told.out)
    assert facts["output"] == str(path)
    assert facts["task"] == "digits"
    assert facts["log"][0].startswith("start: ")
    assert not list(place.glob("*checkpoint*"))
    plan = place / "small.json"
    assert facts["plan"] == str(plan)
    measured = softcell("evaluate", str(path), "--plan", str(plan), "--seeds", "2", "--json", "-")
    row = json.loads(measured.out)["results"][0]
    assert row["accuracy_mean"] == pytest.approx(facts["accuracy"])
    assert row["cells_per_weight"] == pytest.approx(facts["cells_per_weight"], rel=1e-6)
    image = place / "small.cells"
    softcell("write", str(path), "--plan", str(plan), "-o", str(image))
    again = place / "again.safetensors"
    softcell("read", str(image), "-o", str(again))
    assert json.loads(softcell("evaluate", str(again), "--json", "-").out)["results"][0][
        "accuracy_mean"
    ] == pytest.approx(facts["accuracy"])


def test_the_kept_command_makes_the_same_network(softcell, place):
    from softcell.training.trained_network import TrainedNetwork

    first = place / "first.safetensors"
    softcell("train", *NETWORK, *SHORT, "--seed", "4", "-o", str(first), "--compact")
    network = TrainedNetwork.load(first)
    words = network.command.split()
    assert words[:2] == ["softcell", "train"]
    second = place / "second.safetensors"
    softcell(*words[1:], "-o", str(second), "--compact")
    assert TrainedNetwork.load(second).digest == network.digest


def test_a_trained_network_is_trained_on(softcell, place):
    from softcell.training.trained_network import TrainedNetwork

    first, second = place / "begun.safetensors", place / "done.safetensors"
    softcell("train", *NETWORK, *SHORT, "-o", str(first))
    softcell("train", *NETWORK, *SHORT, "--from", str(first), "-o", str(second), "--compact")
    before, after = TrainedNetwork.load(first), TrainedNetwork.load(second)
    assert after.digest != before.digest
    assert after.log[: len(before.log)] == before.log
    begun, done = after.command.split(" && ")
    assert begun == f"{before.command} --output begun.safetensors"
    assert done.endswith("--from begun.safetensors")


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
