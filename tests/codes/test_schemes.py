"""Names of schemes."""

from __future__ import annotations

import itertools

import pytest

from softcell.codes.schemes import CONVENTIONAL, PROTECTIONS, SCHEMES, parse_scheme
from softcell.errors import InputError


def test_conventional_schemes_are_number_formats():
    assert CONVENTIONAL == ("float32", "float16", "int8")
    for name in CONVENTIONAL:
        scheme = parse_scheme(name)
        assert (scheme.name, scheme.kind, scheme.protections) == (name, name, frozenset())


def test_the_papers_story_adds_one_protection_at_a_time():
    chosen = [
        parse_scheme(name).protections for name in SCHEMES if parse_scheme(name).kind == "analog"
    ]
    assert [len(c) for c in chosen] == [0, 1, 2, 3, 4, 5]
    assert all(one < other for one, other in itertools.pairwise(chosen))
    assert chosen[-1] == frozenset(PROTECTIONS)


@pytest.mark.parametrize(
    ("text", "protections"),
    [
        ("naive", set()),
        ("inversion", {"inversion"}),
        ("sign", {"inversion", "sign"}),
        ("sparsity", {"inversion", "sign", "sparsity"}),
        ("sensitivity+adaptive", {"inversion", "adaptive", "sensitivity"}),
        ("adaptive+sensitivity", {"inversion", "adaptive", "sensitivity"}),
    ],
)
def test_protections_imply_what_they_need(text, protections):
    scheme = parse_scheme(text)
    assert scheme.protections == protections
    assert scheme.has("inversion") == (text != "naive")
    assert scheme.name == text


@pytest.mark.parametrize("text", ["", "int4", "naive+sign", "sign+", "Float32", "combined+sign"])
def test_other_names_are_refused(text):
    with pytest.raises(InputError, match="known: float32, float16, int8, naive, combined"):
        parse_scheme(text)
