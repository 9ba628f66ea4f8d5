"""Fuzz every parser: python tests/fuzz/run.py --inputs 1000000 --seed 0 [--target NAME ...]

Inputs are numbered; what is made of a seed and a number is always the same. Those that fail are
kept in --keep, each with what happened. Workers that do not come back from an input are ended, and
the input counts as failed. Exit status 1 if any failed.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from multiprocessing.connection import Connection, wait
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzz.harness import SECONDS, Failure, generator_of, kept, tried
from fuzz.targets import TARGETS

_BATCH = 200


def _work(connection: Connection, keep: Path) -> None:
    """Take batches of inputs and send how each went."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.fsync = lambda _: None  # whether files last is not asked here
    while (batch := connection.recv()) is not None:
        target, seed, first, last = batch
        with tempfile.TemporaryDirectory(prefix="softcell-fuzz-") as folder:
            for number in range(first, last):
                place = Path(folder)
                connection.send(number)
                failure = tried(TARGETS[target], seed, number, place)
                if failure is not None:
                    _keep(failure, place, keep)
                    connection.send(failure)
                for each in place.iterdir():
                    each.unlink()
        connection.send(None)


def _keep(failure: Failure, folder: Path, keep: Path) -> None:
    """Make an input again and keep it."""
    generator = generator_of(failure.target, failure.seed, failure.number)
    kept(failure, TARGETS[failure.target].make(generator, folder), keep)


class _Worker:
    """A process that tries inputs, and the batch that it is at."""

    def __init__(self, keep: Path) -> None:
        self.connection, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=_work, args=(theirs, keep), daemon=True)
        self.process.start()
        theirs.close()
        self.batch: tuple[str, int, int, int] | None = None
        self.number, self.since = 0, time.monotonic()

    def give(self, batch: tuple[str, int, int, int]) -> None:
        self.batch, self.number, self.since = batch, batch[2], time.monotonic()
        self.connection.send(batch)

    def stuck(self) -> bool:
        return time.monotonic() - self.since > 10 * SECONDS

    def end(self) -> None:
        self.process.kill()
        self.process.join()


def fuzz(names: list[str], inputs: int, seed: int, keep: Path, workers: int) -> list[Failure]:
    """Try so many inputs, spread evenly over the targets; return those that failed."""
    whole = sum(TARGETS[name].share for name in names)
    wanted = {name: math.ceil(inputs * TARGETS[name].share / whole) for name in names}
    batches = [
        (name, seed, first, min(first + _BATCH, wanted[name]))
        for first in range(0, max(wanted.values()), _BATCH)
        for name in names
        if first < wanted[name]
    ]
    batches.reverse()
    busy: list[_Worker] = [_Worker(keep) for _ in range(workers)]
    done, failures, begin, told = 0, [], time.monotonic(), 0.0
    for worker in busy:
        worker.give(batches.pop())
    while busy:
        wait([worker.connection for worker in busy], timeout=1.0)
        for worker in list(busy):
            news = _news(worker)
            failures += [each for each in news if isinstance(each, Failure)]
            finished = any(each is None for each in news)
            if finished and worker.batch is not None:
                done += worker.batch[3] - worker.batch[2]
                worker.batch = None
            if not finished and (worker.stuck() or not worker.process.is_alive()):
                assert worker.batch is not None
                name, _, first, last = worker.batch
                failure = Failure(name, seed, worker.number, "did not come back, or died")
                failures.append(failure)
                with tempfile.TemporaryDirectory(prefix="softcell-fuzz-") as folder:
                    _keep(failure, Path(folder), keep)
                worker.end()
                busy.remove(worker)
                worker = _Worker(keep)
                busy.append(worker)
                done += failure.number + 1 - first
                if failure.number + 1 < last:
                    batches.append((name, seed, failure.number + 1, last))
            if worker.batch is None:
                if batches:
                    worker.give(batches.pop())
                else:
                    worker.connection.send(None)
                    worker.process.join(10)
                    busy.remove(worker)
        if time.monotonic() - told > 2:
            told = time.monotonic()
            rate = done / (told - begin)
            line = (
                f"{done:,} of {sum(wanted.values()):,} inputs, {rate:.0f}/s, {len(failures)} failed"
            )
            print(f"\r{line}", end="" if sys.stderr.isatty() else "\n", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return failures


def _news(worker: _Worker) -> list[object]:
    """Return what a worker has sent since."""
    news: list[object] = []
    try:
        while worker.connection.poll():
            sent = worker.connection.recv()
            worker.since = time.monotonic()
            if isinstance(sent, int):
                worker.number = sent
            else:
                news.append(sent)
    except (EOFError, OSError):
        pass
    return news


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", nargs="+", choices=list(TARGETS), default=list(TARGETS))
    parser.add_argument("--keep", type=Path, default=Path("out/fuzz"))
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    failures = fuzz(given.target, given.inputs, given.seed, given.keep, given.workers)
    for failure in failures:
        print(failure)
    print(f"{len(failures)} failed" + (f"; they are in {given.keep}" if failures else ""))
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
