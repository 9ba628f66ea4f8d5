"""What tests compute once is kept for a session, and out of the user's cache folder."""

from __future__ import annotations

import os

import pytest

# Networks here are so small that threads of one operation only wait for each other, at full speed:
# with two of them the suite takes more than twice the processor time. torch reads it at its import.
os.environ.setdefault("OMP_NUM_THREADS", "1")

collect_ignore_glob = ["*conftest.py"]  # they have no doctests, and all the same name


@pytest.fixture(scope="session", autouse=True)
def _cache_of_the_session(tmp_path_factory: pytest.TempPathFactory):
    if "SOFTCELL_CACHE" in os.environ:
        yield
        return
    folder = tmp_path_factory.getbasetemp()
    # Processes that share the tests of a session share what they design, too.
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    os.environ["SOFTCELL_CACHE"] = str(folder / "cache")
    yield
    del os.environ["SOFTCELL_CACHE"]
