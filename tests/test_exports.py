"""Packages show what they export, and import it when it is asked for."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from types import ModuleType

import pytest

import softcell

LAZY = [
    "softcell",
    *(
        f"softcell.{name}"
        for name in (
            "allocate",
            "api",
            "compress",
            "curvature",
            "evaluate.bounds",
            "evaluate.networks",
            "feedback",
            "search",
            "training",
        )
    ),
]


@pytest.mark.parametrize("name", LAZY)
def test_every_exported_name_is_there(name):
    package = importlib.import_module(name)
    assert dir(package) == sorted(package.__all__)
    for each in package.__all__:
        assert getattr(package, each) is not None


@pytest.mark.parametrize("name", LAZY)
def test_no_exported_name_is_hidden_by_a_module(name):
    package = importlib.import_module(name)
    modules = {module.name for module in pkgutil.iter_modules(package.__path__)}
    for each in modules & set(package.__all__):
        assert isinstance(getattr(package, each), ModuleType), each


def test_names_that_are_not_there():
    with pytest.raises(AttributeError, match="'softcell' has no attribute 'nothing'"):
        softcell.nothing  # noqa: B018


def test_the_package_itself_is_light_and_its_parts_are_reached():
    code = (
        "import sys, softcell;"
        "heavy = {'numpy', 'numba', 'scipy', 'torch'} & set(sys.modules);"
        "assert not heavy, heavy;"
        "softcell.training.FewCells, softcell.bounds.least_bits, softcell.devices.DEVICES;"
        "from softcell import *;"
        "assert write is softcell.write and training is softcell.training"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
