"""Verbs of the command line, given damaged files: one line and exit status 2, or an answer."""

from __future__ import annotations

import contextlib
import io
import shutil
from pathlib import Path

from numpy.random import Generator

from fuzz import samples
from fuzz.harness import Target, generator_of
from softcell.cli import main

_IMAGES = ("image", "image-metadata", "image-sections", "image-index", "stream")
_VERBS: dict[str, tuple[tuple[str, ...], ...]] = {
    **dict.fromkeys(
        _IMAGES,
        (
            ("info", "INPUT"),
            ("info", "INPUT", "--json", "--no-verify"),
            ("read", "INPUT", "-o", "OUT.safetensors", "--json"),
            ("export", "INPUT", "-o", "OUT.csv"),
            ("export", "INPUT", "-o", "OUT.npy"),
        ),
    ),
    "chip": (("read", "IMAGE", "--chip", "INPUT", "-o", "OUT.safetensors"),),
    "readings": (("decode", "PACKED", "--readings", "INPUT", "-o", "OUT.safetensors"),),
    "plan": (("write", "WEIGHTS", "--plan", "INPUT", "-o", "OUT.cells"),),
    "fisher": (
        ("write", "WEIGHTS", "--sensitivity", "INPUT", "-o", "OUT.cells"),
        ("prune", "WEIGHTS", "--sensitivity", "INPUT", "-o", "OUT.safetensors"),
    ),
    "calibration": (
        ("write", "WEIGHTS", "--feedback", "INPUT", "-o", "OUT.cells"),
        ("prune", "WEIGHTS", "--feedback", "INPUT", "-o", "OUT.safetensors"),
    ),
    "weights": (
        ("write", "INPUT", "--scheme", "int8", "-o", "OUT.cells"),
        ("quantise", "INPUT", "-o", "OUT.safetensors"),
        ("prune", "INPUT", "-o", "OUT.safetensors"),
    ),
    "results": (("results", "INPUT"), ("results", "INPUT", "--json", "-")),
    "device-file": (("devices", "--device", "INPUT", "--json"),),
    "measurements": (("fit", "INPUT", "-o", "OUT.toml"),),
}


def targets(made: dict[str, Target]) -> tuple[Target, ...]:
    """Return the targets of the command line, whose files those of parsers are."""

    def make(generator: Generator, folder: Path) -> Path:
        name = list(_VERBS)[int(generator.integers(0, len(_VERBS)))]
        number = int(generator.integers(0, 1 << 30))
        path = made[name].make(generator_of(name, 0, number), folder)
        verbs = _VERBS[name]
        words = verbs[int(generator.integers(0, len(verbs)))]
        instead = {
            "INPUT": str(path),
            "IMAGE": str(samples.image("combined")),
            "PACKED": str(samples.image("packed")),
            "WEIGHTS": str(samples.network()),
        }
        chosen = [instead.get(w, w.replace("OUT", str(folder / "made"))) for w in words]
        command = folder / f"{path.stem}.words"
        command.write_text("\n".join(chosen))
        return command

    return (Target("command", make, _use, share=0.1),)


def _use(path: Path) -> None:
    out, told = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(told):
        status = main(path.read_text().split("\n"))
    lines = told.getvalue().splitlines()
    assert status in (0, 1, 2), status
    assert all(line.startswith("softcell: ") for line in lines), lines
    assert status != 2 or len(lines) == 1, lines
    for left in path.parent.glob("made*"):
        assert status != 2, f"{left.name} was left behind"
        shutil.rmtree(left) if left.is_dir() else left.unlink()
