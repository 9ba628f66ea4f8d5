"""The inner loops of the BCH codec: division, syndromes, Berlekamp-Massey and root search.

All of them are compiled, hold no lock and work on one frame at a time, so a frame's result
depends on nothing but that frame. They stay in one file: a compiled function is cached by the
file that it is in, and would not notice a change in another.

Bit 0 of a frame of ``length`` bits is the coefficient of x^(length - 1).
"""

from __future__ import annotations

import numpy as np

from softcell.compiled import compiled

_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_BYTE = np.uint64(255)
_TOP = np.uint64(63)


@compiled()
def _pack(bits, words):
    """Gather bits into words, the last bit lowest; leading zeros fill the first word."""
    head = bits.size - 64 * (words.size - 1)
    word = _ZERO
    for i in range(head):
        word |= np.uint64(bits[i]) << np.uint64(head - 1 - i)
    words[0] = word
    for w in range(1, words.size):
        begin = head + 64 * (w - 1)
        sixty_four = bits[begin : begin + 64]
        word = _ZERO
        for i in range(64):
            word |= np.uint64(sixty_four[i]) << np.uint64(63 - i)
        words[w] = word


@compiled()
def _unpack(word, bits):
    """Spread a word's uppermost bits."""
    for i in range(bits.size):
        bits[i] = (word >> np.uint64(63 - i)) & _ONE


@compiled()
def _copy(source, target):
    """Copy into the beginning of the target, several times faster than a slice assignment."""
    for i in range(source.size):
        target[i] = source[i]


@compiled()
def _divide(bits, words, table, remainder):
    """Leave bits(x) * x^parity modulo the generator in ``remainder``, left-aligned.

    A step takes in 64 bits: what they push out of the remainder's top word is replaced, byte by
    byte, by what it is modulo the generator. ``words`` is room for the packed bits.

    Returns:
        Whether the remainder is other than zero.
    """
    _pack(bits, words)
    last = remainder.size - 1
    remainder[:] = _ZERO
    for i in range(words.size):
        out = words[i] ^ remainder[0]
        row0 = table[0, np.int64(out & _BYTE)]
        row1 = table[1, np.int64((out >> np.uint64(8)) & _BYTE)]
        row2 = table[2, np.int64((out >> np.uint64(16)) & _BYTE)]
        row3 = table[3, np.int64((out >> np.uint64(24)) & _BYTE)]
        row4 = table[4, np.int64((out >> np.uint64(32)) & _BYTE)]
        row5 = table[5, np.int64((out >> np.uint64(40)) & _BYTE)]
        row6 = table[6, np.int64((out >> np.uint64(48)) & _BYTE)]
        row7 = table[7, np.int64(out >> np.uint64(56))]
        for w in range(last):
            low = row0[w] ^ row1[w] ^ row2[w] ^ row3[w]
            remainder[w] = remainder[w + 1] ^ low ^ row4[w] ^ row5[w] ^ row6[w] ^ row7[w]
        low = row0[last] ^ row1[last] ^ row2[last] ^ row3[last]
        remainder[last] = low ^ row4[last] ^ row5[last] ^ row6[last] ^ row7[last]
    left = _ZERO
    for w in range(last + 1):
        left |= remainder[w]
    return left != _ZERO


