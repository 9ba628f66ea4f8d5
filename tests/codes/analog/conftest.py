"""Designs of these tests are made here, and not found in the user's cache folder."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory):
    before = os.environ.get("SOFTCELL_CACHE")
    os.environ["SOFTCELL_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["SOFTCELL_CACHE"]
    else:
        os.environ["SOFTCELL_CACHE"] = before
