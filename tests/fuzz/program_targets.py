"""What comes from a lab script that programs a real chip, and what is kept of it."""

from __future__ import annotations

import io
import json
import zlib
from pathlib import Path

import numpy as np
from numpy.random import Generator

from fuzz import samples
from fuzz.harness import Target
from fuzz.mutations import damaged_bytes, damaged_json
from softcell.devices import parse_device
from softcell.image.batch import Batch
from softcell.image.bench import Bench
from softcell.image.exchange import LineExchange
from softcell.image.exchange_journal import ExchangeJournal

_FACTS = {"image": "0" * 32, "chip": "lab:1"}
_READINGS = {"readings": [1e5, 2e5, None, 3e5, 4e5, 5e5]}


def _batches() -> list[Batch]:
    places, levels = np.arange(6), np.arange(0, 60, 10, dtype=np.uint8)
    return [Batch(n, "cells/a", places, levels, levels / 255, n != 1) for n in range(3)]


def _line(text: str) -> bytes:
    data = text.encode(errors="surrogatepass")
    return b"%08x %s\n" % (zlib.crc32(data), data)


def _journal(generator: Generator, folder: Path) -> Path:
    """Damage what was exchanged: its bytes, or lines whose checks then are right."""
    path = folder / "input.exchange"
    path.unlink(missing_ok=True)
    with ExchangeJournal(path, _FACTS) as journal:
        for batch in _batches():
            journal.keep(batch, np.array(_READINGS["readings"], float)[: 6 * batch.verify])
    data = path.read_bytes()
    if generator.integers(0, 2):
        path.write_bytes(damaged_bytes(data, generator))
        return path
    lines = data.splitlines(keepends=True)
    number = int(generator.integers(0, len(lines)))
    lines[number] = _line(damaged_json(json.loads(lines[number][9:]), generator))
    path.write_bytes(b"".join(lines))
    return path


def _use_journal(path: Path) -> None:
    with ExchangeJournal(path, _FACTS) as journal:
        for batch in _batches()[: journal.batches]:
            assert journal.readings(batch).shape == (6 * batch.verify,)


def _answer(generator: Generator, folder: Path) -> Path:
    text = damaged_json(_READINGS, generator)
    (folder / "input.line").write_bytes(text.encode(errors="surrogatepass") + b"\n")
    return folder / "input.line"


def _use_answer(path: Path) -> None:
    answers = io.StringIO(path.read_bytes().decode(errors="surrogatepass"))
    bench = Bench(parse_device(samples.DEVICE), LineExchange(answers, io.StringIO()))
    levels = np.arange(0, 60, 10, dtype=np.uint8)
    assert bench.program("cells/a", np.arange(6), levels).shape == (6,)


TARGETS = (Target("journal", _journal, _use_journal), Target("answer", _answer, _use_answer))
