"""A command line in this process, and a network that is small and awkward."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from softcell.cli import main
from softcell.weights import TensorInfo, WeightsWriter


@dataclass(frozen=True)
class Outcome:
    status: int
    out: str
    err: str

    def one_line(self) -> str:
        """Return the error message, which must be the only line that was printed."""
        assert self.status == 2, self
        assert self.out == ""
        assert self.err.startswith("softcell: ")
        assert self.err.count("\n") == 1
        return self.err


Softcell = Callable[..., Outcome]


@pytest.fixture
def softcell(capfd: pytest.CaptureFixture[str], monkeypatch, tmp_path: Path) -> Softcell:
    """Run `softcell` with arguments in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Outcome:
        capfd.readouterr()
        status = main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return Outcome(status, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with a tensor of every kind that files hold."""
    random = np.random.default_rng(5)
    tensors = [
        (TensorInfo("conv.weight", (8, 4, 3, 3), "F32"), random.normal(size=(8, 4, 3, 3))),
        (TensorInfo("conv.bias", (8,), "F32"), random.normal(size=8)),
        (TensorInfo("half.weight", (16, 12), "BF16"), random.laplace(size=(16, 12)) / 16),
        (TensorInfo("empty.weight", (0, 4), "F32"), np.zeros((0, 4))),
        (TensorInfo("steps", (), "I64"), np.array(1234567890123, np.int64)),
        (TensorInfo("large, with comma.weight", (40, 50), "F16"), random.normal(size=(40, 50))),
    ]
    path = tmp_path_factory.mktemp("network") / "model.safetensors"
    with WeightsWriter(path, [info for info, _ in tensors]) as writer:
        for info, values in tensors:
            writer.write(info.name, values.astype(np.float32) if info.dtype != "I64" else values)
    return path