@compiled()
def encode_frames(bits, table, codewords):
    """Write every frame's information bits, then its parity, into ``codewords``."""
    count = bits.shape[1]
    parity = codewords.shape[1] - count
    words = np.empty((count + 63) // 64, dtype=np.uint64)
    remainder = np.empty(table.shape[2], dtype=np.uint64)
    for frame in range(bits.shape[0]):
        _copy(bits[frame], codewords[frame])
        _divide(bits[frame], words, table, remainder)
        for begin in range(0, parity, 64):
            end = min(begin + 64, parity)
            _unpack(remainder[begin >> 6], codewords[frame, count + begin : count + end])


@compiled()
def _add(total, term):
    """Add field elements one by one: a loop that compiles to vector instructions."""
    for i in range(total.size):
        total[i] ^= term[i]


@compiled()
def _evaluate(remainder, parity, table, powers, logarithms, odd, syndromes):
    """Evaluate the received word at alpha, ..., alpha^(2t), by way of its remainder alone."""
    odd[:] = 0
    for i in range(parity):
        if (remainder[i >> 6] >> (_TOP - np.uint64(i & 63))) & _ONE:
            _add(odd, table[parity - 1 - i])
    for j in range(1, syndromes.size + 1):
        if j & 1:
            syndromes[j - 1] = odd[j >> 1]
        else:
            syndromes[j - 1] = powers[2 * logarithms[syndromes[(j >> 1) - 1]]]


@compiled()
def _locate(syndromes, powers, logarithms, order, locator, previous, saved):
    """Find the shortest error locator for the syndromes S_1 to S_2t, by Berlekamp and Massey.

    A binary code's even syndromes are squares of others, so every second discrepancy is zero
    and its step is skipped.

    Returns:
        The degree of the locator, or -1 where more than t errors would be needed.
    """
    t = syndromes.size // 2
    locator[:] = 0
    previous[:] = 0
    locator[0] = 1
    previous[0] = 1
    degree = 0
    previous_degree = 0
    previous_log = 0
    gap = 1
    for step in range(0, 2 * t, 2):
        discrepancy = syndromes[step]
        for i in range(1, degree + 1):
            discrepancy ^= powers[logarithms[locator[i]] + logarithms[syndromes[step - i]]]
        if discrepancy == 0:
            gap += 2
            continue
        grows = 2 * degree <= step
        if grows and step + 1 - degree > t:
            return -1
        if grows:
            saved[: degree + 1] = locator[: degree + 1]
        scale = logarithms[discrepancy] + order - previous_log
        if scale >= order:
            scale -= order
        for i in range(previous_degree + 1):
            locator[i + gap] ^= powers[scale + logarithms[previous[i]]]
        if grows:
            previous[: degree + 1] = saved[: degree + 1]
            previous_degree = degree
            previous_log = logarithms[discrepancy]
            degree = step + 1 - degree
            gap = 2
        else:
            gap += 2
    return degree


@compiled()
def _find_roots(locator, degree, tables, logarithms, values, positions):
    """Find the places p < values.size at which an error alpha^p satisfies the locator.

    The reversed locator, x^degree * locator(1 / x), is evaluated at every alpha^p.

    Returns:
        How many there are; ``positions`` receives them.
    """
    monomials, cycles, inverses = tables
    length = values.size
    order = monomials.shape[1]
    values[:] = locator[degree]
    for power in range(1, degree + 1):
        if locator[degree - power] == 0:
            continue
        logarithm = logarithms[locator[degree - power]]
        cycle_length = order // cycles[power]
        cycle = logarithm % cycles[power]
        place = logarithm // cycles[power] * inverses[power] % cycle_length
        cycle_start = cycle * cycle_length
        position = 0
        while position < length:
            run = min(length - position, cycle_length - place)
            begin = cycle_start + place
            _add(values[position : position + run], monomials[power, begin : begin + run])
            position += run
            place = 0
    found = 0
    for start in range(0, length, 64):
        block = values[start : start + 64]
        any_root = False
        for i in range(block.size):
            any_root |= block[i] == 0
        if any_root:
            for i in range(block.size):
                if block[i] == 0:
                    positions[found] = start + i
                    found += 1
    return found


@compiled()
def decode_frames(
    received, division, syndrome_table, search_tables, powers, logarithms, bits, corrected, failed
):
    """Correct every frame into ``bits``, counting its errors, or flag it as failed.

    A frame is failed, and its information bits are left as received, where Berlekamp and
    Massey's locator needs more than t errors, has not as many distinct roots inside the frame
    as its degree, or leads to a word that is no codeword.
    """
    count = bits.shape[1]
    length = received.shape[1]
    parity = length - count
    t = syndrome_table.shape[1]
    order = search_tables[0].shape[1]
    words = np.empty((length + 63) // 64, dtype=np.uint64)
    remainder = np.empty(division.shape[2], dtype=np.uint64)
    odd = np.empty(t, dtype=np.uint16)
    syndromes = np.empty(2 * t, dtype=np.uint16)
    locator = np.empty(t + 1, dtype=np.uint16)
    previous = np.empty(t + 1, dtype=np.uint16)
    saved = np.empty(t + 1, dtype=np.uint16)
    values = np.empty(length, dtype=np.uint16)
    positions = np.empty(t, dtype=np.int64)
    word = np.empty(length, dtype=np.uint8)
    for frame in range(received.shape[0]):
        _copy(received[frame, :count], bits[frame])
        corrected[frame] = 0
        failed[frame] = False
        if not _divide(received[frame], words, division, remainder):
            continue
        failed[frame] = True
        _evaluate(remainder, parity, syndrome_table, powers, logarithms, odd, syndromes)
        degree = _locate(syndromes, powers, logarithms, order, locator, previous, saved)
        if degree < 1:
            continue
        if _find_roots(locator, degree, search_tables, logarithms, values, positions) != degree:
            continue
        _copy(received[frame], word)
        for i in range(degree):
            word[length - 1 - positions[i]] ^= 1
        if _divide(word, words, division, remainder):
            continue
        _copy(word[:count], bits[frame])
        corrected[frame] = degree
        failed[frame] = False
