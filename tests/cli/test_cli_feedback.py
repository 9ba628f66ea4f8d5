"""The closed write loop on the command line: a simulated chip, and a real one by a lab script."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from softcell.cli import main
from softcell.devices import parse_device
from softcell.feedback.memory import SimulatedMemory
from softcell.image.cell_image import CellImage
from softcell.weights import TensorInfo, WeightsReader, WeightsWriter

EXAMPLES = Path(__file__).parents[2] / "examples"
OWN = """
import torch
from torch import nn

def make():
    torch.manual_seed(0)
    layers = nn.Conv2d(2, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(32, 10)
    network = nn.Sequential(*layers)
    network(torch.rand(64, 2, 4, 4))
    return network.eval()

def other():
    return nn.Linear(3, 4)
"""


@pytest.fixture(scope="session")
def prepared(tmp_path_factory) -> Path:
    """A folder with a network, its inputs and its calibration."""
    import torch

    folder = tmp_path_factory.mktemp("feedback")
    (folder / "feedback_network.py").write_text(OWN)
    before = os.getcwd()
    os.chdir(folder)
    try:
        sys.path.insert(0, str(folder))
        import feedback_network

        state = {n: t.numpy() for n, t in feedback_network.make().state_dict().items()}
        save("model.safetensors", state)
        generator = torch.Generator().manual_seed(3)
        save("inputs.safetensors", {"x": torch.rand(64, 2, 4, 4, generator=generator).numpy()})
        assert main(["calibrate", *MODULE, "-o", "calibration.safetensors"]) == 0
    finally:
        sys.path.remove(str(folder))
        os.chdir(before)
    return folder


@pytest.fixture
def folder(prepared, softcell, tmp_path):
    """The same in the working folder."""
    for each in ("feedback_network.py", *(p.name for p in prepared.glob("*.safetensors"))):
        shutil.copy(prepared / each, tmp_path / each)
    return tmp_path


MODULE = ("--module", "feedback_network:make", "--inputs", "inputs.safetensors")
LOOP = ("--feedback", "calibration.safetensors", "--cells-per-weight", "3")
WRITE = ("write", "model.safetensors", *LOOP, "-o", "model.cells")
PROGRAM = ("program", "model.safetensors", *LOOP, "-o", "model.cells", "--chip-name", "die7")

SIGN = ("--scheme", "sign")  # needs no long design
SOFTCELL = (sys.executable, "-c", "import sys, softcell.cli as c; sys.exit(c.main())")


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


def test_image_and_chip_come_into_being_together(softcell, folder):
    outcome = softcell(*WRITE, *MODULE, "--chip", "chip.safetensors", "--seed", 7, "--json")
    assert (outcome.status, outcome.err) == (0, "")
    told = json.loads(outcome.out)
    assert (told["scheme"], told["chip"]) == ("packed", "simulated:7")
    assert told["program_pulses"] == told["cells"]
    assert told["verifying_reads"] == told["analog_cells"] > 0
    assert told["cells_per_weight"] <= 3
    check = told["check"]
    assert (check["possible"], check["inputs"], check["procedure"]) == (True, 6, "closed loop")
    assert [each["tensor"] for each in check["matrices"]] == ["0.weight", "4.weight"]
    assert check["left"] == check["measured"] > 0
    for words in (("--chip", "chip.safetensors"), ("--seed", 7)):
        outcome = softcell("read", "model.cells", *words, "--age", "10y", "-o", f"{words[0]}.st")
        assert outcome.status == 0, outcome
    assert Path("--chip.st").read_bytes() == Path("--seed.st").read_bytes()
    restored, given = tensors("--chip.st"), tensors("model.safetensors")
    assert restored.keys() == given.keys()
    error = restored["4.weight"] - given["4.weight"]
    assert 0 < error.std() < 0.3 * given["4.weight"].std()
    info = softcell("info", "model.cells")
    assert "simulated:7 alone" in info.out
    assert json.loads(softcell("info", "model.cells", "--json").out)["chip"] == "simulated:7"


@pytest.mark.parametrize("words", [(), ("--seed", 6), ("--chip", "other.safetensors")])
def test_an_image_of_a_closed_loop_is_read_from_no_other_chip(softcell, folder, words):
    assert softcell(*WRITE, "--chip", "chip.safetensors", "--seed", 7).status == 0
    other = (*WRITE[:-1], "other.cells", "--chip", "other.safetensors", "--seed", 5)
    assert softcell(*other).status == 0
    line = softcell("read", "model.cells", *words, "-o", "restored.safetensors").one_line()
    assert "is for chip simulated:7 alone" in line
    assert not Path("restored.safetensors").exists()
    seeds = softcell("read", "model.cells", "--chip", "chip.safetensors", "--seed", 7, "-o", "x")
    assert "leave out --seed" in seeds.one_line()


def test_without_feedback_a_chip_is_kept_too(softcell, network):
    words = ("write", network, "-o", "x.cells", "--device", "pcm-mushroom+stuck:low=0.01")
    outcome = softcell(*words, "--chip", "chip.safetensors", "--seed", 4)
    assert outcome.status == 0, outcome
    assert "alone" not in outcome.out
    for name, chip in (("a", ("--chip", "chip.safetensors")), ("b", ("--seed", 4))):
        assert softcell("read", "x.cells", *chip, "--age", "1d", "-o", name).status == 0
    assert Path("a").read_bytes() == Path("b").read_bytes()
    # The image itself is for any chip.
    assert softcell("read", "x.cells", "--seed", 5, "-o", "c").status == 0
    assert Path("a").read_bytes() != Path("c").read_bytes()


def test_drift_correction_changes_vectors_and_a_note_says_where_it_is_missing(softcell, folder):
    plain = softcell(*WRITE, "--seed", 1)
    assert plain.status == 0
    assert plain.err.count("\n") == 1
    assert "no drift correction" in plain.err
    softcell("read", "model.cells", "--seed", 1, "-o", "plain.st")
    assert softcell(*WRITE, "--seed", 1, *MODULE).err == ""
    softcell("read", "model.cells", "--seed", 1, "-o", "corrected.st")
    one, other = tensors("plain.st"), tensors("corrected.st")
    changed = {name for name in one if (one[name] != other[name]).any()}
    assert {"1.bias", "4.bias"} <= changed <= {"1.weight", "1.bias", "0.bias", "4.bias"}


def test_a_tasks_images_correct_its_network(softcell):
    trained = json.loads(softcell("train", "--task", "digits", "--json").out)
    path = next(value for value in trained.values() if str(value).endswith(".safetensors"))
    assert softcell("calibrate", "--images", 60, "-o", "calibration.safetensors").status == 0
    words = ("write", path, "--feedback", "calibration.safetensors", "--task", "digits")
    outcome = softcell(*words, *SIGN, "--cells-per-weight", 2, "-o", "model.cells", "--seed", 3)
    assert (outcome.status, outcome.err) == (0, ""), outcome
    assert softcell("read", "model.cells", "--seed", 3, "-o", "restored.safetensors").status == 0
    assert softcell("evaluate", "restored.safetensors", "--task", "digits").status == 0
    # Its image is measured on the one chip that it is for, whatever seeds are usual.
    measured = softcell("evaluate", "model.cells", "--task", "digits", "--json", "r.json")
    assert measured.status == 0
    assert "own chip, --seed 3" in measured.err
    (row,) = json.loads(Path("r.json").read_text())["results"]
    assert (row["seeds"], row["first_seed"]) == (1, 3)


@pytest.mark.parametrize("scheme", ["strong-digital", "entropy-coded"])
def test_digital_schemes_serve_any_chip(softcell, folder, scheme):
    outcome = softcell(*WRITE, *MODULE, "--scheme", scheme, "--json")
    assert outcome.status == 0, outcome
    told = json.loads(outcome.out)
    assert (told["chip"], told["verifying_reads"]) == (None, 0)
    for seed in (0, 5):
        assert softcell("read", "model.cells", "--seed", seed, "-o", f"{seed}.st").status == 0
    assert Path("0.st").read_bytes() == Path("5.st").read_bytes()


def test_verifying_reads_are_counted(softcell, folder):
    words = (*WRITE, *SIGN, "--device", "pcm-partial-reset:read_noise=0.05", "--json")
    one, four = (json.loads(softcell(*words, "--verify-reads", n).out) for n in (1, 4))
    assert one["device"] == "pcm-partial-reset:read_noise=0.05"
    assert one["verifying_reads"] == one["analog_cells"]
    assert four["verifying_reads"] == 4 * four["analog_cells"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--scheme", "int8"), "not written through the feedback loop"),
        (("--module", "feedback_network:make"), "both --module and --inputs"),
        ((*MODULE, "--task", "digits"), "leave out --task"),
        (("--model", "cnn"), "give --task"),
        (("--task", "digits"), "tensor"),
        (("--feedback", "model.safetensors"), "no calibration"),
        (("--feedback", "none.safetensors"), "none.safetensors"),
        (("--verify-reads", "0"), "verify-reads"),
        (("--chip", "model.cells"), "another name"),
        (("--chip", "calibration.safetensors"), "write to another name"),
        (("--module", "feedback_network:other", *MODULE[2:]), "feedback_network:other"),
    ],
)
def test_what_does_not_go_together(softcell, folder, words, reason):
    assert reason in softcell(*WRITE, *words).one_line()
    assert not Path("model.cells").exists()


def test_options_of_the_loop_need_the_loop(softcell, folder):
    for words in (("--task", "digits"), MODULE, ("--verify-reads", "2")):
        line = softcell("write", "model.safetensors", "-o", "x.cells", *words).one_line()
        assert "give it, too" in line


def test_a_calibration_of_another_network(softcell, folder, network):
    line = softcell("write", network, "-o", "x.cells", *LOOP).one_line()
    assert "another network" in line


def test_the_example_programs_a_chip_by_a_pipe(softcell, folder):
    command = (sys.executable, EXAMPLES / "program_chip.py", *SOFTCELL, *PROGRAM, *MODULE, *SIGN)
    words = [str(word) for word in (*command, "--verify-reads", 2)]
    ran = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran
    assert "is for die7" in ran.stdout
    # Its chip is simulated chip number 7: the image and what it gives back are the same.
    outcome = softcell(*WRITE[:-1], "twin.cells", *MODULE, *SIGN, "--seed", 7, "--verify-reads", 2)
    assert outcome.status == 0
    with CellImage("model.cells") as bench, CellImage("twin.cells") as twin:
        assert (bench.header.chip, twin.header.chip) == ("die7", "simulated:7")
        for one, other in zip(bench.regions(), twin.regions(), strict=True):
            levels = (i.levels(one, 0, one.cells) for i in (bench, twin))
            np.testing.assert_array_equal(*levels)
            assert one == other
    words = ("decode", "model.cells", "--readings", "measured.npy", "-o", "measured.st")
    assert softcell(*words).status == 0
    assert softcell("read", "twin.cells", "--seed", 7, "-o", "twin.st").status == 0
    assert Path("measured.st").read_bytes() == Path("twin.st").read_bytes()
    assert "is for chip die7 alone" in softcell("read", "model.cells", "-o", "x").one_line()


def test_the_loop_by_files_in_a_folder(softcell, folder):
    Path("exchange").mkdir()
    device = parse_device("pcm-partial-reset")
    chip, programmed = SimulatedMemory(device, 7), []

    def lab() -> None:
        for number in range(10_000):
            batch = Path(f"exchange/batch-{number:06}.csv")
            while not batch.exists():
                if stop.wait(0.005):
                    return
            title, *lines = batch.read_text().splitlines()
            assert title == "region,cell,level_index,pulse_voltage_V,verify"
            fields = [line.rsplit(",", 4) for line in lines]
            region, verify = fields[0][0], fields[0][4] == "1"
            places, levels = (np.array([int(f[k]) for f in fields]) for k in (1, 2))
            readings = chip.program(region, places, levels.astype(np.uint8))
            programmed.extend((region, *pair) for pair in zip(places, levels))
            ohm = device.reading_axis.to_unit(readings if verify else [])
            part = Path(f"exchange/part-{number}")
            part.write_text("\n".join(["reading", *(repr(float(x)) for x in ohm)]))
            part.rename(f"exchange/readings-{number:06}.csv")

    stop = threading.Event()
    thread = threading.Thread(target=lab)
    thread.start()
    try:
        outcome = softcell(*PROGRAM, *MODULE, "--exchange", "exchange")
    finally:
        stop.set()
        thread.join()
    assert outcome.status == 0, outcome
    assert "die7 alone" in outcome.out
    assert softcell(*WRITE[:-1], "twin.cells", *MODULE, "--seed", 7).status == 0
    with CellImage("model.cells") as bench, CellImage("twin.cells") as twin:
        for region in bench.regions():
            levels = [i.levels(region, 0, region.cells) for i in (bench, twin)]
            np.testing.assert_array_equal(*levels)
            # Every cell was programmed once, to the level that the image says.
            cells = sorted(
                (place, level) for name, place, level in programmed if name == region.label
            )
            assert cells == [*enumerate(levels[0].tolist())]
    line = softcell(*PROGRAM, "--exchange", "exchange").one_line()
    assert "of an earlier exchange" in line
    assert "is no folder" in softcell(*PROGRAM, "--exchange", "nowhere").one_line()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("", "the lab script ended"),
        ("\n", "expected a line such as"),
        ("[1, 2]\n", "expected a line such as"),
        ('{"readings": 5}\n', "expected a line such as"),
        ('{"readings": [1e4]}\n', "expected 8 readings, one for each cell, got 1"),
        ('{"readings": [[1e4]]}\n', "expected 8 readings"),
        ('{"readings": ["a", "b"]}\n', "not all numbers"),
        ('{"readings": [true, 1, 1, 1, 1, 1, 1, 1]}\n', "not all numbers"),
        ('{"batch": 3, "readings": []}\n', "the answer is to batch 3"),
        (json.dumps({"readings": [52.5, 70, 99] * 2 + [400, 900]}) + "\n", "if multiplied by 1000"),
        (json.dumps({"readings": [9.9e37] * 8}) + "\n", "beyond its range"),
        (json.dumps({"readings": [0] * 8}) + "\n", "0 or less is no resistance"),
    ],
)
def test_answers_that_do_not_do_leave_no_image(softcell, folder, monkeypatch, answer, reason):
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
    outcome = softcell(*PROGRAM, "--scheme", "naive", "--cells-per-weight", 1)
    lines = [json.loads(line) for line in outcome.out.splitlines()]
    assert outcome.status == 2
    assert outcome.err.count("\n") == 1
    assert reason in outcome.err
    assert "batch 0 (cells/0.weight)" in outcome.err
    assert lines[0] == {
        "protocol": "softcell.program/1",
        "chip": "die7",
        "device": "pcm-partial-reset",
        "level": {"quantity": "pulse voltage", "unit": "V"},
        "reading": {"quantity": "resistance", "unit": "ohm"},
        "reads": 1,
    }
    assert len(lines) == 2
    assert lines[1]["verify"] is True
    assert 1 <= min(lines[1]["levels"]) <= max(lines[1]["levels"]) <= 2.95
    left = {path.name for path in Path().iterdir()}
    assert left == {"feedback_network.py"} | {p.name for p in Path().glob("*.safetensors")}


def test_a_script_that_goes_in_mid_loop(folder):
    with subprocess.Popen(
        [*SOFTCELL, *PROGRAM, "--scheme", "naive"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as ran:
        ran.stdout.readline()
        batch = json.loads(ran.stdout.readline())
        ran.stdout.close()
        ran.stdin.write(json.dumps({"readings": [1e4] * len(batch["places"])}) + "\n")
        ran.stdin.close()
        told = ran.stderr.read()
    assert ran.returncode == 2, told
    assert told.startswith("softcell: the lab script has gone; what was exchanged up to batch 0 is")
    assert told.count("\n") == 1
    assert not Path("model.cells").exists()


@pytest.mark.parametrize("name", ["", " ", "simulated:7", "two\nlines"])
def test_names_that_no_real_chip_has(softcell, folder, name):
    words = [*PROGRAM[:-1], name]
    assert "no name for a real chip" in softcell(*words).one_line()


MEASURE = """

def evaluate(state):
    network = make()
    inputs = torch.rand(50, 2, 4, 4, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        wanted = network(inputs)
        network.load_state_dict(state)
        return -float(((network(inputs) - wanted) ** 2).mean())
"""
COMPARE = ("compare", "--network", "model.safetensors", "--evaluate", "measured:evaluate")


def test_a_network_of_ones_own_is_compared_through_the_loop(softcell, folder):
    (folder / "measured.py").write_text(OWN + MEASURE)
    options = ("--feedback", "--calibration", "calibration.safetensors", *MODULE)
    few = ("--schemes", "sign,int8", "--cells-per-weight", "3", "--seeds", "2", "--json", "r.json")
    assert softcell(*COMPARE, *options, *few).status == 0
    rows = json.loads((folder / "r.json").read_text())["results"]
    ways = [(row["scheme"], row["loop"]) for row in rows]
    assert ways == [("sign", "open"), ("sign", "open, corrected"), ("sign", "closed"), ("int8", "")]
    opened, corrected, closed, _ = (row["accuracy_mean"] for row in rows)
    assert max(corrected, closed) > opened
    assert {row["feedback"] for row in rows} == {False, True}


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--feedback",), "--calibration"),
        (("--calibration", "calibration.safetensors"), "go with --feedback"),
        (MODULE, "go with --feedback"),
    ],
)
def test_what_a_comparison_of_ones_own_needs(softcell, folder, words, reason):
    (folder / "measured.py").write_text(OWN + MEASURE)
    result = softcell(*COMPARE, *words)
    assert result.status == 2
    assert reason in result.err
