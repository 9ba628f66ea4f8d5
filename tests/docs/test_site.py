"""The documentation builds without a warning, needs no network, and has every public name."""

from __future__ import annotations

import inspect
import json
import os
import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import softcell

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
NOT_FOR_PROGRAMS = {"softcell.api", "softcell.cli"}  # the package itself has it; the command line


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(folder)]
    built = subprocess.run(
        build,
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def pages(site: Path) -> list[tuple[str, str]]:
    return [
        (str(page.relative_to(site)), page.read_text(encoding="utf-8"))
        for page in sorted(site.rglob("*.html"))
    ]


def test_no_page_takes_anything_from_the_network(site):
    elements = re.compile(
        r"<(?:script|img|iframe|source|video|audio|embed|object|link|form)\b[^>]*"
        r"\b(?:src|srcset|href|data|action)=[\"']?(?:https?:)?//[^>]*>",
        re.IGNORECASE,
    )
    assert len(pages(site)) > 10
    for name, text in pages(site):
        assert not elements.findall(text), name
    for sheet in site.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert not re.search(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", text), sheet.name


def test_what_the_style_of_formulas_names_is_there(site):
    folder = site / "assets" / "katex"
    named = re.findall(r"url\(([^)]+)\)", (folder / "katex.min.css").read_text(encoding="utf-8"))
    assert len(named) == len(list((folder / "fonts").iterdir())) > 5
    assert all((folder / name).is_file() for name in named)
    assert "MIT" in (folder / "LICENSE.txt").read_text(encoding="utf-8")


@pytest.mark.skipif(shutil.which("node") is None, reason="KaTeX runs in node")
def test_every_formula_can_be_rendered(site):
    formulas = [
        formula
        for _, text in pages(site)
        for formula in re.findall(r'class="arithmatex">\\[\[(](.*?)\\[\])]</', text, re.DOTALL)
    ]
    assert len(formulas) > 50
    script = """
        const katex = require(process.argv[1]);
        const unescaped = { amp: "&", lt: "<", gt: ">", quot: '"' };
        for (const formula of JSON.parse(require("fs").readFileSync(0, "utf8")))
          katex.renderToString(formula.replace(/&(\\w+);/g, (_, name) => unescaped[name]));
    """
    katex = str(site / "assets" / "katex" / "katex.min.js")
    rendered = subprocess.run(
        ["node", "-e", script, katex], input=json.dumps(formulas), capture_output=True, text=True
    )
    assert rendered.returncode == 0, rendered.stderr


def public_objects(package: str) -> list[tuple[str, str]]:
    """Return functions and classes that a package exports, each with where it is defined."""
    exported = vars(pkgutil.resolve_name(package)).get("__all__", ())
    found = [(name, pkgutil.resolve_name(f"{package}:{name}")) for name in exported]
    return [
        (f"{package}.{name}", f"{what.__module__}.{name}")
        for name, what in found
        if inspect.isfunction(what) or inspect.isclass(what)
    ]


def test_every_public_function_and_class_has_its_place(site):
    reference = [text for name, text in pages(site) if name.startswith("reference")]
    anchors = set(re.findall(r'<h\d[^>]* id="(softcell[^"]*)"', "".join(reference)))
    sources = [page.read_text(encoding="utf-8") for page in REFERENCE.glob("*.md")]
    shown = re.findall(r"^::: (\S+)$", "\n".join(sources), re.MULTILINE)
    packages = {f"softcell.{found.name}" for found in pkgutil.iter_modules(softcell.__path__)}
    objects = [
        places
        for package in sorted(packages.union(shown) - NOT_FOR_PROGRAMS)
        if inspect.ismodule(pkgutil.resolve_name(package))
        for places in public_objects(package)
    ]
    assert len(objects) > 100
    assert not [places for places in objects if not anchors.intersection(places)]


def test_every_family_of_codes_has_its_place():
    shown = (REFERENCE / "codes.md").read_text(encoding="utf-8")
    found = [each.name for each in pkgutil.iter_modules(softcell.codes.__path__) if each.ispkg]
    assert len(found) > 5
    assert not [name for name in found if f"::: softcell.codes.{name}\n" not in shown]
