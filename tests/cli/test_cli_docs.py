"""The session of docs/cli.md runs, and prints what it shows there, numbers apart.

With SOFTCELL_REWRITE_DOCS=1 the outputs are put into the file instead.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from pathlib import Path

import numpy as np

from softcell.cache import cache_folder
from softcell.image.cell_image import CellImage
from softcell.image.readings import SimulatedChip

DOCS = Path(__file__).parents[2] / "docs" / "cli.md"
SHOWN_CACHE = "~/.cache/softcell"


def prepare(text: str) -> None:
    """Write what the session expects to find."""
    random = np.random.default_rng(3)
    volts = np.repeat(np.linspace(1, 3, 21), 50)
    ohm = 10 ** (4 + volts**2 / 5 + random.normal(0, 0.06, volts.size))
    rows = [f"{v:g},{r:.1f}" for v, r in zip(volts, ohm)]
    Path("measurements.csv").write_text("\n".join(["pulse_voltage_V,resistance_ohm", *rows]))
    (module,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    Path("my_module.py").write_text(module)


def measure() -> None:
    """Play the chip that was programmed from levels.npy."""
    with CellImage("model.cells") as image:
        assert len(np.load("levels.npy")) == image.header.cells
        chip = SimulatedChip(image, seed=1, age_seconds=3600)
        readings = np.concatenate([chip.read(r, 0, r.cells) for r in image.regions()])
        np.save("measured.npy", image.header.device.reading_axis.to_unit(readings))


def output_of(command: str, softcell) -> str:
    """Run one command of the session."""
    words = shlex.split(command.replace("\\\n", ""))
    if words[0] == "head":
        return "".join(Path(words[2]).read_text().splitlines(keepends=True)[: -int(words[1])])
    if words[0] == "cp":
        shutil.copy(words[1].replace(SHOWN_CACHE, str(cache_folder())), words[2])
        return ""
    if words[1] == "decode":
        measure()
    outcome = softcell(*words[1:])
    assert outcome.status == 0, (command, outcome)
    return (outcome.out + outcome.err).replace(str(cache_folder()), SHOWN_CACHE)


def replayed(block: str, softcell) -> str:
    """Return a block of the session with the outputs that its commands give now."""
    commands = re.findall(r"^\$ ((?:.*\\\n)*.*)\n", block, flags=re.MULTILINE)
    return "".join(f"$ {command}\n{output_of(command, softcell)}" for command in commands)


def without_numbers(text: str) -> str:
    """Return a text as it is for other numbers, and so for columns of another width."""
    return re.sub(r"[\s─]+", " ", re.sub(r"-?[0-9][0-9,.]*(e[-+]?[0-9]+)?", "#", text))


def test_the_session_of_the_documentation(softcell):
    text = DOCS.read_text(encoding="utf-8")
    prepare(text)
    parts = re.split(r"(?<=```console\n)(.*?)(?=```)", text, flags=re.DOTALL)
    parts[1::2] = [replayed(block, softcell) for block in parts[1::2]]
    now = "".join(parts)
    if os.environ.get("SOFTCELL_REWRITE_DOCS") == "1":
        DOCS.write_text(now, encoding="utf-8")
    assert without_numbers(DOCS.read_text(encoding="utf-8")) == without_numbers(now)
