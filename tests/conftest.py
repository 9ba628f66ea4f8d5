"""What tests compute once is kept for a session, and out of the user's cache folder."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def _cache_of_the_session(tmp_path_factory: pytest.TempPathFactory):
    if "SOFTCELL_CACHE" in os.environ:
        yield
        return
    os.environ["SOFTCELL_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    del os.environ["SOFTCELL_CACHE"]
