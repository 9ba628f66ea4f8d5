"""A closed loop that does harm where the curvature does not see it, and what is done about it."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from softcell.allocate import Procedure
from softcell.curvature import calibrate, load_calibration, save_calibration
from softcell.curvature.procedures import CLOSED, INPUTS, OPEN, calibration_by, curvature_by
from softcell.devices import parse_device
from softcell.image.cell_image import CellImage
from softcell.image.readings import SimulatedChip
from softcell.image.restore import Restoration
from softcell.network import Network, checked, plan_network, write_checked, write_network
from softcell.network.calibration_check import tried_calibration
from softcell.network.divergence import output_divergence
from softcell.weights import StateDictWeights

WIDTH, CLASSES = 32, 10


def doubtless(inputs, seed):
    """Return inputs of which three quarters leave no doubt, so that nothing comes back of them.

    The others are of the second half of the features, and of little in the first that goes with
    it. Errors of the second half's weights are then absorbed by the first's, which the many need.
    """
    random = np.random.default_rng(seed)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(WIDTH, WIDTH)))[0]
    x = np.zeros((inputs, 2 * WIDTH))
    sure = np.arange(inputs) % 4 > 0
    x[sure, :WIDTH] = 4 * np.eye(WIDTH)[random.integers(CLASSES, size=sure.sum())]
    x[sure, :WIDTH] += random.normal(size=(sure.sum(), WIDTH))
    x[~sure, WIDTH:] = random.normal(size=((~sure).sum(), WIDTH))
    x[~sure, :WIDTH] = 0.1 * x[~sure, WIDTH:] @ turn
    return torch.tensor(x, dtype=torch.float32)


def alike(inputs, seed):
    """Return inputs of one kind, whose features have to do with each other."""
    mixture = np.random.default_rng(0).normal(size=(2 * WIDTH // 4, 2 * WIDTH)) / 4
    x = np.random.default_rng(seed).normal(size=(inputs, len(mixture))) @ mixture
    return torch.tensor(x, dtype=torch.float32)


class Case:
    """A network, what is known of it, and how far off others like it are on inputs of their own."""

    def __init__(self, draw):
        random = np.random.default_rng(1)
        self.module = nn.Linear(2 * WIDTH, CLASSES, bias=False).eval()
        weight = random.normal(size=(CLASSES, 2 * WIDTH)) * 0.3
        if draw is doubtless:
            weight[:, :CLASSES] += 8 * np.eye(CLASSES)
        with torch.no_grad():
            self.module.weight.copy_(torch.tensor(weight))
        self.learnt, self.held, others = (draw(n, seed) for seed, n in enumerate((400, 80, 200)))
        self.state = {name: tensor.detach() for name, tensor in self.module.state_dict().items()}
        made = calibrate(self.module, self.learnt, seed=0, held=self.held)
        calibration, self.check = tried_calibration(self.module, made, self.held)
        self.network = Network(source=lambda: StateDictWeights(self.state), calibration=calibration)
        self.whole = replace(self.network, divergence=output_divergence(self.module, self.held))
        self._measure = output_divergence(self.module, others)

    def left(self, path):
        with CellImage(path) as image:
            return self._measure(dict(Restoration(image, SimulatedChip(image, seed=0)).tensors()))


@pytest.fixture(scope="module")
def harmful():
    return Case(doubtless)


@pytest.fixture(scope="module")
def harmless():
    return Case(alike)


@pytest.fixture(scope="module", params=["sign", "packed"])
def planned(request):
    return partial(
        plan_network,
        device=parse_device("pcm-partial-reset"),
        scheme=request.param,
        cells_per_weight=3,
        procedure=Procedure(loop=True),
    )


def test_a_loop_that_does_harm_is_seen_and_left(harmful, planned, tmp_path):
    closed, open_ = (
        harmful.network,
        replace(harmful.network, calibration=replace(harmful.network.calibration, layers={})),
    )
    for name, network in (("closed", closed), ("open", open_)):
        write_network(network, planned(network), tmp_path / name)
    for network in (harmful.network, harmful.whole):
        _, plan, check = write_checked(network, planned, tmp_path / "checked")
        (matrix,) = check.matrices
        assert matrix.procedure != CLOSED
        assert matrix.measured <= 1
        assert check.changed == ("weight",)
        assert "1 of 1 matrices worse" in " ".join(check.notes())
        # On inputs that neither calibration nor check has seen.
        left = harmful.left(tmp_path / "checked")
        assert left < 1.05 * harmful.left(tmp_path / "open")
        assert left < 0.7 * harmful.left(tmp_path / "closed")
        assert check.predicted < 0.5 * harmful.left(tmp_path / "closed")
        assert {t.info.name for t in plan.tensors} == {"weight"}
    assert check.left < check.measured


def test_a_loop_that_does_good_is_left_as_it_is(harmless, planned, tmp_path):
    write_network(harmless.network, planned(harmless.network), tmp_path / "closed")
    for network in (harmless.network, harmless.whole):
        _, _, check = write_checked(network, planned, tmp_path / "checked")
        (matrix,) = check.matrices
        assert (matrix.procedure, check.procedure, check.tried) == (CLOSED, CLOSED, {})
        assert matrix.predicted < 1
        assert matrix.measured == pytest.approx(matrix.predicted, rel=0.5)
        assert check.notes() == []
        assert (tmp_path / "checked").read_bytes() == (tmp_path / "closed").read_bytes()
    assert check.measured == check.left == pytest.approx(check.predicted, rel=0.5)


def test_the_image_is_that_of_what_was_kept(harmful, planned, tmp_path):
    """Whatever was tried on the way, and again alike."""
    for name in "ab":
        header, _, _ = write_checked(harmful.whole, planned, tmp_path / name, seed=3)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with CellImage(tmp_path / "a") as image:
        assert image.header.cells == header.cells
    assert header.cells_per_weight <= 3 * 1.0001


def test_a_real_chip_is_written_by_what_serves_a_simulated_one(harmful, planned, tmp_path):
    network, plan, check = checked(harmful.network, planned)
    write_checked(harmful.network, planned, tmp_path / "checked")
    write_network(network, plan, tmp_path / "chip", seed=0)
    assert (tmp_path / "chip").read_bytes() == (tmp_path / "checked").read_bytes()
    assert check.changed == ("weight",)


def test_without_inputs_held_out_nothing_is_checked(harmful, planned, tmp_path):
    """As with calibrations of files that were made before."""
    known = replace(harmful.network.calibration, held=None)
    network = replace(harmful.network, calibration=known)
    write_network(network, planned(network), tmp_path / "closed")
    _, _, check = write_checked(network, planned, tmp_path / "checked")
    assert not check.possible
    assert check.matrices == ()
    assert "holds no inputs out" in check.notes()[0]
    assert (tmp_path / "checked").read_bytes() == (tmp_path / "closed").read_bytes()


def test_a_calibration_keeps_what_it_is_held_against(harmful, tmp_path):
    known = harmful.network.calibration
    save_calibration(tmp_path / "c", known)
    again = load_calibration(tmp_path / "c")
    assert (again.surprise, again.tied) == (known.surprise, known.tied)
    assert again.held.inputs == known.held.inputs == 80
    for part in ("check", "fit"):
        (one, other) = (getattr(each.held, part)["weight"] for each in (known, again))
        np.testing.assert_array_equal(one.covariance, other.covariance)
        np.testing.assert_array_equal(one.rows, other.rows)
    # Each of them is the moments of a half.
    half = harmful.held[::2].numpy().astype(np.float64)
    moments = half.T @ half / len(half)
    np.testing.assert_allclose(
        known.held.check["weight"].covariance[0], moments, rtol=1e-4, atol=1e-6
    )


def test_what_procedures_go_by(harmful):
    known = harmful.network.calibration
    whole = known.layers["weight"]
    assert curvature_by(known, "weight", CLOSED) is whole
    assert curvature_by(known, "weight", OPEN) is None
    moments = curvature_by(known, "weight", INPUTS)
    np.testing.assert_array_equal(moments.covariance, known.held.fit["weight"].covariance)
    np.testing.assert_array_equal(moments.rows, whole.rows)
    damped = curvature_by(known, "weight", "much damping")
    mean = np.trace(whole.covariance[0]) / (2 * WIDTH)
    np.testing.assert_allclose(
        damped.covariance[0] - whole.covariance[0], 3 * mean * np.eye(2 * WIDTH), atol=1e-5 * mean
    )
    assert "weight" not in calibration_by(known, {"weight": OPEN}).layers


def test_a_calibration_is_tried_when_it_is_made(harmful, harmless):
    bad, good = harmful.check, harmless.check
    assert bad.harmful == ("weight",)
    predicted, measured = bad.matrices["weight"]
    assert predicted < 0.6 < 2 < measured
    assert harmful.network.calibration.surprise == bad.surprise > 2
    assert good.harmful == ()
    assert good.closed < 0.7 * good.open
    assert good.surprise == pytest.approx(1, rel=0.3)


def test_what_nothing_tells_of_in_whole_stays_and_is_said(harmful, planned, tmp_path):
    """Errors of a matrix's outputs alone may be ones that the network does not mind."""
    known = replace(harmful.network.calibration, surprise=None)
    network = replace(harmful.network, calibration=known)
    write_network(network, planned(network), tmp_path / "closed")
    _, _, check = write_checked(network, planned, tmp_path / "checked")
    assert check.unsettled == ("weight",)
    assert "nothing tells" in check.notes()[0]
    assert (tmp_path / "checked").read_bytes() == (tmp_path / "closed").read_bytes()


