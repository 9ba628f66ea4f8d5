"""A disk that is really full: every verb that writes says so in one line, and old files stay."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from crash.events import Blow, struck
from crash.verbs import VERBS, Verb, prepare

PAGE = 4096
PAGES = 256
NONE = Blow("nothing", 0)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Iterator[Path]:
    folder, path = tmp_path_factory.mktemp("prepared"), list(sys.path)
    prepare(folder)
    yield folder
    sys.path[:] = path


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of a megabyte."""
    place = tmp_path / "small"
    place.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={PAGES * PAGE}", "tmpfs", str(place)]
    try:
        subprocess.run(["mount", *options], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def contents(folder: Path, verb: Verb) -> dict[str, bytes]:
    return {n: (folder / n).read_bytes() for n in verb.outputs if (folder / n).exists()}


# The lab of --exchange has its files on the same disk.
@pytest.mark.slow
@pytest.mark.parametrize(
    "verb", [v for v in VERBS if v.name != "program --exchange"], ids=lambda verb: verb.name
)
def test_a_full_disk(prepared: Path, small: Path, verb: Verb):
    folder = small
    for path in prepared.iterdir():
        (folder / path.name).symlink_to(path)
    programmed = small.with_suffix(".programmed")
    first = struck(lambda: verb.run(verb.old), folder, NONE, 0)
    assert first.status == 0, first
    old, refused = contents(folder, verb), 0
    for free in range(0, 16, 4 if verb.slow else 1):
        filler = folder / "filler"
        filler.unlink(missing_ok=True)
        there = os.statvfs(folder)
        filler.write_bytes(bytes(max(there.f_bavail - free, 0) * PAGE))
        before = {path.name for path in folder.iterdir()}
        ended = struck(lambda: verb.run(verb.new, programmed), folder, NONE, 0)
        now, left = contents(folder, verb), {path.name for path in folder.iterdir()} - before
        if ended.status == 0:
            assert left <= set(verb.outputs) | set(verb.stays)
            break
        assert ended.status == 2, ended
        assert ended.told.splitlines()[-1].startswith("softcell: "), ended
        assert "no space left" in ended.told.lower(), ended
        assert "Traceback" not in ended.told
        assert now == old or not verb.exact
        assert left <= set(verb.stays), left
        refused += 1
    assert refused
