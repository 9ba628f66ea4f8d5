"""Joint maps in images: the budget, the rows that get two cells, ageing, damage."""

from __future__ import annotations

import numpy as np
import pytest

from softcell.allocate.plan import make_plan
from softcell.channel import channel_of
from softcell.codes.coarse import design as coarse_to_fine
from softcell.codes.joint.code import encode_joint
from softcell.codes.joint.design import design_joint_map
from softcell.codes.maps.source import SHAPES
from softcell.devices import parse_device
from softcell.errors import DecodingError
from softcell.image.cell_image import CellImage, levels_section
from softcell.image.readings import SimulatedChip
from softcell.image.restore import Restoration
from softcell.image.write import write_image
from softcell.streams import Stream
from softcell.weights import StateDictWeights

DEVICE = parse_device("pcm-partial-reset")
GAUSSIAN = SHAPES.index(2.0)
STATE = {
    "conv": Stream.of(0, "c").normal(60 * 18 * 9).reshape(60, 18, 3, 3),
    "bias": Stream.of(0, "b").normal(60),
    "linear": Stream.of(0, "l").normal(50 * 400).reshape(50, 400) * np.float32(0.02),
    "steps": np.array(11),
    "nothing": np.zeros((0, 4), np.float32),
}


def stored(path, state, cells, scheme="joint-map", device=DEVICE, age=0.0, **options):
    weights = StateDictWeights(state)
    plan = make_plan(weights, device, scheme, cells_per_weight=cells, age_seconds=age, **options)
    return plan, write_image(weights, plan, path / "x.cells")


def read_back(path, *, seed=1, age=0.0):
    with CellImage(path / "x.cells") as image:
        chip = SimulatedChip(image, seed=seed, age_seconds=age)
        return dict(Restoration(image, chip).tensors())


def relative_error(restored, name):
    values = STATE[name].astype(np.float64)
    return np.mean((restored[name] - values) ** 2) / np.mean(values**2)


@pytest.mark.parametrize("cells", [1.2, 1.6, 2.02, 5.0])
def test_the_target_is_kept_and_what_is_expected_comes_back(cells, tmp_path):
    plan, header = stored(tmp_path, STATE, cells)
    assert header.cells_per_weight <= cells
    if cells < 2:
        assert header.cells_per_weight > 0.98 * cells
    restored = read_back(tmp_path)
    channel = channel_of(DEVICE)
    one = coarse_to_fine.design_map(channel, GAUSSIAN, 0).distortion
    two = design_joint_map(channel, GAUSSIAN).distortion
    code = next(t.code for t in plan.tensors if t.info.name == "linear")
    share = (code.cells == 2).mean()
    expected = share * two + (1 - share) * one
    assert relative_error(restored, "linear") == pytest.approx(expected, rel=0.1)
    # Beyond two cells there is nothing to spend them on.
    assert (header.analog_cells == 2 * (9720 + 20000)) == (cells > 2)
    np.testing.assert_allclose(restored["bias"], STATE["bias"], rtol=2**-11)
    assert restored["steps"] == 11
    assert restored["nothing"].shape == (0, 4)


def test_two_cells_leave_less_than_those_of_a_coarse_to_fine_code(tmp_path):
    error = {}
    for scheme in ("joint-map", "coarse-to-fine"):
        _, header = stored(tmp_path, STATE, 2.05, scheme)
        assert header.cells_per_weight <= 2.05
        error[scheme] = relative_error(read_back(tmp_path), "linear")
    assert error["joint-map"] < 0.88 * error["coarse-to-fine"]


def test_rows_that_the_loss_feels_get_two_cells(tmp_path):
    fisher = {name: np.ones(values.shape) for name, values in STATE.items()}
    fisher["linear"][[3, 17, 40]] = 1e9
    plan, _ = stored(tmp_path, STATE, 1.1, sensitivity=fisher)
    code = next(t.code for t in plan.tensors if t.info.name == "linear")
    assert set(np.flatnonzero(code.cells == 2)) >= {3, 17, 40}
    restored = read_back(tmp_path)["linear"]
    error = np.mean((restored - STATE["linear"]) ** 2, axis=1)
    ordinary = np.flatnonzero(code.cells == 1)
    assert len(ordinary) > 30
    assert error[[3, 17, 40]].max() < 0.3 * error[ordinary].min()


def test_the_levels_in_the_file_are_those_of_the_code(tmp_path):
    plan, _ = stored(tmp_path, STATE, 1.5)
    with CellImage(tmp_path / "x.cells") as image:
        for index, tensor in enumerate(plan.tensors):
            if tensor.code is not None and tensor.info.size:
                rows = STATE[tensor.info.name].reshape(tensor.info.shape[0], -1)
                expected = encode_joint(rows, tensor.code, channel_of(DEVICE))
                found = image._container.read(levels_section(index), 0, len(expected))
                np.testing.assert_array_equal(found, expected)


def test_cells_that_have_aged_are_decoded_by_the_law_of_their_age(tmp_path):
    device = parse_device("pcm-mushroom")
    month = 30 * 86_400.0
    stored(tmp_path, STATE, 2.2, device=device, age=month)
    fresh, aged = read_back(tmp_path), read_back(tmp_path, age=month)
    expected = design_joint_map(channel_of(device, month), GAUSSIAN).distortion
    assert relative_error(aged, "linear") == pytest.approx(expected, rel=0.1)
    assert relative_error(fresh, "linear") < 1.1 * expected


def test_side_information_that_contradicts_the_image_is_an_error(tmp_path, monkeypatch):
    stored(tmp_path, STATE, 1.5)
    with CellImage(tmp_path / "x.cells") as image:
        restoration = Restoration(image, SimulatedChip(image, seed=1))
        stored_bytes = Restoration._stored

        def altered(self, tensor):
            found = stored_bytes(self, tensor)
            if tensor.info.name == "conv":
                found.data[-1] ^= 1
            return found

        monkeypatch.setattr(Restoration, "_stored", altered)
        with pytest.raises(DecodingError, match="side information of tensor 'conv' is lost"):
            restoration.tensor(0)
