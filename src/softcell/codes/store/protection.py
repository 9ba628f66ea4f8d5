"""How strong a BCH code must be: from a raw bit error rate to an uncorrectable one."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from softcell.codes.store.bch import BCH
from softcell.codes.store.galois_field import PRIMITIVE_POLYNOMIALS, generator_degrees
from softcell.errors import InfeasibleError, InputError

# Past this many errors a decoder's tables grow beyond some 50 MB.
MOST_ERRORS = 1024

# Even at a raw bit error rate of 0.1, frames shorter than this gain nothing.
SHORTEST_FRAME = 64


def uncorrectable_bit_error_rate(n: int, k: int, t: int, raw: float) -> float:
    """Give the rate of codewords that cannot be corrected, per information bit.

    UBER = P(more than t of n bits are wrong) / k
         = sum over j > t of C(n, j) raw^j (1 - raw)^(n - j) / k,

    for independent bit errors. The tail is evaluated as the incomplete beta function
    I_raw(t + 1, n - t), which keeps about 13 digits however small it is.

    Args:
        n: Bits of a codeword.
        k: Information bits of a codeword, 1 to n.
        t: Bit errors that are corrected, from 0.
        raw: Raw bit error rate, in [0, 1].

    Returns:
        Uncorrectable bit error rate, in [0, 1 / k].

    Raises:
        InputError: An argument is out of range.

    Example:
        >>> f"{uncorrectable_bit_error_rate(4187, 4096, 7, 2.9e-5):.2e}"
        '2.55e-16'

    Source:
        Mielke et al., "Bit error rate in NAND Flash memories", IRPS 2008, pp. 9-19.
    """
    from scipy.special import betainc

    if not 1 <= k <= n or t < 0:
        raise InputError(
            "uncorrectable_bit_error_rate: expected 1 <= k <= n and t >= 0, "
            f"not n = {n}, k = {k}, t = {t}"
        )
    _check_raw(raw)
    if t >= n:
        return 0.0
    return float(betainc(t + 1, n - t, raw)) / k


def choose_bch(raw_bit_error_rate: float, *, uber: float = 1e-15, k: int = 4096) -> BCH:
    """Choose the weakest BCH code that brings a raw bit error rate down to an uncorrectable one.

    Frames of k bits are tried, and of k / 2, k / 4, ... down to 64 bits; for each the smallest
    sufficient t in the smallest field with room. Of these the code of the highest rate is
    taken, the longest among equals. Longer frames nearly always win, until at high error rates
    their parity needs a larger field. No code (t = 0) is chosen where none is needed.

    Args:
        raw_bit_error_rate: Probability that a stored bit is read wrongly, in [0, 1].
        uber: Uncorrectable bit error rate to reach, in (0, 1).
        k: Most information bits in a frame, from 1.

    Returns:
        The code.

    Raises:
        InputError: An argument is out of range.
        InfeasibleError: No code with t <= 1024 is strong enough.

    Example:
        >>> code = choose_bch(2.9e-5)
        >>> code.t, round(2 * code.rate, 3)  # bits per cell of 4 levels
        (7, 1.957)
    """
    _check_raw(raw_bit_error_rate)
    if not 0 < uber < 1:
        raise InputError(f"choose_bch: uber must lie between 0 and 1, not {uber}")
    if k < 1:
        raise InputError(f"choose_bch: k must be at least 1 bit, not {k}")
    if uncorrectable_bit_error_rate(k, k, 0, raw_bit_error_rate) <= uber:
        return BCH(k=k, t=0)
    best: BCH | None = None
    frame = k
    while frame == k or frame >= SHORTEST_FRAME:
        code = _weakest_code(frame, raw_bit_error_rate, uber)
        if code is not None and (best is None or code.rate > best.rate):
            best = code
        frame //= 2
    if best is None:
        raise InfeasibleError(
            f"no BCH code of up to {k} information bits and t <= {MOST_ERRORS} brings a raw bit "
            f"error rate of {raw_bit_error_rate:.3g} to an uncorrectable one of {uber:.3g}; "
            "use fewer levels per cell, a shorter storage time or a quieter device"
        )
    return best


def _weakest_code(k: int, raw: float, uber: float) -> BCH | None:
    """Find the least t that suffices for frames of k bits, in the smallest field with room."""
    from scipy.special import betainc

    for m in PRIMITIVE_POLYNOMIALS:
        if k >= 1 << m:
            continue
        degrees: NDArray[np.int64] = generator_degrees(m)[: MOST_ERRORS + 1]
        t = np.arange(degrees.size)[k + degrees < 1 << m]
        n = k + degrees[t]
        sufficient = np.flatnonzero(betainc(t + 1, n - t, raw) <= uber * k)
        if sufficient.size:
            return BCH(k=k, t=int(t[sufficient[0]]), m=m)
    return None


def _check_raw(raw: float) -> None:
    """Refuse what is no probability."""
    if not (math.isfinite(raw) and 0 <= raw <= 1):
        raise InputError(f"the raw bit error rate must lie in [0, 1], not {raw}")
