"""The cache folder."""

from __future__ import annotations

import os

import pytest

from softcell.cache import cache_folder
from softcell.errors import InputError


def test_the_cache_folder_follows_the_platform(monkeypatch, tmp_path):
    monkeypatch.setenv("SOFTCELL_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("SOFTCELL_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr("sys.platform", "linux")
    assert cache_folder() == tmp_path / "xdg" / "softcell"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == tmp_path / ".cache" / "softcell"
    monkeypatch.setattr("sys.platform", "darwin")
    assert cache_folder() == tmp_path / "Library" / "Caches" / "softcell"


def test_a_cache_folder_that_others_can_write_is_not_trusted(monkeypatch, tmp_path):
    monkeypatch.setenv("SOFTCELL_CACHE", str(tmp_path))
    (tmp_path / "designs").mkdir()
    for folder in (tmp_path, tmp_path / "designs"):
        for mode, group in ((0o777, os.getegid()), (0o775, os.getegid() + 1)):
            folder.chmod(mode)
            monkeypatch.setattr(os, "getegid", lambda group=group: group)
            with pytest.raises(InputError, match=f"chmod go-w {folder}"):
                cache_folder()
            monkeypatch.undo()
            monkeypatch.setenv("SOFTCELL_CACHE", str(tmp_path))
        folder.chmod(0o775)
        assert cache_folder() == tmp_path
        folder.chmod(0o755)
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    if tmp_path.stat().st_uid:
        with pytest.raises(InputError, match="name another folder in SOFTCELL_CACHE"):
            cache_folder()
