"""Standard streams that the caller has closed, as `softcell devices >&-` does."""

from __future__ import annotations

import errno
import io
import os
import sys


class _Closed(io.TextIOBase):
    """An output that takes nothing."""

    def write(self, text: str) -> int:
        raise OSError(errno.EBADF, "it is closed", "standard output")


def replace_closed_streams() -> None:
    """Let what is printed on a closed standard output fail as an error of the system does.

    Their descriptors are taken, so that no file that is opened gets one and with it what a library
    prints.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest that is free
    if sys.stdout is None:
        sys.stdout = _Closed()
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
