"""The scripts of benchmarks/ and scripts/ fit the library, and the pages that name them."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted(p for folder in ("benchmarks", "scripts") for p in (ROOT / folder).rglob("*.py"))


def imported(path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Import a script, and what it imports of its folder, for this test alone."""
    monkeypatch.syspath_prepend(path.parent)
    for sibling in path.parent.glob("*.py"):
        monkeypatch.delitem(sys.modules, sibling.stem, raising=False)
    spec = importlib.util.spec_from_file_location(f"{path.parent.name}_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up.
    monkeypatch.setitem(sys.modules, spec.name, module)
    try:
        spec.loader.exec_module(module)
    finally:
        for sibling in path.parent.glob("*.py"):
            sys.modules.pop(sibling.stem, None)
    return module


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_script_finds_what_it_imports_and_has_help(path, monkeypatch):
    module = imported(path, monkeypatch)
    if hasattr(module, "argparse"):
        assert f"python {path.relative_to(ROOT).as_posix()}" in module.__doc__
        monkeypatch.setattr(sys, "argv", [path.name, "--help"])
        with pytest.raises(SystemExit, match="0"):
            module.main()


def test_every_script_that_is_named_is_there():
    pages = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "Makefile"]
    pages += [*(ROOT / "docs").glob("*.md"), *SCRIPTS, *(ROOT / "src").rglob("*.py")]
    missing = {
        (page.name, named)
        for page in pages
        for named in re.findall(r"\b(?:benchmarks|scripts)/[\w/.]+\.(?:py|sh)\b", page.read_text())
        if not (ROOT / named).is_file()
    }
    assert not missing


def test_the_page_of_results_is_what_the_kept_results_say(monkeypatch):
    maker = imported(ROOT / "benchmarks/pages/results.py", monkeypatch)
    assert maker.page() == (ROOT / "docs/results.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("study", ["residuals", "few_readings"])
def test_the_page_of_devices_has_the_tables_of_the_studies(study, monkeypatch):
    made = imported(ROOT / f"benchmarks/studies/{study}.py", monkeypatch)
    table = made.table(json.loads(made.RESULTS.read_text()))
    assert table.strip() in (ROOT / "docs/devices.md").read_text(encoding="utf-8")
