"""A user's mistake is one line on standard error and exit status 2, and leaves no file behind."""

from __future__ import annotations

import errno
import json
import os
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest

from softcell.cli import main
from softcell.evaluate.results import read_results
from softcell.weights import TensorInfo, WeightsWriter


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def save(path, name, values, dtype="F32"):
    with WeightsWriter(path, [TensorInfo(name, values.shape, dtype)]) as writer:
        writer.write(name, values)


@pytest.fixture(scope="module")
def written(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("written") / "x.cells"
    assert main(["write", str(network), "-o", str(path)]) == 0
    return path


@pytest.fixture
def image(softcell, written, tmp_path):
    shutil.copy(written, tmp_path)
    return written.name


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("scheme", ["combined", "naive", "float16", "int8"])
def test_weights_that_are_not_finite(softcell, tmp_path, bad, scheme):
    values = np.ones((4, 4), np.float32)
    values[1, 2] = bad
    save("bad.safetensors", "layer.weight", values)
    line = softcell("write", "bad.safetensors", "-o", "x.cells", "--scheme", scheme).one_line()
    assert "'layer.weight'" in line
    assert files(tmp_path) == ["bad.safetensors"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--device", "pcm-partial-rest"),
        ("--device", "gaussian:snr=3"),
        ("--device", "gaussian:snr_db=loud"),
        ("--device", "missing.toml"),
        ("--scheme", "combine"),
        ("--scheme", "sign+luck"),
        ("--cells-per-weight", "0.5"),
        ("--cells-per-weight", "nan"),
        ("--cells-per-weight", "two"),
        ("--age", "ten years"),
        ("--age", "-1"),
        ("--sensitivity", "missing.safetensors"),
        ("--colour", "red"),
    ],
)
def test_options_that_mean_nothing(softcell, network, tmp_path, arguments):
    softcell("write", network, "-o", "x.cells", *arguments).one_line()
    assert files(tmp_path) == []


def test_networks_without_weights(softcell):
    save("empty.safetensors", "layer.weight", np.zeros((0, 3), np.float32))
    assert "nothing to store" in softcell("write", "empty.safetensors", "-o", "x.cells").one_line()
    softcell("write", "missing.safetensors", "-o", "x.cells").one_line()
    with open("text.safetensors", "w") as file:
        file.write("no tensors here")
    softcell("write", "text.safetensors", "-o", "x.cells").one_line()


@pytest.mark.parametrize("verb", ["read", "info", "export"])
@pytest.mark.parametrize("damage", ["cut", "empty", "front", "back", "text"])
def test_damaged_images(softcell, image, tmp_path, verb, damage):
    with open(image, "rb") as file:
        data = bytearray(file.read())
    if damage == "cut":
        del data[len(data) // 2 :]
    elif damage == "empty":
        data.clear()
    elif damage == "text":
        data[:] = b"region,cell\n" * 100
    else:
        data[100 if damage == "front" else -100] ^= 1
    with open(image, "wb") as file:
        file.write(data)
    before = files(tmp_path)
    output = () if verb == "info" else ("-o", "out.npy")
    assert image in softcell(verb, image, *output).one_line()
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("readings", "reason"),
    [
        (lambda cells: np.full(cells - 1, 1e5), "shape"),
        (lambda cells: np.full((cells, 1), 1e5), "shape"),
        (lambda cells: np.full(cells, np.nan), "cells looked at gave no reading"),
        (lambda cells: np.full(cells, -1e5), "0 or less is no resistance"),
        (lambda cells: np.array(["high"] * cells), "numbers"),
        (lambda cells: np.array([None] * cells, object), ".npy"),
    ],
)
def test_readings_that_cannot_be(softcell, image, tmp_path, readings, reason):
    cells = json.loads(softcell("info", image, "--json").out)["cells"]
    np.save("measured.npy", readings(cells), allow_pickle=True)
    before = files(tmp_path)
    outcome = softcell("decode", image, "--readings", "measured.npy", "-o", "back.safetensors")
    assert reason in outcome.one_line()
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    "text",
    ["", "level\n1\n", "reading\n1\n2\n", "reading\nhigh\n", "a,reading\n1\n1,2,3\n"],
)
def test_csv_readings_that_cannot_be(softcell, image, tmp_path, text):
    (tmp_path / "measured.csv").write_text(text)
    before = files(tmp_path)
    softcell("decode", image, "--readings", "measured.csv", "-o", "back.safetensors").one_line()
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    "text",
    [
        "",
        "volt,ohm\n",
        "volt,ohm\n1,2\n1,high\n",
        "volt,ohm\n1,2\n1,nan\n2,1\n2,3\n",
        "volt,ohm\n1,2\n1\n",
        "volt,ohm\n1,2\n2,3\n",
        "ohm\n1\n2\n",
    ],
)
def test_measurements_that_cannot_be_fitted(softcell, tmp_path, text):
    (tmp_path / "cell.csv").write_text(text)
    assert "cell.csv" in softcell("fit", "cell.csv", "-o", "cell.toml").one_line()
    assert files(tmp_path) == ["cell.csv"]


def test_exports_of_another_kind(softcell, image):
    assert ".npy or .csv" in softcell("export", image, "-o", "levels.txt").one_line()


