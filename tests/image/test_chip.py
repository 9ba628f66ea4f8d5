"""The chip file: it reads as the simulated chip does, and is for its own image alone."""

from __future__ import annotations

import json

import numpy as np
import pytest

from softcell.allocate.plan import make_plan
from softcell.devices import parse_device
from softcell.errors import FormatError, InputError
from softcell.image.cell_image import CellImage
from softcell.image.chip import StoredChip, write_chip
from softcell.image.readings import SimulatedChip
from softcell.image.restore import Restoration
from softcell.image.write import write_image
from softcell.streams import Stream
from softcell.weights import StateDictWeights, WeightsReader, WeightsWriter

STATE = {
    "a": Stream.of(0, "a").normal(3000).reshape(100, 30),
    "bias": Stream.of(0, "b").normal(10),
    # A name that ends like another's region must not be taken for it.
    "b/cells/a": Stream.of(0, "c").normal(200).reshape(4, 50),
}
DEVICES = (
    "pcm-partial-reset",
    "pcm-sweep",
    "rram-reset",
    "pcm-mushroom",
    "rram-wan",
    "rram-relax-c",
    "gaussian:snr_db=20",
    "ideal",
    "pcm-mushroom+stuck:low=0.01,high=0.01+spread:sigma=0.01+readout:bits=8",
    "pcm-sweep+spread:sigma=0.01+spread:sigma=0.02+stuck:high=0.02+stuck:low=0.01",
)


def write(path, device="pcm-mushroom", state=STATE, scheme="sign", **options):
    weights = StateDictWeights(state)
    plan = make_plan(weights, parse_device(device), scheme, cells_per_weight=3.0)
    write_image(weights, plan, path, **options)
    return path


@pytest.fixture
def image(tmp_path):
    with CellImage(write(tmp_path / "x.cells")) as image:
        yield image


@pytest.fixture
def chip(image, tmp_path):
    write_chip(image, 7, tmp_path / "chip.safetensors")
    return tmp_path / "chip.safetensors"


@pytest.mark.parametrize("device", DEVICES)
def test_a_stored_chip_reads_as_the_simulated_one(tmp_path, device):
    path = tmp_path / "chip.safetensors"
    with CellImage(write(tmp_path / "x.cells", device)) as image:
        write_chip(image, 7, path)
        for age, read in ((0.0, 0), (3600.0, 1), (3e8, 0)):
            simulated = SimulatedChip(image, seed=7, age_seconds=age, read=read)
            with StoredChip(image, path, age_seconds=age, read=read) as stored:
                assert stored.age_seconds == age
                for region in reversed([*image.regions()]):
                    for start, stop in ((0, region.cells), (64, 200)):
                        got, wanted = (c.read(region, start, stop) for c in (stored, simulated))
                        assert got.dtype == wanted.dtype
                        np.testing.assert_array_equal(got, wanted)


def test_another_seed_is_another_chip(image, chip, tmp_path):
    write_chip(image, 8, tmp_path / "other.safetensors")
    region = next(image.regions())
    with StoredChip(image, chip) as one, StoredChip(image, tmp_path / "other.safetensors") as other:
        assert (one.read(region, 0, 100) != other.read(region, 0, 100)).mean() > 0.9


@pytest.mark.parametrize("threads", [1, 4])
def test_an_image_is_decoded_from_a_stored_chip(image, chip, threads):
    with StoredChip(image, chip, age_seconds=3600) as stored:
        restored = dict(Restoration(image, stored, threads=threads).tensors())
    expected = Restoration(image, SimulatedChip(image, seed=7, age_seconds=3600)).tensors()
    for name, values in expected:
        np.testing.assert_array_equal(restored[name], values)


def test_the_file_is_safetensors_that_says_what_it_is(image, chip):
    with WeightsReader(chip) as file:
        facts = json.loads(file.metadata["chip"])
        assert (facts["chip"], facts["seed"], facts["age_seconds"]) == ("simulated:7", 7, 0.0)
        assert facts["cells"] == image.header.cells
        conductance = file.read("conductance/store")
        assert conductance.shape == (image.header.store_cells,)
        assert (conductance >= 0).all()


def test_a_chip_of_another_image_is_refused(chip, tmp_path):
    shifted = {name: values + np.float32(0.1) for name, values in STATE.items()}
    fewer = {**STATE, "a": STATE["a"][:50]}
    for other in ({"state": shifted}, {"state": fewer}, {"scheme": "naive"}):
        with (
            CellImage(write(tmp_path / "y.cells", **other)) as image,
            pytest.raises(InputError, match="another image"),
        ):
            StoredChip(image, chip)


