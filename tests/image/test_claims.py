"""Images and chips that claim more than their bytes can hold."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from fuzz.builders import container, container_parts, tensors_file
from softcell.allocate.plan import make_plan
from softcell.devices import parse_device
from softcell.errors import FormatError, SoftcellError
from softcell.image.cell_image import CellImage
from softcell.image.chip import StoredChip, write_chip
from softcell.image.readings import SimulatedChip
from softcell.image.restore import Restoration
from softcell.image.write import write_image
from softcell.streams import Stream
from softcell.weights import StateDictWeights
from softcell.weights.tensor_file import read_tensors

STATE = {"a": Stream.of(0, "a").normal(600).reshape(20, 30), "ones": np.ones(50, np.float32)}
SCHEMES = {"entropy-coded": 5.0, "packed": 2.0, "sign+sparsity": 3.0, "int8": None}


@pytest.fixture
def image(request, tmp_path):
    scheme, path = getattr(request, "param", "entropy-coded"), tmp_path / "x.cells"
    weights = StateDictWeights(STATE)
    cells = SCHEMES[scheme]
    plan = make_plan(weights, parse_device("pcm-partial-reset"), scheme, cells_per_weight=cells)
    write_image(weights, plan, path)
    return path


def restored(path):
    with CellImage(path) as image:
        return dict(Restoration(image, SimulatedChip(image, seed=0), threads=1).tensors())


@pytest.mark.parametrize("image", SCHEMES, indirect=True)
@pytest.mark.parametrize("shape", [(20, 30_000), (20_000, 30), (20, 30 * 10**9), (2**40, 2**40)])
@pytest.mark.parametrize("number", [0, 1])
def test_a_large_shape_over_few_bytes_is_refused_soon(image, tmp_path, shape, number):
    metadata, sections = container_parts(image)
    metadata["tensors"][number]["shape"] = list(shape) if number == 0 else [shape[0] * shape[1]]
    made = tmp_path / "claims.cells"
    made.write_bytes(container(json.dumps(metadata), sections))
    begin = time.monotonic()
    try:
        found = restored(made)
    except SoftcellError as error:
        assert "\n" not in str(error)
    else:  # constants and zeros take next to nothing, and so may be many, within reason
        assert sum(values.nbytes for values in found.values()) < 2**27
    assert time.monotonic() - begin < 5


def test_a_table_of_checksums_without_columns_is_refused(image, tmp_path):
    with CellImage(image) as opened:
        write_chip(opened, 1, tmp_path / "chip.safetensors")
        tensors, texts = read_tensors(tmp_path / "chip.safetensors")
        tensors["checksums"] = np.zeros((10**12, 0), np.uint8)
        (tmp_path / "chip.safetensors").write_bytes(tensors_file(tensors, texts))
        with pytest.raises(FormatError, match="was altered"):
            StoredChip(opened, tmp_path / "chip.safetensors")


def test_a_chip_that_is_altered_after_it_was_opened_is_not_used(image, tmp_path):
    path = tmp_path / "chip.safetensors"
    with CellImage(image) as opened:
        write_chip(opened, 1, path)
        region = next(opened.regions())
        with StoredChip(opened, path) as chip:
            content = bytearray(path.read_bytes())
            content[-40 * len(content) // 100] ^= 1
            with open(path, "r+b") as file:
                file.write(content)
            with pytest.raises(FormatError, match="was altered"):
                for each in opened.regions():
                    chip.read(each, 0, each.cells)
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(FormatError, match="truncated"):
            StoredChip(opened, path).read(region, 0, 1)


@pytest.mark.parametrize("image", SCHEMES, indirect=True)
def test_an_image_that_is_altered_while_it_is_decoded_gives_no_wrong_weights(image):
    own = restored(image)
    with CellImage(image) as opened:
        opened.verify()
        restoration = Restoration(opened, SimulatedChip(opened, seed=0), threads=1)
        found = {0: restoration.tensor(0)}
        content = bytearray(image.read_bytes())
        content[16 : len(content) // 2] = bytes(b ^ 0x55 for b in content[16 : len(content) // 2])
        with open(image, "r+b") as file:
            file.write(content)
        for index in (1, 0):
            try:
                found[index] = restoration.tensor(index)
            except SoftcellError:
                continue
        with open(image, "r+b") as file:
            file.truncate(100)
        for index in (1, 0):
            try:
                found[index] = restoration.tensor(index)
            except SoftcellError:
                continue
    for index, name in enumerate(own):
        if index in found:
            np.testing.assert_array_equal(found[index], own[name])
