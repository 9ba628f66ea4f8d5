"""Vectors of coded schemes: 12-bit numbers and constants, planned, counted, written and read."""

from __future__ import annotations

import numpy as np
import pytest

from drawn import normal
from softcell.allocate.plan import make_plan
from softcell.devices import parse_device
from softcell.errors import InputError
from softcell.image.cell_image import CellImage
from softcell.image.readings import SimulatedChip
from softcell.image.restore import Restoration
from softcell.image.write import write_image
from softcell.weights import StateDictWeights

DEVICE = parse_device("pcm-partial-reset")


STATE = {
    "matrix": normal(32, 40),
    "bias": normal(101, seed=1),
    "half": normal(50, seed=2).astype(np.float16),
    "zeros": np.zeros(64, np.float32),
    "odd": np.full(64, 0.1, np.float32),
    "pair": np.ones(2, np.float32),
    "scalar": np.array(2.5, np.float32),
}


def kinds(scheme, cells, bits):
    plan = make_plan(
        StateDictWeights(STATE), DEVICE, scheme, cells_per_weight=cells, vector_bits=bits
    )
    return plan, {t.info.name: t.kind for t in plan.tensors}


@pytest.mark.parametrize("scheme", ["combined", "entropy-coded"])
@pytest.mark.parametrize("bits", [12, 16])
def test_vectors_come_back_as_their_format_has_them(scheme, bits, tmp_path):
    plan, kind = kinds(scheme, 3.0, bits)
    expected = ("float12", "float12") if bits == 12 else ("float16", "raw")
    assert (kind["bias"], kind["half"]) == expected
    assert (kind["zeros"], kind["odd"]) == ("constant", "constant")
    assert (kind["pair"], kind["scalar"]) == ("float16", "float16")
    header = write_image(StateDictWeights(STATE), plan, tmp_path / "x.cells")
    sizes = {t.info.name: t.nbytes for t in header.tensors}
    assert sizes["bias"] == (1 + 152 if bits == 12 else 202)
    assert sizes["odd"] == 4
    assert header.cells_per_weight <= 3.0
    with CellImage(tmp_path / "x.cells") as image:
        restored = dict(Restoration(image, SimulatedChip(image, seed=1)).tensors())
    for name in ("zeros", "odd", "pair", "scalar"):
        assert restored[name].tobytes() == STATE[name].tobytes()
    for name in ("bias", "half"):
        limit = 2.0**-7 if bits == 12 else 2.0**-11
        error = np.abs(restored[name] / STATE[name].astype(np.float64) - 1).max()
        assert error <= limit
        assert bits == 16 or error > 2.0**-11


@pytest.mark.parametrize("scheme", ["float32", "float16", "int8"])
def test_conventional_schemes_keep_their_formats(scheme):
    assert kinds(scheme, None, 12)[1] == kinds(scheme, None, 16)[1]
    assert not {"float12", "constant"} & set(kinds(scheme, None, 12)[1].values())


def test_other_numbers_of_bits_are_refused():
    with pytest.raises(InputError, match="vectors have 16 or 12 bits, got 8"):
        kinds("combined", 3.0, 8)
