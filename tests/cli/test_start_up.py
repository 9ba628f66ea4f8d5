"""What needs no network and no codec waits for neither torch nor the compiler."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

IMAGES = Path(__file__).parents[1] / "vectors" / "images"

CHILD = """
import json, sys
from pathlib import Path
from softcell.cli import main
told = [(words, main(words), sorted({"numba", "torch"} & set(sys.modules)))
        for words in json.loads(sys.argv[1])]
Path(sys.argv[2]).write_text(json.dumps(told))
status = Path("/proc/self/status")
if status.exists():
    peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    Path(sys.argv[3]).write_text(peak.split()[1])
"""


@pytest.fixture
def outcomes(tmp_path, monkeypatch):
    """Run commands one after the other in a fresh process: words, status, heavy imports."""
    monkeypatch.chdir(tmp_path)

    def run(*commands: str) -> list[tuple[list[str], int, list[str]]]:
        words = json.dumps([command.split() for command in commands])
        subprocess.run([sys.executable, "-c", CHILD, words, "told", "peak"], check=True)
        return json.loads(Path("told").read_text())

    return run


@pytest.mark.parametrize(
    "command",
    [
        f"info {IMAGES / 'combined.cells'}",
        f"export {IMAGES / 'packed.cells'} -o levels.npy",
        "devices",
    ],
)
def test_small_commands_are_light(outcomes, monkeypatch, tmp_path, command):
    monkeypatch.setenv("SOFTCELL_CACHE", str(tmp_path / "empty"))
    ((_, status, heavy),) = outcomes(command)
    assert (status, heavy) == (0, [])
    if Path("peak").exists():
        assert int(Path("peak").read_text()) < 200_000  # kB; some 55,000, and 125,000 for devices


def test_mistakes_are_told_before_torch_is_there(outcomes):
    network = IMAGES / "network.safetensors"
    for words, status, heavy in outcomes(
        "info missing.cells",
        "write missing.safetensors -o x.cells",
        f"write {network} -o x.cells --device nothing",
        f"write {network} -o x.cells --scheme nothing",
        f"write {network} -o x.cells --age later",
        f"write {network} -o x.cells --cells-per-weight 0.5",
        f"write {network} -o x.cells --sensitivity missing.safetensors",
        f"write {network} -o x.cells --feedback missing.safetensors",
        f"write {network} -o x.cells --plan missing.json",
        f"write {network} -o no/x.cells",
        f"write {network} -o x.cells --colour red",
        f"program {network} --feedback missing.safetensors --chip-name a -o x.cells",
        "read missing.cells -o x.safetensors",
        f"read {IMAGES / 'packed.cells'} -o x.safetensors --age later",
        f"decode {IMAGES / 'packed.cells'} --readings missing.npy -o x.safetensors",
        f"export {IMAGES / 'packed.cells'} -o levels.txt",
        "prune missing.safetensors -o x.safetensors",
        "quantise missing.safetensors -o x.safetensors",
        "calibrate --task nothing -o x.safetensors",
        "train --task nothing",
        "train --target-cells 1 --device nothing",
        "train --target-cells 1 --set nothing=1",
        "train --target-cells 1 --from missing.safetensors",
        "evaluate",
        "evaluate missing.cells",
        "evaluate missing.safetensors",
        "evaluate --scheme int8 --task nothing",
        "evaluate --scheme int8 --images 100000",
        "evaluate --plan missing.json",
        "compare --schemes nothing",
        "compare --device nothing",
        "compare --model nothing",
        "compare --sensitivity missing.safetensors",
        "compare --network missing.safetensors --evaluate json:loads",
        "optimise",
        "optimise --task nothing",
        "optimise --task digits missing.safetensors",
        "optimise --task digits --device nothing",
        "optimise missing.safetensors --evaluate json:loads",
        "results",
        "results --trained nothing",
        "devices --device nothing",
        "fit missing.csv -o x.toml",
        "nothing",
    ):
        assert (status, heavy) == (2, []), words
