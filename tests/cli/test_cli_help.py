"""Every verb has help with an example, and its section in docs/cli.md."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from softcell.cli import VERBS
from softcell.cli.app import program
from softcell.version import VERSION

DOCS = Path(__file__).parents[2] / "docs" / "cli.md"


def documented() -> dict[str, str]:
    """Return the text of each section of docs/cli.md by its verb."""
    parts = re.split(r"^## softcell (\S+)$", DOCS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2]))


def shown_commands(text: str) -> list[list[str]]:
    """Return the words of every `softcell` command in a text, continued lines joined."""
    joined = re.sub(r"\\\n\s*", "", text)
    lines = re.findall(r"^(?: {2,}|\$ |)(softcell .*)$", joined, flags=re.MULTILINE)
    return [shlex.split(line)[1:] for line in lines]


def require_understood(words: list[str]) -> None:
    """Parse a command line, without running it."""
    verb = typer.main.get_command(program()).commands[words[0]]
    with verb.make_context(words[0], list(words[1:])):
        pass


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_an_example_that_the_command_line_understands(softcell, verb):
    outcome = softcell(verb, "--help")
    assert outcome.status == 0
    assert outcome.err == ""
    _, _, example = outcome.out.partition("\n  Example:\n")
    commands = shown_commands(example)
    assert any(words[0] == verb for words in commands)
    for words in commands:
        require_understood(words)


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_says_what_it_is_for(verb):
    for parameter in typer.main.get_command(program()).commands[verb].params:
        assert parameter.help or "--help" in parameter.opts, parameter.name


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_json(verb):
    options = typer.main.get_command(program()).commands[verb].params
    assert any("--json" in option.opts for option in options)


def test_documentation_has_a_section_for_every_verb():
    assert list(documented()) == list(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_documentation_shows_a_command_that_is_understood(verb):
    commands = shown_commands(documented()[verb])
    assert any(words[0] == verb for words in commands)
    for words in commands:
        require_understood(words)


def test_every_option_is_documented():
    for verb, text in documented().items():
        for option in typer.main.get_command(program()).commands[verb].params:
            for name in option.opts:
                if name.startswith("--") and name not in ("--help", "--output"):
                    assert name in text, (verb, name)


def test_no_arguments_show_the_verbs(softcell):
    outcome = softcell()
    assert outcome.status == 0
    for verb in VERBS:
        assert re.search(rf"^  {verb} +[A-Z].*\.$", outcome.out, flags=re.MULTILINE)
    assert "...\n" not in outcome.out.partition("Commands:")[2]  # every summary fits its line


def test_version(softcell):
    assert softcell("--version").out == f"softcell {VERSION}\n"


def test_help_waits_for_no_numerical_library():
    code = (
        "import sys; from softcell.cli import main; status = main(['compare', '--help']);"
        "heavy = {'numpy', 'numba', 'scipy', 'torch', 'matplotlib'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
