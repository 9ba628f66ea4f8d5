"""Images are the same to the byte, however many threads linear algebra runs on."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from softcell.codes.schemes import SCHEMES

WRITE = """
import hashlib, json, sys
import numpy as np
from softcell.allocate.plan import make_plan
from softcell.codes.schemes import SCHEMES
from softcell.devices import parse_device
from softcell.image.write import write_image
from softcell.streams import Stream
from softcell.weights import StateDictWeights

folder, *names = sys.argv[1:]
state = {
    "a": Stream.of(0, "a").normal(1200).reshape(40, 30),
    "b": (0.1 * Stream.of(0, "b").normal(1152) ** 3).reshape(16, 8, 3, 3),
    "c": Stream.of(0, "c").normal(40),
}
weights, device, digests = StateDictWeights(state), parse_device("pcm-partial-reset"), {}
for name in names:
    cells = 1.5 if SCHEMES[name].takes_cells else None
    plan = make_plan(weights, device, name, cells_per_weight=cells)
    write_image(weights, plan, f"{folder}/image.cells")
    digests[name] = hashlib.sha256(open(f"{folder}/image.cells", "rb").read()).hexdigest()
print(json.dumps(digests))
"""
QUICK = ["combined", "entropy-coded"]
MAPPED = [name for name, scheme in SCHEMES.items() if scheme.look_up and name != "joint-map"]
OTHERS = [name for name in SCHEMES if name not in (*QUICK, *MAPPED, "joint-map")]


def written(names, threads, folder) -> dict[str, str]:
    """Return digests of images that a process of so many threads writes, its cache empty."""
    folder.mkdir()
    limits = ("OMP", "OPENBLAS", "MKL", "VECLIB_MAXIMUM")
    own = {f"{name}_NUM_THREADS": str(threads) for name in limits}
    found = subprocess.run(
        [sys.executable, "-c", WRITE, str(folder), *names],
        env={**os.environ, **own, "SOFTCELL_CACHE": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=True,
    )
    digests: dict[str, str] = json.loads(found.stdout)
    return digests


@pytest.mark.parametrize(
    "names",
    [
        QUICK,
        # Those that design maps do so twice.
        *(pytest.param(names, marks=pytest.mark.slow) for names in (OTHERS, MAPPED, ["joint-map"])),
    ],
    ids=["quick", "others", "mapped", "joint-map"],
)
def test_image_bytes_do_not_depend_on_the_number_of_threads(names, tmp_path):
    one, several = (written(names, threads, tmp_path / f"{threads}") for threads in (1, 3))
    assert one == several
