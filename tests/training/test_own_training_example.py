"""The example trains a network of its own, and reads it from cells of ten years."""

import runpy
from pathlib import Path

import torch

EXAMPLE = Path(__file__).parents[2] / "examples" / "train_own.py"


def test_the_example_keeps_what_the_network_knows(tmp_path, capsys):
    with torch.random.fork_rng():
        main = runpy.run_path(str(EXAMPLE))["main"]
        found = main(str(tmp_path / "digits.cells"), epochs=20, search=False)
    assert found["float accuracy"] > 0.9
    assert found["cells per weight"] < 0.24
    # Without training 71 % are left in as many cells; with 40 epochs it is 91 %.
    assert found["accuracy after ten years"] > 0.8
    assert "trained: 0.2" in capsys.readouterr().out
