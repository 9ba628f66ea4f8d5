"""Strike at every file event of every verb that writes: python tests/crash/strike.py [--verb NAME]

Each verb is run in a child that is killed, interrupted or given a disk error at one of its file
events, before or after it, for all of them. Afterwards the files that it writes must be the old
ones or the new ones, those that belong together alike, the message true, and after the next run in
the folder nothing may be left behind. Exit status 1 if anything else is found.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from crash.events import BLOWS, Blow, Ended, struck
from crash.verbs import VERBS, Verb, prepare

Files = dict[str, bytes]
_NONE = Blow("nothing", 0)
_REMOVING = ("unlink", "rmdir", "nothing")  # what cannot be removed is left to the next run


@dataclass
class Tally:
    """What was done to a verb, and what was found."""

    verb: str
    events: int = 0
    blows: int = 0
    new: int = 0
    faults: list[str] = field(default_factory=list)


class Target:
    """A verb in a folder of its own.

    Args:
        verb: The verb.
        prepared: Folder of what it reads.
        folder: Where it is run; made anew for every blow.
    """

    def __init__(self, verb: Verb, prepared: Path, folder: Path) -> None:
        self.verb, self._prepared, self.folder = verb, prepared, folder
        self._programmed = folder.with_suffix(".programmed")
        self._old = self._made(verb.old)
        self._made(verb.new)  # in this process: a child that is forked has all loaded
        self._restore(self._old)
        ended = struck(self._work, self.folder, _NONE, 0)
        assert ended.status == 0, ended
        self.events = ended.events
        self._new = self._outputs()
        self._names = self._present()

    def strike(self, blow: Blow, at: int) -> Iterator[str]:
        """Run the verb with a blow at an event, and yield what is wrong afterwards."""
        self._restore(self._old)
        self._programmed.unlink(missing_ok=True)
        ended = struck(self._work, self.folder, blow, at)
        yield from self._told(ended, blow)
        # Readers and writers alike put a pair in order first, where a process was killed amid it.
        unsure = (blow.fault and ended.struck in _REMOVING) or "may not outlast" in ended.told
        if blow.name.startswith("SIGKILL") or unsure:
            self._sweep()
        yield from self._whole("then")
        left = self._present() - self._names - set(self.verb.stays)
        if left:
            yield f"left behind: {sorted(left)}"
        if self._kept or (self.verb.stays and not self.is_new):
            yield from self._again(ended)

    @property
    def is_new(self) -> bool:
        """Whether the new files are in place."""
        return self._outputs() == self._new

    @property
    def _kept(self) -> bool:
        return any((self.folder / name).is_file() for name in self.verb.stays)

    def _work(self) -> int:
        from softcell import atomic_file

        atomic_file._swept.clear()  # as in a new process
        return self.verb.run(self.verb.new, self._programmed)

    def _told(self, ended: Ended, blow: Blow) -> Iterator[str]:
        """Yield what is wrong with status and message."""
        if blow.name.startswith("SIGKILL"):
            return
        if ended.status not in (0, 2, 130) or "Traceback" in ended.told:
            yield f"status {ended.status}: {ended.told[-600:]}"
        last = ended.told.strip().splitlines()[-1:] or [""]
        if ended.status == 2 and not last[0].startswith("softcell: "):
            yield f"no message: {ended.told[-300:]!r}"
        kept = self._outputs()
        if "nothing was written" in ended.told and kept != self._old:
            yield f"said that nothing was written: {last[0]}"
        if ended.status == 0 and self.verb.exact and kept != self._new:
            yield "status 0 without the new files"
        if ended.status == 2 and "written, but" not in last[0] and kept != self._old:
            yield f"said that it failed with new files in place: {last[0]}"

    def _whole(self, when: str) -> Iterator[str]:
        """Yield what is neither old nor new, or not of one pair."""
        found = self._outputs()
        if found in (self._old, self._new):
            return
        if not self.verb.exact and set(found) == set(self._old):
            if fault := self._fault():
                yield f"{when} {self.verb.outputs}: {fault}"
            return
        state = {
            name: "old"
            if found.get(name) == self._old.get(name)
            else "new"
            if found.get(name) == self._new.get(name)
            else "neither"
            for name in self.verb.outputs
        }
        yield f"{when} files are {state}"

    def _fault(self) -> str | None:
        """Return what is wrong with files that are others every time, or that do not fit."""
        from softcell.allocate.plan_file import load_plan
        from softcell.errors import SoftcellError
        from softcell.training.trained_network import TrainedNetwork

        first = self.folder / self.verb.outputs[0]
        try:
            (load_plan if first.suffix == ".json" else TrainedNetwork.load)(first)
        except SoftcellError as error:
            return str(error)
        return None

    def _again(self, before: Ended) -> Iterator[str]:
        """Run the verb again: it must come to the end, and leave nothing."""
        programmed = self._batches()
        ended = struck(self._work, self.folder, _NONE, 0)
        if ended.status != 0:
            yield f"does not go on: {ended.told[-600:]}"
        yield from self._whole("at last")
        left = self._present() - self._names - {"exchange"}
        if left:
            yield f"left behind at last: {sorted(left)}"
        if self.verb.chip and not self.is_new:
            yield "the image is another one than without a break"
        again = self._batches()[len(programmed) :]
        twice = set(programmed) & set(again)
        if self.verb.chip and before.status != 0 and twice - set(programmed[-1:]):
            yield f"batches {sorted(twice)} were programmed twice, of {programmed}"

    def _batches(self) -> list[int]:
        return (
            [int(line) for line in self._programmed.read_text().split()]
            if self._programmed.exists()
            else []
        )

    def _sweep(self) -> None:
        """Do as a new process does that reads the first file and writes another one."""
        from softcell import atomic_file
        from softcell.atomic_file import AtomicFile
        from softcell.replacement import settle

        def work() -> int:
            atomic_file._swept.clear()
            settle(self.folder / self.verb.outputs[0])
            AtomicFile(self.folder / "another").discard()
            return 0

        ended = struck(work, self.folder, _NONE, 0)
        assert ended.status == 0, ended

    def _made(self, arguments: tuple[str, ...]) -> Files:
        """Run the verb in this process, and return what it wrote."""
        self._restore({})
        with contextlib.chdir(self.folder), contextlib.ExitStack() as kept:
            for stream in ("stdin", "stdout", "stderr"):
                kept.callback(setattr, sys, stream, getattr(sys, stream))
            sys.stdout = sys.stderr = io.StringIO()
            assert self.verb.run(arguments) == 0, sys.stderr
        return self._outputs()

    def _restore(self, outputs: Files) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        for path in self._prepared.iterdir():
            if path.is_file():
                os.link(path, self.folder / path.name)
        for name, data in outputs.items():
            (self.folder / name).write_bytes(data)

    def _outputs(self) -> Files:
        paths = (self.folder / name for name in self.verb.outputs)
        return {path.name: path.read_bytes() for path in paths if path.exists()}

    def _present(self) -> set[str]:
        return {path.name for path in self.folder.iterdir() if path.name != "__pycache__"}


def crash(
    verb: Verb, prepared: Path, folder: Path, *, blows: Iterable[Blow] = BLOWS, every: int = 1
) -> Tally:
    """Strike at a verb, at every so many-th of its file events.

    Args:
        verb: The verb.
        prepared: Folder that `prepare` filled.
        folder: An empty folder.
        blows: What falls.
        every: How many events to go on by.
    """
    target = Target(verb, prepared, folder / "work")
    tally = Tally(verb.name, target.events)
    for blow in blows:
        for at in range(1, target.events + 1, every):
            found = list(target.strike(blow, at))
            tally.faults += [f"{verb.name}, {blow.name} at event {at}: {each}" for each in found]
            tally.blows += 1
            tally.new += target.is_new
    return tally


def main() -> int:
    """Run the harness and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--verb", action="append", help="only this one")
    parser.add_argument("--every", type=int, default=1, help="go on by so many events")
    chosen = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    faults, blows = 0, 0
    with tempfile.TemporaryDirectory(prefix="softcell-crash-") as made:
        prepared = Path(made) / "prepared"
        prepared.mkdir()
        prepare(prepared)
        for verb in VERBS:
            if chosen.verb and verb.name not in chosen.verb:
                continue
            folder = Path(made) / "place"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            tally = crash(verb, prepared, folder, every=chosen.every)
            found = f"{tally.new} with the new files, {len(tally.faults)} faults"
            print(f"{verb.name}: {tally.events} events, {tally.blows} blows, {found}", flush=True)
            for fault in tally.faults:
                print(f"  {fault}", flush=True)
            faults, blows = faults + len(tally.faults), blows + tally.blows
    print(f"{blows} blows, {faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
