"""Symbolic links that may be followed when a file is written."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from softcell.errors import InputError


def require_own_links(path: Path) -> None:
    """Refuse a link that another user may have laid in a folder that everybody can write.

    The kernel's own guard (`fs.protected_symlinks`) does not see a link that `realpath` follows.

    Raises:
        InputError: The path, or a folder on its way, is such a link.
    """
    if not hasattr(os, "geteuid"):
        return
    for place in (Path(os.path.abspath(path)), *Path(os.path.abspath(path)).parents):
        if not place.is_symlink():
            continue
        folder, owner = place.parent.stat(), place.lstat().st_uid
        shared = folder.st_mode & stat.S_IWOTH
        if shared and owner not in (os.geteuid(), folder.st_uid):
            raise InputError(
                f"cannot write {path}: {place} is another user's link in a folder that everybody "
                "can write; choose another name"
            )