def test_an_input_is_not_replaced(softcell, image, tmp_path):
    before = (tmp_path / image).read_bytes()
    softcell("read", image, "-o", image).one_line()
    assert (tmp_path / image).read_bytes() == before


@pytest.mark.usefixtures("image")
@pytest.mark.parametrize("output", ["no/such/folder/out", "."])
@pytest.mark.parametrize(
    "words",
    [
        ("write", "MODEL"),
        ("read", "x.cells"),
        ("export", "x.cells"),
        ("decode", "x.cells", "--readings", "x.npy"),
        ("calibrate",),
    ],
)
def test_outputs_that_cannot_be_written(softcell, network, words, output):
    words = [network if word == "MODEL" else word for word in words]
    softcell(*words, "-o", output).one_line()


@pytest.mark.usefixtures("image")
@pytest.mark.parametrize(
    "words", [("write", "MODEL", "-o"), ("read", "x.cells", "-o"), ("export", "x.cells", "-o")]
)
def test_a_full_disk_leaves_nothing(softcell, network, tmp_path, monkeypatch, words):
    words = [network if word == "MODEL" else word for word in words]
    before = files(tmp_path)

    def full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert "no space left" in softcell(*words, "out.npy").one_line()
    assert files(tmp_path) == before


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs the device /dev/full")
def test_a_full_standard_output_is_one_line():
    code = "import sys; from softcell.cli import main; sys.exit(main(['--version']))"
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "No space left" in done.stderr


def test_a_reader_that_has_enough_is_no_error():
    code = (
        "import sys; from softcell.cli import main;"
        "sys.exit(main(['devices', '--device', 'ideal', '--json']))"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        errors = process.stderr.read()
    assert (process.returncode, errors) == (141, b"")


@pytest.mark.parametrize("verb", [("--version",), ("--help",), ("devices", "--device", "ideal")])
@pytest.mark.parametrize(("closed", "lines"), [(">&-", 1), (">&- 2>&-", 0), (">&- 2>&- <&-", 0)])
def test_a_closed_standard_output_is_one_line(verb, closed, lines):
    code = "import sys; from softcell.cli import main; sys.exit(main(sys.argv[1:]))"
    words = shlex.join([sys.executable, "-c", code, *verb])
    done = subprocess.run(
        ["sh", "-c", f"{words} {closed}"], stderr=subprocess.PIPE, text=True, check=False
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, lines)


@pytest.mark.usefixtures("image")
@pytest.mark.parametrize(
    "words",
    [
        ("evaluate",),
        ("evaluate", "x.cells", "--scheme", "int8"),
        ("evaluate", "x.cells"),
        ("evaluate", "missing.cells"),
        ("evaluate", "missing.safetensors"),
        ("evaluate", "--scheme", "int8", "--images", "100000"),
        ("evaluate", "--scheme", "int8", "--task", "numbers"),
        ("compare", "--task", "digits", "--model", "resnet20"),
        ("compare", "--schemes", "all"),
        ("compare", "--schemes", ","),
        ("compare", "--cells-per-weight", "1,two"),
        ("compare", "--plot", "figure.gif"),
        ("compare", "--plot", "no/figure.svg"),
        ("compare", "--json", "no/results.json"),
        ("compare", "--resume"),
        ("compare", "--resume", "--json", "x.cells"),
        ("compare", "--network", "x.safetensors"),
        ("compare", "--evaluate", "module:function"),
        ("train", "--task", "cifar10"),
        ("train", "--task", "numbers"),
        ("calibrate", "--task", "numbers", "-o", "fisher.safetensors"),
        ("calibrate", "--images", "0", "-o", "fisher.safetensors"),
    ],
)
def test_measurements_that_mean_nothing(softcell, tmp_path, words):
    before = files(tmp_path)
    softcell(*words).one_line()
    assert files(tmp_path) == before


def test_an_interruption_is_told_and_keeps_finished_rows(softcell, network, tmp_path):
    (tmp_path / "slow.py").write_text(
        "calls = []\n\n"
        "def evaluate(state):\n"
        "    calls.append(1)\n"
        "    if len(calls) > 4:\n"
        "        raise KeyboardInterrupt\n"
        "    return 0.5\n"
    )
    words = ("--network", network, "--evaluate", "slow:evaluate", "--seeds", 1)
    schemes = ("--schemes", "int8,naive", "--cells-per-weight", "1,2,3")
    outcome = softcell("compare", *words, *schemes, "--json", "r.json")
    assert (outcome.status, outcome.out, outcome.err) == (130, "", "softcell: interrupted\n")
    assert len(read_results("r.json")) == 3  # one of the calls is for the float network
    assert [name for name in files(tmp_path) if name.endswith(".tmp")] == []


def test_a_verb_that_is_told_to_terminate_ends_as_by_ctrl_c(network, tmp_path):
    (tmp_path / "ended.py").write_text(
        "import os, signal, time\n"
        "def evaluate(state):\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    time.sleep(60)\n"
    )
    words = ["compare", "--network", str(network), "--evaluate", "ended:evaluate", "--json", "r"]
    ended = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from softcell.cli import main; sys.exit(main())",
            *words,
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stderr) == (130, "softcell: interrupted\n")
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["ended.py"]
