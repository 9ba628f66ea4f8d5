"""A part of the crash harness; all of it is `make crash`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from crash.events import BLOWS
from crash.strike import crash
from crash.verbs import VERBS, prepare

BY_NAME = {verb.name: verb for verb in VERBS}
CHOSEN = ("SIGKILL before", "SIGKILL after", "SIGTERM before", "ENOSPC")
FEW = [blow for blow in BLOWS if blow.name in CHOSEN]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    folder, path = tmp_path_factory.mktemp("prepared"), list(sys.path)
    prepare(folder)
    yield folder
    sys.path[:] = path


@pytest.mark.parametrize(("name", "every"), [("write --chip", 7), ("program", 30), ("fit", 4)])
def test_files_are_old_or_new_whatever_falls(prepared, tmp_path, name: str, every: int):
    tally = crash(BY_NAME[name], prepared, tmp_path, blows=FEW, every=every)
    assert not tally.faults, "\n".join(tally.faults)
    assert tally.blows == len(FEW) * len(range(1, tally.events + 1, every))
    assert tally.events > 5


def test_every_verb_that_writes_is_struck():
    from softcell.cli.app import VERBS as COMMANDS

    struck = {verb.new[0] for verb in VERBS}
    assert set(COMMANDS) - struck == {"devices", "info", "evaluate", "results"}
