"""How much of a cell's spread is reading."""

from __future__ import annotations

import numpy as np
import pytest

from softcell.devices import parse_device, read_noise_share
from softcell.devices.device import LEVELS


@pytest.mark.parametrize("name", ["ideal", "gaussian:snr_db=20", "pcm-partial-reset:read_noise=0"])
def test_cells_that_read_without_noise_have_none(name):
    assert read_noise_share(parse_device(name)) == 0


@pytest.mark.parametrize("noise", [0.0095, 0.019, 0.038])
def test_a_measured_cell_by_its_coefficients(noise):
    device = parse_device(f"pcm-partial-reset:read_noise={noise}")
    at = device.level.to_unit(np.linspace(0, 1, LEVELS))
    deviation = np.interp(at, device.inputs, device.deviation)
    total = np.maximum(deviation, noise) ** 2
    assert read_noise_share(device) == pytest.approx(noise**2 / total.mean(), rel=0.03)


def test_the_packaged_cell_has_the_bound_of_the_data():
    default = read_noise_share(parse_device("pcm-partial-reset"))
    assert default == pytest.approx(
        read_noise_share(parse_device("pcm-partial-reset:read_noise=0.019")), rel=0.01
    )
    assert 0.02 < default < 0.1


def test_more_read_noise_is_a_larger_share():
    shares = [
        read_noise_share(parse_device(f"pcm-partial-reset:read_noise={noise}"))
        for noise in (0, 0.01, 0.02, 0.04, 0.1, 2)
    ]
    assert shares == sorted(shares)
    assert len(set(shares)) == 6
    assert shares[-1] > 0.98


def test_it_is_a_share_of_every_device():
    for name in ("pcm-mushroom", "rram-wan", "pcm-sweep", "rram-reset"):
        assert 0 <= read_noise_share(parse_device(name)) < 1
    quantised = read_noise_share(parse_device("gaussian:snr_db=20+readout:bits=6"))
    assert quantised == 0
