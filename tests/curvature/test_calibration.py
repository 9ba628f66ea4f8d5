import dataclasses
import json

import numpy as np
import pytest
import torch
from torch import nn

from softcell.curvature import (
    Calibration,
    LayerCurvature,
    calibrate,
    diagonal_fisher,
    load_calibration,
    load_fisher,
    save_calibration,
    save_fisher,
)
from softcell.curvature.held_out import split
from softcell.errors import FormatError, InputError
from softcell.weights.tensor_file import read_tensors, write_tensors


class OwnNormalisation(nn.Module):
    """A normalisation that is none of torch's, recognised by what it holds."""

    def __init__(self, channels):
        super().__init__()
        self.eps = 0.25
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x):
        return x * self.weight + self.bias


def network():
    return nn.Sequential(
        nn.Conv2d(2, 8, 3, groups=2),
        nn.BatchNorm2d(8, eps=1e-3),
        nn.Flatten(),
        nn.Linear(32, 40),
        OwnNormalisation(40),
        nn.LayerNorm(40),
        nn.BatchNorm1d(40, affine=False),
        nn.Linear(40, 3),
    )


def images(count=12):
    return torch.randn(count, 2, 4, 4, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module", params=["fisher", "inputs"])
def calibration(request):
    return calibrate(network(), images(), seed=1, kind=request.param)


@pytest.fixture(scope="module")
def module():
    return network()


def shapes(module):
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def test_normalisations_are_told_by_what_they_hold(calibration):
    assert calibration.normalisations == {"1": 1e-3, "4": 0.25}
    assert calibration.images == 12


def test_one_pass_gives_the_curvatures_and_the_diagonal(module):
    calibration = calibrate(module, images(), seed=1)
    fisher = diagonal_fisher(module, images(), seed=1)
    assert calibration.fisher.keys() == fisher.keys()
    for name, values in fisher.items():
        np.testing.assert_array_equal(calibration.fisher[name], values)
    assert calibrate(module, images(), seed=1, kind="inputs").fisher == {}


def test_a_calibration_survives_its_file(calibration, tmp_path):
    path = tmp_path / "c.safetensors"
    save_calibration(path, calibration)
    restored = load_calibration(path)
    assert restored.normalisations == calibration.normalisations
    assert (restored.images, restored.kind) == (calibration.images, calibration.kind)
    assert list(restored.layers) == list(calibration.layers)
    assert restored.fisher.keys() == calibration.fisher.keys()
    for name, layer in calibration.layers.items():
        back = restored.layers[name]
        assert (back.across is None) == (layer.across is None)
        for one, other in ((layer, back), (layer.across, back.across)):
            if one is not None:
                np.testing.assert_array_equal(one.covariance, other.covariance)
                np.testing.assert_array_equal(one.rows, other.rows)
                assert one.joined == other.joined
    layers = [each for layer in calibration.layers.values() for each in (layer, layer.across)]
    whole = sum(layer.covariance.nbytes for layer in layers if layer is not None)
    assert path.stat().st_size < 0.55 * whole + 20_000


def test_one_file_serves_as_the_diagonal_fisher_too(calibration, tmp_path):
    save_calibration(tmp_path / "c", calibration)
    if calibration.kind == "inputs":
        with pytest.raises(InputError, match="--kind fisher"):
            load_fisher(tmp_path / "c")
        return
    for name, values in load_fisher(tmp_path / "c").items():
        np.testing.assert_array_equal(values, calibration.fisher[name])


@pytest.mark.parametrize("damage", ["cut", "bit", "text", "fisher"])
def test_files_that_hold_no_calibration_are_refused(calibration, tmp_path, damage):
    path = tmp_path / "c"
    save_calibration(path, calibration)
    contents = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(contents[: len(contents) // 2])
    elif damage == "bit":
        contents[-10] ^= 1
        path.write_bytes(contents)
    elif damage == "text":
        path.write_bytes(b"no tensors")
    else:
        save_fisher(path, {"0.weight": np.ones((8, 1, 3, 3), np.float32)})
    with pytest.raises(FormatError, match=str(path)):
        load_calibration(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors, facts: tensors.pop("layer.rows/0.weight"),
        lambda tensors, facts: tensors.update({"layer.rows/0.weight": -np.ones(8, np.float32)}),
        lambda tensors, facts: tensors.update({"layer.rows/0.weight": np.ones(7, np.float32)}),
        lambda tensors, facts: tensors.update({"layer.rows/0.weight": np.ones(8)}),
        lambda tensors, facts: tensors["layer.covariance/0.weight"].fill(np.nan),
        lambda tensors, facts: tensors.update(
            {"layer.covariance/0.weight": np.ones((2, 7), np.float32)}
        ),
        lambda tensors, facts: facts.pop("images"),
        lambda tensors, facts: facts.update(kind="hessian"),
        lambda tensors, facts: facts.update(layers=3),
        lambda tensors, facts: facts.update(normalisations=[]),
    ],
)
def test_calibrations_that_cannot_be_are_refused(tmp_path, change):
    """Files of a right checksum whose contents are wrong all the same."""
    save_calibration(tmp_path / "c", calibrate(network(), images(), seed=1))
    tensors, metadata = read_tensors(tmp_path / "c")
    facts = json.loads(metadata["calibration"])
    change(tensors, facts)
    write_tensors(tmp_path / "c", tensors, metadata | {"calibration": json.dumps(facts)})
    with pytest.raises(FormatError, match="no whole calibration"):
        load_calibration(tmp_path / "c")


def test_a_calibration_is_for_its_network_only(calibration, module):
    known = shapes(module)
    calibration.require_network(known)
    for name in ("0.weight", "1.running_mean", "7.weight"):
        others = {n: shape for n, shape in known.items() if n != name}
        with pytest.raises(InputError, match=f"another network: there is no tensor '{name}'"):
            calibration.require_network(others)
    for wrong in ((40, 33), (64, 20), (1280,)):
        with pytest.raises(InputError, match="'3.weight' has shape"):
            calibration.require_network(known | {"3.weight": wrong})


def test_a_calibration_needs_images_and_a_kind(calibration):
    for wrong in ({"images": 0}, {"kind": "hessian"}):
        with pytest.raises(InputError, match="expected images"):
            dataclasses.replace(calibration, **wrong)
    assert Calibration({}, {}, 1, "fisher").fisher == {}


@pytest.mark.parametrize(
    ("shape", "covariance", "rows", "joined"),
    [
        ((6, 2, 3), (1, 6, 6), 6, False),
        ((6, 2, 3), (3, 6, 6), 6, False),
        ((6, 8), (4, 2, 2), 24, False),
        ((6, 1, 3), (2, 9, 9), 2, True),
    ],
)
def test_the_matrix_view_and_back(shape, covariance, rows, joined):
    layer = LayerCurvature(
        np.broadcast_to(np.eye(covariance[1], dtype=np.float32), covariance),
        np.ones(rows, np.float32),
        joined=joined,
    )
    weights = np.arange(np.prod(shape)).reshape(shape)
    matrix = layer.matrix(weights)
    assert matrix.shape == (rows, layer.columns)
    np.testing.assert_array_equal(layer.tensor(matrix, shape), weights)
    if rows == 24:  # blocks of 2 columns, the rows of each together
        assert matrix[1].tolist() == [8, 9]
        assert matrix[6].tolist() == [2, 3]
    for wrong in ((5, layer.columns), (7, 12), (rows * layer.columns,)):
        assert not layer.fits(wrong)
        with pytest.raises(InputError, match="calibrate this very network"):
            layer.matrix(np.zeros(wrong))
    with pytest.raises(InputError, match="expected a matrix"):
        layer.tensor(matrix[:, 1:], shape)


EYE = np.eye(2, dtype=np.float32)[None]
ONES = np.ones(4, np.float32)


@pytest.mark.parametrize(
    ("covariance", "rows", "message"),
    [
        (EYE.astype(np.float64), ONES, "float32"),
        (EYE[0], ONES, "covariance"),
        (EYE[:, :1], ONES, "covariance"),
        (EYE, ONES[:0], "covariance"),
        (np.concatenate([EYE] * 3), ONES, "3 groups do not divide 4 rows"),
        (np.full_like(EYE, np.inf), ONES, "finite"),
        (-EYE, ONES, ">= 0"),
        (EYE, -ONES, ">= 0"),
        (EYE + np.array([[0, 1], [0, 0]], np.float32), ONES, "symmetric"),
    ],
)
def test_curvatures_that_cannot_be_are_refused(covariance, rows, message):
    with pytest.raises(InputError, match=message):
        LayerCurvature(covariance, rows)


def test_scaled_curvatures_are_multiplied_and_others_left():
    layers = {name: LayerCurvature(EYE, ONES) for name in "ab"}
    fisher = {name: np.ones((4, 2), np.float32) for name in "ab"}
    calibration = Calibration(layers, {}, 1, "fisher", fisher)
    scaled = calibration.scaled({"a": 3.0})
    assert (scaled.layers["a"].covariance == 3 * EYE).all()
    assert (scaled.layers["a"].rows == 3).all()
    assert (scaled.fisher["a"] == 3).all()
    assert scaled.layers["b"] is layers["b"]
    for wrong in (0.0, -1.0, float("nan")):
        with pytest.raises(InputError, match="above 0"):
            calibration.scaled({"a": wrong})


def test_by_tensor_all_rows_of_a_group_are_felt_alike():
    layer = LayerCurvature(np.concatenate([EYE, EYE]), np.array([1, 3, 10, 20], np.float32))
    alike = Calibration({"a": layer}, {}, 1, "fisher").by_tensor().layers["a"]
    assert alike.rows.tolist() == [2, 2, 15, 15]
    assert alike.covariance is layer.covariance


class Scaled(nn.Module):
    """Logits that a softmax is sure of."""

    def forward(self, x):
        return 1e30 * x


class Root(nn.Module):
    """Finite logits of an infinite gradient."""

    def forward(self, x):
        return (x - x.detach()).abs().sqrt()


class Branches(nn.Module):
    """Two branches, of which the second is never alive."""

    def __init__(self) -> None:
        super().__init__()
        self.alive, self.dead = nn.Linear(4, 8), nn.Linear(4, 8)
        self.out = nn.Linear(8, 3)

    def forward(self, x):
        return self.out(torch.relu(self.alive(x)) + torch.relu(self.dead(x) - 100))


def branches():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Branches().eval()


@pytest.mark.parametrize("calibrated", [calibrate, diagonal_fisher])
@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (nn.Linear(4, 1), "a softmax over one class"),
        (nn.Sequential(nn.Linear(4, 1), nn.Unflatten(1, (1, 1))), "a softmax over one class"),
        (nn.Sequential(nn.Linear(4, 3), nn.Threshold(1e9, 0.0)), "0 for every weight"),
        (nn.Sequential(nn.Linear(4, 3), Scaled()), "0 for every weight"),
        (nn.Sequential(nn.Linear(4, 3), Root()), "'0.weight' is not finite for inputs 0 to 3"),
    ],
)
def test_a_loss_without_any_curvature_is_refused(calibrated, module, reason):
    with pytest.raises(InputError, match=reason):
        calibrated(module, torch.rand(8, 4), seed=0)