@pytest.mark.parametrize("device", ["pcm-sweep", "pcm-mushroom+stuck:low=0.01"])
def test_a_chip_of_another_device_is_refused(chip, tmp_path, device):
    with (
        CellImage(write(tmp_path / "y.cells", device)) as image,
        pytest.raises(InputError, match="another device"),
    ):
        StoredChip(image, chip)


def test_an_image_for_one_chip_is_written_to_no_other(chip, tmp_path):
    with CellImage(write(tmp_path / "y.cells", chip="simulated:5")) as image:
        with pytest.raises(InputError, match="for chip simulated:5 alone"):
            write_chip(image, 7, tmp_path / "z.safetensors")
        with pytest.raises(InputError, match="for chip simulated:5 alone"):
            StoredChip(image, chip)
        assert not (tmp_path / "z.safetensors").exists()
        write_chip(image, 5, tmp_path / "z.safetensors")
        StoredChip(image, tmp_path / "z.safetensors").close()


def test_a_chip_goes_on_ageing_from_its_own_age(image, tmp_path):
    write_chip(image, 7, tmp_path / "old.safetensors", age_seconds=3600)
    simulated = SimulatedChip(image, seed=7, age_seconds=86400)
    region = next(image.regions())
    with StoredChip(image, tmp_path / "old.safetensors", age_seconds=86400) as stored:
        np.testing.assert_array_equal(stored.read(region, 8, 90), simulated.read(region, 8, 90))
    with pytest.raises(InputError, match="is 1h old, it cannot be read at an age of 1m"):
        StoredChip(image, tmp_path / "old.safetensors", age_seconds=60)


def test_ages_that_there_are_not(image, chip):
    for age in (-1.0, float("nan")):
        with pytest.raises(InputError, match="an age must be finite"):
            StoredChip(image, chip, age_seconds=age)


def rewritten(chip, change=lambda name, values: values, facts=None, metadata=None):
    """Write the chip's file anew, with something changed and nothing else."""
    with WeightsReader(chip) as file:
        arrays = {name: file.read(name) for name in file.names}
        infos = [file.info(name) for name in file.names]
        texts = dict(file.metadata)
    if facts is not None:
        texts["chip"] = json.dumps({**json.loads(texts["chip"]), **facts})
    texts.update(metadata or {})
    with WeightsWriter(chip, infos, texts) as writer:
        for name, values in arrays.items():
            writer.write(name, change(name, values.copy()))


@pytest.mark.parametrize("part", ["conductance/store", "drift_exponent/cells/a", "checksums"])
def test_an_altered_chip_is_found(image, chip, part):
    def flip(name, values):
        if name == part:
            values.reshape(-1).view(np.uint8)[-1] ^= 1
        return values

    rewritten(chip, flip)
    with pytest.raises(FormatError, match="altered"):
        StoredChip(image, chip)


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"seed": 8}, "altered"),
        ({"age_seconds": 60.0}, "altered"),
        ({"age_seconds": -1.0}, "altered"),
        ({"properties": ["conductance"]}, "altered"),
        ({"properties": ["conductance", "resistance"]}, "altered"),
        ({"seed": "7"}, "chip.seed is a whole number, got '7'"),
        ({"image": None}, "chip.image is text, got None"),
    ],
)
def test_altered_facts_are_found(image, chip, facts, reason):
    rewritten(chip, facts=facts)
    with pytest.raises((FormatError, InputError), match=reason):
        StoredChip(image, chip)


def test_files_that_are_no_chip(image, chip, tmp_path):
    with pytest.raises(InputError, match="not a file"):
        StoredChip(image, tmp_path / "none.safetensors")
    contents = chip.read_bytes()
    for length in (0, 4, 100, len(contents) // 2, len(contents) - 1):
        chip.write_bytes(contents[:length])
        with pytest.raises(FormatError):
            StoredChip(image, chip)
    chip.write_bytes(contents)
    rewritten(chip, metadata={"chip": "not JSON"})
    with pytest.raises(FormatError, match="does not say which chip"):
        StoredChip(image, chip)
    rewritten(chip, metadata={"kind": "softcell.calibration/1"})
    with pytest.raises(FormatError, match="is no chip"):
        StoredChip(image, chip)
