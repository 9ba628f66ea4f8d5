"""The folder that keeps what can be computed again: trained networks, Fisher, designs of codes."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from softcell.errors import InputError


def cache_folder() -> Path:
    """Return the cache folder; it need not exist yet.

    SOFTCELL_CACHE names it. Otherwise it is `softcell` in the user's cache folder of the
    platform: `~/Library/Caches` on macOS, `%LOCALAPPDATA%` on Windows, else `$XDG_CACHE_HOME` or
    `~/.cache`.

    Raises:
        InputError: Others can write it: what they lay there would be taken for our own.
    """
    folder = _place()
    if hasattr(os, "geteuid") and folder.exists():
        for place in (folder, folder / "designs"):
            if place.exists() and not _only_ours(place.stat()):
                raise InputError(
                    f"other users can write the cache folder {place}, so it is not trusted: take "
                    f"their right away (chmod go-w {place}) where it is yours, or name another "
                    "folder in SOFTCELL_CACHE"
                )
    return folder


def _only_ours(found: os.stat_result) -> bool:
    if found.st_uid not in (0, os.geteuid()) or found.st_mode & stat.S_IWOTH:
        return False
    # Where everyone has a group of one's own, new folders may well be writable for it.
    return not found.st_mode & stat.S_IWGRP or found.st_gid == os.getegid()


def _place() -> Path:
    chosen = os.environ.get("SOFTCELL_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        return Path("~/Library/Caches/softcell").expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", "~/AppData/Local")).expanduser() / "softcell"
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "softcell"