def test_one_logit_goes_by_its_inputs():
    assert calibrate(nn.Linear(4, 1), torch.rand(8, 4), seed=0, kind="inputs").unfelt == ()


def test_a_matrix_that_nothing_comes_back_to_is_named():
    known = calibrate(branches(), torch.rand(32, 4), seed=0)
    assert known.unfelt == ("dead.weight",)
    assert known.curvature("dead.weight") is None
    assert known.curvature("out.weight") is known.layers["out.weight"]
    assert known.curvature("other") is None


def test_a_file_of_no_curvature_is_refused():
    known = calibrate(branches(), torch.rand(32, 4), seed=0)
    nothing = {
        n: dataclasses.replace(v, covariance=v.covariance * 0, rows=v.rows * 0)
        for n, v in known.layers.items()
    }
    shapes = {name: tuple(t.shape) for name, t in branches().state_dict().items()}
    known.require_network(shapes)
    with pytest.raises(InputError, match="0 for every weight"):
        dataclasses.replace(known, layers=nothing).require_network(shapes)


class Tied(nn.Module):
    """Two names of one matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
        self.last.weight = self.first.weight

    def forward(self, x):
        return self.last(torch.relu(self.first(x)))


@pytest.mark.parametrize("left_out", ["first.weight", "last.weight"])
def test_a_file_may_have_one_name_of_a_tied_tensor(left_out, tmp_path):
    save_calibration(tmp_path / "c", calibrate(Tied(), torch.rand(8, 4), seed=0))
    known = load_calibration(tmp_path / "c")
    assert known.tied == (("first.weight", "last.weight"),)
    shapes = {"first.weight": (4, 4), "last.weight": (4, 4)}
    known.require_network(shapes)
    known.require_network({name: each for name, each in shapes.items() if name != left_out})
    with pytest.raises(InputError, match="there is no tensor"):
        known.require_network({"other": (4, 4)})


@pytest.mark.parametrize(
    ("inputs", "count", "parts"),
    [
        *((100, None, (90, 10)), (100, 60, (60, 6)), (100, 98, (91, 9)), (20, None, (16, 4))),
        *((8, None, (4, 4)), (7, None, (7, 0)), (7, 3, (3, 0)), (1000, 1000, (900, 100))),
    ],
)
def test_a_tenth_is_held_out(inputs, count, parts):
    given = torch.arange(inputs)
    learnt, held = split(given, count)
    assert (len(learnt), len(held)) == parts
    assert not set(learnt.tolist()) & set(held.tolist())
    assert learnt.tolist() == list(range(parts[0]))


def test_inputs_that_are_held_out_leave_the_curvature_as_it_is():
    module, given = network(), images(12)
    one = calibrate(module, given, seed=1)
    other = calibrate(module, given, seed=1, held=images(4))
    assert one.held is None
    assert other.held.inputs == 4
    for name, layer in one.layers.items():
        np.testing.assert_array_equal(layer.covariance, other.layers[name].covariance)
    with pytest.raises(InputError, match="at least 2"):
        calibrate(module, given, seed=1, held=images(1))
