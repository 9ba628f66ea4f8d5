"""Scales of sixteen bits, against torch's bfloat16."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from softcell.bfloat16 import expand, round_up

LARGEST = float(torch.finfo(torch.bfloat16).max)


def torch_bits(values: np.ndarray) -> np.ndarray:
    """Bits of the nearest bfloat16."""
    return torch.from_numpy(values).to(torch.bfloat16).view(torch.int16).numpy().view(np.uint16)


def test_every_bfloat16_stays_as_it_is():
    bits = np.arange(0x7F80, dtype=np.uint16)  # all that are finite and not negative
    values = expand(bits)
    assert (torch_bits(values) == bits).all()
    assert (round_up(values) == bits).all()


@given(value=st.floats(0, LARGEST, width=32))
def test_the_next_bfloat16_at_or_above(value):
    values = np.array([value], np.float32)
    up = expand(round_up(values))
    assert up >= values
    nearest = expand(torch_bits(values))
    assert up == nearest if nearest >= values else up > nearest
    below = expand(round_up(values) - np.uint16(1)) if up > 0 else np.float32(-1)
    assert below < values


@given(value=st.floats(2.0**-126, LARGEST, width=32))
def test_a_scale_grows_by_less_than_one_part_in_128(value):
    up = float(expand(round_up(np.array([value], np.float32)))[0])
    assert value <= up <= value * (1 + 2**-7)


def test_what_no_bfloat16_reaches_takes_the_largest():
    top = np.array([3.4e38, np.finfo(np.float32).max], np.float32)
    assert expand(round_up(top)).tolist() == [LARGEST, LARGEST]


def test_zero_of_either_sign_is_zero():
    assert expand(round_up(np.array([0.0, -0.0], np.float32))).tolist() == [0.0, 0.0]
