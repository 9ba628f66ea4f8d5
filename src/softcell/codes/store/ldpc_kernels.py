"""The inner loops of the LDPC codec: encoding, layered min-sum decoding, the syndrome.

All of them are compiled, hold no lock and work on one frame at a time, so a frame's result
depends on nothing but that frame, and decoding stops as soon as that frame is a codeword. A base
row is Z checks side by side, which LLVM turns into vector instructions on int8 and int16. The
circulants' rotations cost next to nothing: every base column is kept twice in a row (2 Z numbers),
rotated as its last reader wanted it, and the next one reads Z of them from an offset that is known
beforehand. Posteriors are int16: an int8 one saturates on the columns with many checks, and a
frame that had converged falls apart. The loops stay in one file: a compiled function is cached by
the file that it is in, and would not notice a change in another.
"""

from __future__ import annotations

import numpy as np

from softcell.compiled import compiled

FACTOR = 25
"""Min-sum factor in 32nds: 0.78, the best for these matrices."""

LARGEST = 125
"""Bound of a magnitude that enters a check; scaled by 0.78 it leaves as at most 98."""


@compiled()
def _gather(posterior, message, extrinsic, least, second, sign):
    """Take one column into a row's two least magnitudes and its product of signs.

    ``extrinsic`` is what the column knows without this row's own last message.
    """
    for z in range(extrinsic.size):
        wide = np.int16(posterior[z] - message[z])
        extrinsic[z] = wide
        q = np.int8(min(max(wide, np.int16(-LARGEST)), np.int16(LARGEST)))
        sign[z] ^= q
        a = np.int8(max(q, np.int8(-q)))
        m = least[z]
        least[z] = min(a, m)
        second[z] = min(second[z], max(a, m))


@compiled()
def _scale(least, second, of_others, of_least):
    """Multiply by the min-sum factor and round."""
    for z in range(least.size):
        of_others[z] = np.int8((np.int16(least[z]) * np.int16(FACTOR) + np.int16(16)) >> 5)
        of_least[z] = np.int8((np.int16(second[z]) * np.int16(FACTOR) + np.int16(16)) >> 5)


@compiled()
def _scatter(extrinsic, least, of_others, of_least, sign, message, first, again):
    """Tell one column the least magnitude of the others with their sign; keep the sum twice."""
    for z in range(message.size):
        wide = extrinsic[z]
        q = np.int8(min(max(wide, np.int16(-LARGEST)), np.int16(LARGEST)))
        a = np.int8(max(q, np.int8(-q)))
        if_least, if_other = of_least[z], of_others[z]
        m = if_least if a == least[z] else if_other
        negative = np.int8((sign[z] ^ q) >> 7)
        r = np.int8((m ^ negative) - negative)
        message[z] = r
        v = np.int16(wide + r)
        first[z] = v
        again[z] = v


@compiled()
def _exclusive_or(value, total):
    """Add bit by bit."""
    for z in range(total.size):
        total[z] ^= value[z]


@compiled()
def _is_codeword(posterior, starts, columns, offsets, size, parity):
    """Say whether the signs satisfy every check; a wrong frame is found out in the first rows."""
    for row in range(starts.size - 1):
        parity[:] = 0
        for e in range(starts[row], starts[row + 1]):
            at = columns[e] * 2 * size + offsets[e]
            _exclusive_or(posterior[at : at + size], parity)
        negative = np.int16(0)
        for z in range(size):
            negative |= parity[z]
        if negative < 0:
            return False
    return True


@compiled()
def _iterate(posterior, messages, starts, columns, offsets, size, extrinsics, work):
    """Pass once over all rows; each sees what the rows before it have learnt."""
    least, second, of_others, of_least, sign = work
    for row in range(starts.size - 1):
        begin, end = starts[row], starts[row + 1]
        least[:] = LARGEST
        second[:] = LARGEST
        sign[:] = 0
        for e in range(begin, end):
            at = columns[e] * 2 * size + offsets[e]
            seen = posterior[at : at + size]
            _gather(seen, messages[e], extrinsics[e - begin], least, second, sign)
        _scale(least, second, of_others, of_least)
        for e in range(begin, end):
            at = columns[e] * 2 * size
            first, again = posterior[at : at + size], posterior[at + size : at + 2 * size]
            extrinsic, message = extrinsics[e - begin], messages[e]
            _scatter(extrinsic, least, of_others, of_least, sign, message, first, again)


