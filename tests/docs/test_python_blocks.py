"""Every Python block of the documents runs; those of a page share their names.

What the README's one block prints is checked in `tests/test_readme.py`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from softcell.codes.families import FAMILIES
from softcell.codes.schemes import SCHEMES

DOCUMENTS = sorted((Path(__file__).parents[2] / "docs").rglob("*.md"))
FENCE = re.compile(r"^( *)```python[^\n]*\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)


def network() -> nn.Module:
    """Return a small network, sure enough of its answers to lose something."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = nn.Sequential(
            *(nn.Conv2d(1, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)),
        )
        with torch.no_grad():
            module(images(64, seed=1))
            module[-1].weight.mul_(8)
    return module.eval()


def images(count: int, *, seed: int) -> torch.Tensor:
    return torch.rand(count, 1, 6, 6, generator=torch.Generator().manual_seed(seed))


def of_your_own() -> dict[str, Any]:
    """Names that `docs/your_own.md` takes for granted."""
    model, test_images = network(), images(64, seed=2)
    labels = model(test_images).argmax(1)

    def accuracy(module: nn.Module, seen: torch.Tensor) -> float:
        return float((module(seen).argmax(1) == labels).float().mean())

    return {
        "model": model,
        "images": images(64, seed=3),
        "test_images": test_images,
        "accuracy": accuracy,
    }


def searched() -> dict[str, Any]:
    """Names that `docs/search.md` takes for granted."""
    inputs = torch.rand(64, 128, generator=torch.Generator().manual_seed(4))
    return {"module": network()[4:], "inputs": inputs}  # behind the convolution: a quicker search


def trained() -> dict[str, Any]:
    """Names that `docs/training.md` takes for granted."""
    net, seen = network().train(), images(32, seed=5)
    labels = torch.arange(32) % 10
    return {"net": net, "loader": [(seen, labels)] * 2, "price": 1e-3}


PREPARED = {"your_own.md": of_your_own, "search.md": searched, "training.md": trained}


def blocks(document: Path) -> list[str]:
    """Return the Python blocks of a document, each at its line, as tracebacks count."""
    text = document.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        code = re.sub(f"^{match[1]}", "", match[2], flags=re.MULTILINE)
        found.append("\n" * (text[: match.start(2)].count("\n")) + code)
    return found


WITH_PYTHON = [document for document in DOCUMENTS if blocks(document)]


@pytest.mark.parametrize("document", WITH_PYTHON, ids=lambda document: document.name)
def test_the_blocks_of_a_page_run(document, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = PREPARED.get(document.name, dict)()
    registries = [(registry, dict(registry)) for registry in (FAMILIES, SCHEMES)]
    try:
        for block in blocks(document):
            exec(compile(block, str(document), "exec"), names)
    finally:
        for registry, before in registries:  # what a page registers is gone after it
            registry.clear()
            registry.update(before)


def test_no_block_is_missed():
    """Whatever is fenced as Python, by whatever fence, is found as a block."""
    for document in DOCUMENTS:
        fences = re.findall(
            r"^\s*(?:```+|~~~+) *\{?\.?(?:py|python|pycon)\b",
            document.read_text(encoding="utf-8"),
            re.MULTILINE | re.IGNORECASE,
        )
        assert len(fences) == len(blocks(document)), document.name
    assert len(WITH_PYTHON) >= 4
