"""What the reference makes of a docstring: formulas as code, examples as griffe knows them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "reference_docstrings.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("reference_docstrings", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_formulas_become_code_and_sentences_stay(script):
    docstring = """Prune by saliency.

s_i = F_i * w_i^2,
t * u ~ N(0, 1)

    already = indented

With `x = 1` it is code; with y = 1 it is a sentence.

Args:
    x: Such that

        a = b

Example:
    >>> 1
    1"""
    changed = docstring.replace("s_i", "    s_i").replace("t * u", "    t * u")
    assert script.for_the_reference(docstring) == changed.replace("Example:", "Examples:")


@pytest.mark.parametrize("relation", ["=", "~", "<=", "<-", "->"])
def test_what_makes_a_formula(script, relation):
    assert script.is_formula(f"a {relation} b")
    assert not script.is_formula(f"a {relation} b.")
    assert not script.is_formula(f"`a` {relation} b")
    assert not script.is_formula("a b")
