"""The README's Python runs as it stands, its table is whole, and its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from softcell.codes.schemes import SCHEMES

README = Path(__file__).parents[1] / "README.md"


def test_the_ten_lines_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 1
    exec(compile(blocks[0], "README.md", "exec"), {})
    cells, decibels = re.fullmatch(
        r"(.*) cells per weight, (.*) dB\n", capsys.readouterr().out
    ).groups()
    assert 1.9 < float(cells) <= 2
    assert float(decibels) > 12


def test_the_demo_shows_every_scheme():
    text = README.read_text(encoding="utf-8")
    shown = text[text.index("limit distance\n") : text.index("(the rows at")]
    assert [line.split()[0] for line in shown.splitlines()[2:] if line] == list(SCHEMES)


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)]+)\)", README.read_text(encoding="utf-8")))
def test_links_lead_to_files(link):
    assert (README.parent / link).is_file()
