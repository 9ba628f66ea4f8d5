import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data():
    """Folder of the evaluation data; the test is skipped without it, or fails if it is required."""
    folder = os.environ.get("SOFTCELL_DATA")
    if folder and Path(folder).is_dir():
        return Path(folder)
    reason = "needs the evaluation data: set SOFTCELL_DATA to their folder"
    if os.environ.get("SOFTCELL_REQUIRE_DATA") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
