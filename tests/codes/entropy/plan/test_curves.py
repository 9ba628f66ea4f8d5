"""Curves of loss against bits, and how bits are shared along them."""

import numpy as np
import pytest

from softcell.allocate.plan import make_plan
from softcell.codes.entropy.plan.curves import EntropyCurves, Quantiser
from softcell.curvature import LayerCurvature
from softcell.devices import parse_device
from softcell.errors import InputError
from softcell.feedback.layer import in_loop
from softcell.streams import Stream
from softcell.weights import StateDictWeights


def layer(name, rows, columns, *, size=1.0, felt=1.0, seed=0):
    weights = size * Stream.of(seed, name).normal(rows * columns).reshape(rows, columns)
    mixing = Stream.of(seed, f"{name} mixing").normal(columns * 8).reshape(columns, 8)
    covariance = (mixing @ mixing.T / 8 + 0.1 * np.eye(columns)).astype(np.float32) * felt
    covariance = ((covariance + covariance.T) / 2)[None]
    means = np.full(rows, np.trace(covariance[0]) / columns, np.float32)
    return in_loop(name, weights.astype(np.float32), LayerCurvature(covariance, means))


@pytest.fixture(scope="module")
def curves():
    layers = [layer("a", 40, 60), layer("b", 64, 30, size=0.02, felt=100.0), layer("c", 8, 20)]
    return EntropyCurves(layers, Quantiser())


def test_coarser_steps_are_fewer_bits_and_more_loss(curves):
    for number in range(3):
        points = [curves.point(number, exponent) for exponent in (-3.0, -2.0, -1.0, 0.0, 1.0)]
        assert [p.bits for p in points] == sorted((p.bits for p in points), reverse=True)
        assert [p.loss for p in points] == sorted(p.loss for p in points)


def test_a_point_is_made_once(curves, monkeypatch):
    first = curves.point(0, -1.0)
    monkeypatch.setattr(EntropyCurves, "code", lambda *_: pytest.fail("quantised again"))
    assert curves.point(0, -1.0) is first


def test_shared_bits_leave_less_loss_than_equal_steps(curves):
    # Half an octave of b's steps is worth more or less than of a's: it is felt in another way.
    equal = [-1.0] * 3
    bits = curves.bits(equal)
    shared = curves.shared(-1.0, bits)
    spent = curves.bits(shared)
    assert spent == pytest.approx(bits, rel=0.03)

    def loss(exponents):
        return sum(curves.point(n, e).loss for n, e in enumerate(exponents))

    assert loss(shared) * 2 ** (2 * (spent - bits) / 4500) <= 1.01 * loss(equal)


def test_fewer_bits_are_coarser_steps(curves):
    fine, coarse = (curves.shared(-1.0, bits) for bits in (14_000, 8_000))
    assert (coarse >= fine).all()
    assert coarse.sum() > fine.sum()


def test_kept_tensors_are_stored_byte_by_byte_and_plans_can_be_put_in_order():
    state = {
        "a": Stream.of(0, "a").normal(600).reshape(20, 30),
        "b": np.arange(40, dtype=np.float32).reshape(4, 10),
    }
    with StateDictWeights(state) as weights:
        plan = make_plan(
            weights,
            parse_device("pcm-partial-reset"),
            "entropy-coded",
            cells_per_weight=4,
            keep={"b"},
        )
        assert [t.kind for t in plan.tensors] == ["entropy-coded", "raw"]
        turned = plan.in_order(["b", "a"])
        assert [t.info.name for t in turned.tensors] == ["b", "a"]
        with pytest.raises(InputError, match="'c'"):
            make_plan(weights, plan.device, "entropy-coded", cells_per_weight=4, keep={"c"})
