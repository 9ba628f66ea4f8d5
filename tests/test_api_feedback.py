"""The closed write loop through the public functions."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import softcell
from softcell.curvature import calibrate
from softcell.errors import InputError
from softcell.feedback import correct_drift

DEVICE = "gaussian:snr_db=8"


def inputs(count, seed):
    return torch.rand(count, 24, generator=torch.Generator().manual_seed(seed)) @ MIX


# A few directions only, so that errors of some weights can be made up for by others.
MIX = torch.randn(24, 24, generator=torch.Generator().manual_seed(1)) * (
    torch.arange(24) < 4
).unsqueeze(1) + 0.1 * torch.eye(24)


@pytest.fixture(scope="module")
def module():
    torch_generator = torch.Generator().manual_seed(0)
    net = nn.Sequential(nn.Linear(24, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10))
    for parameter in net.parameters():
        with torch.no_grad():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=torch_generator))
    net(inputs(200, 2))
    return net.eval()


@pytest.fixture(scope="module")
def calibration(module):
    return calibrate(module, inputs(300, 3), seed=0)


def output_error(module, restored):
    """Mean square error of the outputs on fresh inputs, over their variance."""
    fresh = inputs(500, 4)
    with torch.no_grad():
        wanted = module(fresh)
        stored = {n: torch.from_numpy(v) for n, v in restored.items()}
        got = torch.func.functional_call(module, stored, (fresh,))
    return float(((got - wanted) ** 2).mean() / wanted.var())


def test_the_loop_keeps_what_the_network_says(module, calibration, tmp_path):
    options = {"device": DEVICE, "scheme": "sign", "cells_per_weight": 4.0}
    state = module.state_dict()
    errors = {"open": [], "closed": [], "corrected": []}
    correct = partial(correct_drift, module, images=inputs(300, 5))
    for seed in range(4):
        for kind, own in (
            ("open", {}),
            ("closed", {"calibration": calibration}),
            ("corrected", {"calibration": calibration, "correct": correct}),
        ):
            header = softcell.write(state, tmp_path / "x.cells", seed=seed, **options, **own)
            assert header.chip == (None if kind == "open" else f"simulated:{seed}")
            restored = softcell.read(tmp_path / "x.cells", seed=seed)
            errors[kind].append(output_error(module, restored))
    means = {kind: np.mean(values) for kind, values in errors.items()}
    assert means["closed"] < 0.5 * means["open"]
    assert means["corrected"] < means["closed"]


def test_a_chip_is_kept_and_read(module, calibration, tmp_path):
    image, chip = tmp_path / "x.cells", tmp_path / "chip.safetensors"
    options = {"device": "pcm-mushroom", "scheme": "sign", "cells_per_weight": 4.0}
    softcell.write(
        module.state_dict(), image, calibration=calibration, chip=chip, seed=9, **options
    )
    stored = softcell.read(image, chip=chip, age="1d")
    simulated = softcell.read(image, seed=9, age="1d")
    for name, values in simulated.items():
        np.testing.assert_array_equal(stored[name], values)
    softcell.restore(image, tmp_path / "r.safetensors", chip=chip, age="1d")
    with pytest.raises(InputError, match="for chip simulated:9 alone"):
        softcell.read(image, seed=8)
    with pytest.raises(InputError, match="real chip"):
        softcell.restore(image, tmp_path / "r", chip=chip, readings=tmp_path / "x.npy")


def test_more_verifying_reads_see_more(module, calibration, tmp_path):
    options = {
        "device": "pcm-partial-reset:read_noise=0.1",
        "scheme": "sign",
        "cells_per_weight": 4.0,
        "calibration": calibration,
    }
    errors = []
    for reads in (1, 16):
        found = []
        for seed in range(6):
            softcell.write(
                module.state_dict(), tmp_path / "x", seed=seed, verify_reads=reads, **options
            )
            found.append(output_error(module, softcell.read(tmp_path / "x", seed=seed)))
        errors.append(np.mean(found))
    assert errors[1] < errors[0]


def test_what_belongs_to_the_loop_needs_a_calibration(module, calibration, tmp_path):
    for own in ({"correct": lambda state: {}}, {"verify_reads": 2}):
        with pytest.raises(InputError, match="need a calibration"):
            softcell.write(module.state_dict(), tmp_path / "x.cells", scheme="int8", **own)
    for scheme in ("int8", "float16", "fixed-length"):
        with pytest.raises(InputError, match="not written through the feedback loop"):
            softcell.write(
                module.state_dict(),
                tmp_path / "x.cells",
                scheme=scheme,
                calibration=calibration,
                cells_per_weight=2.0,
            )
    assert not (tmp_path / "x.cells").exists()
