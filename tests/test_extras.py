"""Without a package of an extra, what needs it says how to get it, and all else works."""

import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from softcell.errors import InputError
from softcell.evaluate.datasets import DATASETS
from softcell.extras import EXTRAS
from softcell.report.plot import require_figure_name

NEEDED_BY = {
    "plot": lambda: require_figure_name("figure.svg"),
    "images": lambda: DATASETS["imagenet"].test(np.arange(1)),
    "digits": lambda: DATASETS["digits"].test(np.arange(1)),
}


@pytest.mark.parametrize("name", EXTRAS)
def test_a_missing_package_is_told_with_its_extra(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, EXTRAS[name][0], None)
    with pytest.raises(InputError, match=rf"pip install 'softcell\[{name}\]'"):
        NEEDED_BY[name]()


def test_the_project_has_these_extras():
    file = Path(__file__).parents[1] / "pyproject.toml"
    extras = tomllib.loads(file.read_text())["project"]["optional-dependencies"]
    assert extras.keys() == {*EXTRAS, "all", "dev"}
    assert extras["all"] == [f"softcell[{','.join(EXTRAS)}]"]
