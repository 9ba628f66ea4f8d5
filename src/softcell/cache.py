"""The folder that keeps what can be computed again: trained networks, Fisher, designs of codes."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """Return the cache folder; it need not exist yet.

    SOFTCELL_CACHE names it. Otherwise it is `softcell` in the user's cache folder of the
    platform: `~/Library/Caches` on macOS, `%LOCALAPPDATA%` on Windows, else `$XDG_CACHE_HOME` or
    `~/.cache`.
    """
    chosen = os.environ.get("SOFTCELL_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        return Path("~/Library/Caches/softcell").expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", "~/AppData/Local")).expanduser() / "softcell"
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "softcell"
