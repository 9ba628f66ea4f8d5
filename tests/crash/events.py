"""A process in which the n-th file event is the last, or fails.

Events are what changes the disk: files opened to be written, written, synchronised, linked,
renamed, removed. A blow falls before an event or after it.
"""

from __future__ import annotations

import builtins
import errno
import os
import signal
import sys
import traceback
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CALLS = (
    "open",
    "write",
    "pwrite",
    "fsync",
    "ftruncate",
    "posix_fallocate",
    "link",
    "rename",
    "replace",
    "unlink",
    "mkdir",
    "rmdir",
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
BROKEN = 99  # exit status of a child that failed in another way than a verb may


@dataclass(frozen=True)
class Blow:
    """What happens at an event.

    Args:
        name: What it is called.
        number: A signal, or the number of an error of the system.
        fault: Whether it is an error.
        after: Whether it falls after the event.
    """

    name: str
    number: int
    fault: bool = False
    after: bool = False

    def fall(self) -> None:
        """Do it."""
        if self.fault:
            raise OSError(self.number, os.strerror(self.number))
        os.kill(os.getpid(), self.number)


BLOWS = (
    *(
        Blow(f"{name} {'after' if after else 'before'}", number, after=after)
        for name, number in [
            ("SIGKILL", signal.SIGKILL),
            ("SIGTERM", signal.SIGTERM),
            ("SIGINT", signal.SIGINT),
        ]
        for after in (False, True)
    ),
    Blow("ENOSPC", errno.ENOSPC, fault=True),
    Blow("EIO", errno.EIO, fault=True),
)


class Counter:
    """Counts events and lets a blow fall at one of them, counted from 1; 0 for none."""

    def __init__(self, blow: Blow, at: int) -> None:
        self.blow, self.at, self.count, self.struck = blow, at, 0, "nothing"

    def around(self, call: Callable[..., Any], name: str) -> Callable[..., Any]:
        """Return a call that is an event."""

        def counted(*args: Any, **options: Any) -> Any:
            self.count += 1
            struck = self.count == self.at
            if struck:
                self.struck = name
            if struck and not self.blow.after:
                self.blow.fall()
            result = call(*args, **options)
            if struck and self.blow.after:
                self.blow.fall()
            return result

        return counted

    def install(self) -> None:
        """Make the calls of this process events."""
        plain_open, fdopen, opened = os.open, os.fdopen, builtins.open
        for name in CALLS[1:]:
            setattr(os, name, self.around(getattr(os, name), name))
        os.fsync = self.around(lambda _: None, "fsync")  # what was written outlives a process
        counted_open, counter = self.around(plain_open, "open"), self

        def open_file(path: Any, flags: int, *args: Any, **options: Any) -> int:
            call = counted_open if flags & _WRITING else plain_open
            return call(path, flags, *args, **options)

        def open_stream(descriptor: int, mode: str = "r", *args: Any, **options: Any) -> Any:
            file = fdopen(descriptor, mode, *args, **options)
            return _Counted(file, counter) if "w" in mode or "+" in mode else file

        def open_name(file: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
            if not set(mode) & set("wax+"):
                return opened(file, mode, *args, **options)
            return _Counted(counter.around(opened, "open")(file, mode, *args, **options), counter)

        os.open, os.fdopen, builtins.open = open_file, open_stream, open_name


class _Counted:
    """A file whose writes are events."""

    def __init__(self, file: Any, counter: Counter) -> None:
        self._file = file
        self.write = counter.around(file.write, "write")
        self.flush = counter.around(file.flush, "flush")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _Counted:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


@dataclass(frozen=True)
class Ended:
    """How a child ended.

    Args:
        status: Its exit status, or less a signal.
        told: What it said on standard error.
        events: How many file events there were, 0 if it did not come to count them.
        struck: Which event the blow fell at, if it outlived it.
    """

    status: int
    told: str
    events: int
    struck: str = "nothing"


def struck(work: Callable[[], int], folder: Path, blow: Blow, at: int) -> Ended:
    """Do some work in a child in a folder, with a blow at an event.

    Args:
        work: The work; returns the exit status.
        folder: Where it is done.
        blow: What falls.
        at: Number of the event, from 1; 0 for none.
    """
    report, told = folder.with_suffix(".events"), folder.with_suffix(".told")
    told.write_bytes(b"")
    report.unlink(missing_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    if (child := os.fork()) == 0:
        status = BROKEN
        try:
            for inherited in list(weakref.finalize._registry):
                inherited.detach()  # what is the parent's to remove
            os.chdir(folder)
            sys.stdout = sys.stderr = told.open("a", buffering=1)
            counter = Counter(blow, at)
            note = report.open("w")
            counter.install()
            signal.signal(signal.SIGINT, signal.default_int_handler)
            status = work()
            weakref.finalize._exitfunc()  # as at the end of any process
            note.write(f"{counter.count} {counter.struck}")
            note.close()
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    events = (report.read_text() if report.exists() else "").split() or ("0", "nothing")
    return Ended(status, told.read_text(), int(events[0]), events[1])