@pytest.mark.parametrize("loop", [True, False])
def test_a_matrix_that_nothing_comes_back_to_is_stored(planned, loop, tmp_path):
    """A branch that is dead on these inputs may be alive on others."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = Branches()
        inputs = torch.rand(64, 32)
    state = {name: tensor.detach() for name, tensor in module.state_dict().items()}
    known = calibrate(module, inputs[:48], seed=0, held=inputs[48:])
    assert known.unfelt == ("dead.weight",)
    told = {"calibration": known} if loop else {"sensitivity": known.fisher}
    network = Network(source=lambda: StateDictWeights(state), **told)
    plan = planned(network, procedure=Procedure(loop=loop))
    write_network(network, plan, tmp_path / "image")
    with CellImage(tmp_path / "image") as image:
        found = dict(Restoration(image, SimulatedChip(image, seed=0)).tensors())
    for name in ("dead.weight", "alive.weight"):
        wanted = state[name].numpy()
        assert np.square(found[name] - wanted).mean() < 0.1 * np.square(wanted).mean(), name


class Branches(nn.Module):
    """Two branches, of which the second gives nothing on inputs between 0 and 1."""

    def __init__(self) -> None:
        super().__init__()
        self.alive, self.dead = nn.Linear(32, 32), nn.Linear(32, 32)
        self.out = nn.Linear(32, 6)

    def forward(self, x):
        return self.out(torch.relu(self.alive(x)) + torch.relu(self.dead(x) - 100))
