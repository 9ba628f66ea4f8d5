"""A network on a grid comes back from its cells as it is."""

import numpy as np
import pytest

from softcell.allocate.plan_file import load_plan, save_plan
from softcell.channel import channel_of
from softcell.codes.entropy.stream import encode, stored_steps
from softcell.devices import parse_device
from softcell.durations import Ages, parse_age
from softcell.errors import InputError
from softcell.image.cell_image import CellImage
from softcell.image.readings import SimulatedChip
from softcell.image.restore import Restoration
from softcell.image.write import write_image
from softcell.training.grid_plan import plan_of_grid
from softcell.weights import StateDictWeights
from softcell.weights.finite import as_rows

FRESH = Ages(0.0, 0.0)
DEVICE = "pcm-partial-reset"


@pytest.fixture
def state():
    """Two matrices on grids, one of a step for each row, and vectors of both kinds."""
    random = np.random.default_rng(2)
    steps = stored_steps(random.uniform(0.02, 0.3, 40))
    sparse = random.integers(-1, 2, (60, 100)) * (random.uniform(size=(60, 100)) < 0.2)
    return {
        "first.weight": (np.rint(random.laplace(size=(40, 60)) * 2) * steps[:, None]).astype("f4"),
        "first.bias": random.normal(size=40).astype(np.float32),
        "second.weight": (sparse * np.float32(0.25)).reshape(60, 4, 5, 5).astype(np.float32),
        "second.scale": np.ones(60, np.float32),
    }, {"first.weight": steps, "second.weight": np.float32([0.25])}


def restored(path, seed, age=0.0):
    with CellImage(path) as image:
        restoration = Restoration(image, SimulatedChip(image, seed=seed, age_seconds=age))
        return dict(restoration.tensors()), restoration.report


@pytest.mark.parametrize(
    ("device", "age"), [(DEVICE, "0"), pytest.param("pcm-mushroom", "1y", marks=pytest.mark.slow)]
)
def test_cells_give_the_very_matrices_back(state, tmp_path, device, age):
    state, steps = state
    seconds = parse_age(age)
    plan = plan_of_grid(state, steps, parse_device(device), Ages(0.0, seconds))
    header = write_image(StateDictWeights(state), plan, tmp_path / "image.cells")
    for seed in (0, 7):
        found, report = restored(tmp_path / "image.cells", seed, seconds)
        assert report.failed == 0
        assert report.corrected > 0  # the cells were noisy
        for name in ("first.weight", "second.weight", "second.scale"):
            assert (found[name] == state[name]).all(), name
        error = np.abs(found["first.bias"] - state["first.bias"])
        assert (error <= np.abs(state["first.bias"]) * 2.0**-7).all()
        assert error.max() > 0
    assert header.cells_per_weight == plan.target
    assert plan.target == pytest.approx(header.cells / sum(v.size for v in state.values()))


def test_a_plan_survives_its_file(state, tmp_path):
    state, steps = state
    plan = plan_of_grid(state, steps, parse_device(DEVICE), FRESH)
    save_plan(tmp_path / "plan.json", plan)
    kept = load_plan(tmp_path / "plan.json")
    write_image(StateDictWeights(state), plan, tmp_path / "a.cells")
    write_image(StateDictWeights(state), kept, tmp_path / "b.cells")
    assert (tmp_path / "a.cells").read_bytes() == (tmp_path / "b.cells").read_bytes()


def test_streams_are_as_short_as_those_of_plain_rounding(state):
    state, steps = state
    plan = plan_of_grid(state, steps, parse_device(DEVICE), FRESH)
    codes = {tensor.info.name: tensor.code for tensor in plan.tensors}
    for name, step in steps.items():
        rows = as_rows(state[name])
        plain = len(encode(rows, step if len(step) > 1 else float(step[0]), trade_off=0.0))
        assert abs(len(codes[name].stream(rows)) - plain) <= 8


def test_sparse_matrices_take_little_more_than_their_entropy(state):
    state, steps = state
    plan = plan_of_grid(state, steps, parse_device(DEVICE), FRESH)
    counts = [
        np.unique(as_rows(state[n]) / s[:, None], return_counts=True)[1] for n, s in steps.items()
    ]
    bits = sum(float(-(c * np.log2(c / c.sum())).sum()) for c in counts)
    vectors = 12 * 40 + 8 + 32
    capacity = channel_of(parse_device(DEVICE)).capacity.bits
    least = (bits + vectors) / capacity / sum(v.size for v in state.values())
    assert least < plan.target < 1.5 * least


def test_vectors_of_16_bits_take_more(state):
    state, steps = state
    twelve, sixteen = (
        plan_of_grid(state, steps, parse_device(DEVICE), FRESH, vector_bits=bits)
        for bits in (12, 16)
    )
    assert [t.kind for t in twelve.tensors] == [
        *("entropy-coded", "float12", "entropy-coded", "constant")
    ]
    assert sixteen.target > twelve.target


def test_what_is_on_no_grid_is_refused(state):
    state, steps = state
    off = state | {"second.weight": state["second.weight"] * np.float32(1.01)}
    with pytest.raises(InputError, match=r"matrix 'second.weight' is not on its steps"):
        plan_of_grid(off, steps, parse_device(DEVICE), FRESH)
    with pytest.raises(InputError, match=r"'first.weight' has no steps"):
        plan_of_grid(state, {}, parse_device(DEVICE), FRESH)
    with pytest.raises(InputError, match="one for each of 40 rows, got 3"):
        wrong = steps | {"first.weight": np.ones(3)}
        plan_of_grid(state, wrong, parse_device(DEVICE), FRESH)
