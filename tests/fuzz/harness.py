"""Run damaged inputs, each within bounds of time and memory, and keep those that fail."""

from __future__ import annotations

import contextlib
import resource
import signal
import time
import traceback
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from softcell.errors import SoftcellError

SECONDS = 10
"""Processor time of an input; six times that may pass, where others work beside it."""

MEMORY_BYTES = 1 << 30


@dataclass(frozen=True)
class Target:
    """A parser and how inputs for it are made.

    Args:
        name: What is parsed.
        make: Writes an input into a folder and returns its main file; all randomness is of the
            generator, so that the same one makes the same input.
        use: Parses that file and uses what comes of it. It raises `SoftcellError`, or is right.
        share: Its part of all inputs, beside that of others.
    """

    name: str
    make: Callable[[np.random.Generator, Path], Path]
    use: Callable[[Path], None]
    share: float = 1.0


@dataclass(frozen=True)
class Failure:
    """An input that was not answered as it should be.

    Args:
        target: The parser's name.
        seed: Seed of the run.
        number: Which of its inputs.
        reason: What happened.
    """

    target: str
    seed: int
    number: int
    reason: str

    def __str__(self) -> str:
        lines = self.reason.strip().splitlines()
        return f"{self.target} {self.number} (seed {self.seed}): {lines[-1]}"


class TooLongError(BaseException):
    """An input took too long; nothing catches it by mistake."""


def generator_of(target: str, seed: int, number: int) -> np.random.Generator:
    """Return the generator that makes an input."""
    return np.random.default_rng([seed, zlib.crc32(target.encode()), number])


def tried(target: Target, seed: int, number: int, folder: Path) -> Failure | None:
    """Make an input and use it; return what was wrong."""
    made = target.make(generator_of(target.name, seed, number), folder)
    begin = time.process_time()
    try:
        with bounded(), warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", UserWarning)  # notes to the user are answers
            target.use(made)
    except SoftcellError as error:
        if "\n" in str(error):
            return Failure(target.name, seed, number, f"{error!r} is of several lines")
    except (Exception, TooLongError):
        return Failure(target.name, seed, number, traceback.format_exc())
    if time.process_time() - begin > SECONDS:
        return Failure(target.name, seed, number, "took too long")
    return None


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Bound the time and the address space of what is done within."""

    def stop(*_: object) -> None:
        raise TooLongError(f"more than {SECONDS} s")

    timers = {signal.SIGPROF: signal.ITIMER_PROF, signal.SIGALRM: signal.ITIMER_REAL}
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = {number: signal.signal(number, stop) for number in timers}
    try:
        resource.setrlimit(resource.RLIMIT_AS, (_address_space() + MEMORY_BYTES, hard))
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        signal.setitimer(signal.ITIMER_REAL, 6 * SECONDS)
        yield
    finally:
        for number, timer in timers.items():
            signal.setitimer(timer, 0)
            signal.signal(number, before[number])
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def kept(failure: Failure, made: Path, keep: Path) -> None:
    """Keep an input that failed beside what happened."""
    keep.mkdir(parents=True, exist_ok=True)
    name = f"{failure.target}-{failure.seed}-{failure.number}"
    for each in made.parent.glob(f"{made.stem}.*"):
        (keep / f"{name}{each.suffix}").write_bytes(each.read_bytes())
    (keep / f"{name}.log").write_text(failure.reason)