@compiled()
def decode_frames(ratios, graph, size, iterations, bits, used):
    """Decode every frame by layered normalised min-sum.

    Args:
        ratios: Log-likelihood ratios in steps, int8, positive for 0; (frames, columns * size).
        graph: First entry of each row; column of each entry; its offset into the column as the
            entry before left it; its offset when all rows are done; rotation of each column then.
        size: Lifting size.
        iterations: Passes over all rows, at most.
        bits: Receives the decisions, (frames, columns * size).
        used: Receives the passes after which the frame was a codeword, 0 if it never was.
    """
    starts, columns, offsets, final_offsets, rotations = graph
    posterior = np.empty(rotations.size * 2 * size, np.int16)
    messages = np.empty((columns.size, size), np.int8)
    extrinsics = np.empty((np.max(starts[1:] - starts[:-1]), size), np.int16)
    parity = np.empty(size, np.int16)
    work = (
        np.empty(size, np.int8),
        np.empty(size, np.int8),
        np.empty(size, np.int8),
        np.empty(size, np.int8),
        np.empty(size, np.int8),
    )
    for frame in range(ratios.shape[0]):
        for c in range(rotations.size):
            for z in range(size):
                place = z - rotations[c]
                place += size if place < 0 else 0
                posterior[2 * c * size + place] = ratios[frame, c * size + z]
                posterior[(2 * c + 1) * size + place] = ratios[frame, c * size + z]
        messages[:] = 0
        used[frame] = 0
        for iteration in range(iterations):
            _iterate(posterior, messages, starts, columns, offsets, size, extrinsics, work)
            if _is_codeword(posterior, starts, columns, final_offsets, size, parity):
                used[frame] = iteration + 1
                break
        for c in range(rotations.size):
            for z in range(size):
                place = z - rotations[c]
                place += size if place < 0 else 0
                bits[frame, c * size + z] = posterior[2 * c * size + place] < 0


@compiled()
def _add_row(word, begin, end, columns, shifts, size, known, total):
    """Leave the sum of a row's entries in the columns below ``known``."""
    total[:] = 0
    for e in range(begin, end):
        if columns[e] < known:
            at = columns[e] * 2 * size + shifts[e]
            _exclusive_or(word[at : at + size], total)


@compiled()
def encode_frames(bits, starts, columns, shifts, size, systematic, turn, codewords):
    """Write every frame's information bits, then its parity, into ``codewords``.

    The four core rows add up to the first parity column alone, rotated by ``turn``. With that
    known every row but the fourth has a single unknown column, whose shift is 0.
    """
    rows = starts.size - 1
    word = np.empty((systematic + rows) * 2 * size, np.uint8)
    total = np.empty(size, np.uint8)
    core = np.empty(size, np.uint8)
    for frame in range(bits.shape[0]):
        for c in range(systematic):
            for z in range(size):
                bit = bits[frame, c * size + z]
                word[2 * c * size + z] = bit
                word[(2 * c + 1) * size + z] = bit
        core[:] = 0
        for row in range(4):
            _add_row(word, starts[row], starts[row + 1], columns, shifts, size, systematic, total)
            _exclusive_or(total, core)
        for z in range(size):
            place = (z + turn) % size
            word[2 * systematic * size + place] = core[z]
            word[(2 * systematic + 1) * size + place] = core[z]
        for row in range(rows):
            if row == 3:
                continue
            target = systematic + row + (1 if row < 3 else 0)
            _add_row(word, starts[row], starts[row + 1], columns, shifts, size, target, total)
            for z in range(size):
                word[2 * target * size + z] = total[z]
                word[(2 * target + 1) * size + z] = total[z]
        for c in range(systematic + rows):
            for z in range(size):
                codewords[frame, c * size + z] = word[2 * c * size + z]
