"""Make bch_galois.json: BCH codewords and decodings by the galois library, an independent tool.

Run: python tests/codes/store/vectors/make_bch_vectors.py
It needs galois 0.4 (extra "dev") and takes a few minutes. Bits are written as hexadecimal
integers, the first bit highest.
"""

from __future__ import annotations

import json
from pathlib import Path

import galois
import numpy as np

from softcell.codes.store.galois_field import PRIMITIVE_POLYNOMIALS

# m, t, information bits k' of the (shortened) codewords
CODES = [
    (3, 1, (4, 1)),
    (4, 1, (11, 5)),
    (4, 2, (7, 3)),
    (4, 3, (5, 2)),
    (4, 7, (1,)),
    (5, 2, (21, 8)),
    (5, 3, (16,)),
    (5, 5, (11,)),
    (6, 4, (39, 17)),
    (6, 10, (18, 9)),
    (7, 9, (71, 64)),
    (8, 5, (215, 128)),
    (8, 18, (131, 100)),
    (9, 12, (403, 256)),
    (10, 10, (923, 512)),
    (10, 57, (513, 65)),
    (11, 20, (1024,)),
    (13, 7, (4096,)),
]
CODEWORDS = 3


def as_hex(bits: np.ndarray) -> str:
    return hex(int("".join(map(str, np.asarray(bits).tolist())), 2))


def vectors_of(m: int, t: int, lengths: tuple[int, ...], rng: np.random.Generator) -> dict:
    polynomial = galois.Poly.Int(PRIMITIVE_POLYNOMIALS[m])
    field = galois.GF(2**m, irreducible_poly=polynomial, primitive_element=2)
    code = galois.BCH(2**m - 1, d=2 * t + 1, extension_field=field, alpha=field(2))
    encoded = []
    decoded = []
    for length in lengths:
        information = galois.GF2(rng.integers(0, 2, (CODEWORDS, length), dtype=np.uint8))
        codewords = code.encode(information)
        encoded += [{"bits": length, "codeword": as_hex(word)} for word in codewords]
        for weight in (t, t + 1, t + 2):
            if weight > codewords.shape[1]:
                continue
            received = codewords.copy()
            for word in received:
                places = rng.choice(word.size, weight, replace=False)
                word[places] += galois.GF2(1)
            information, errors = code.decode(received, errors=True)
            # errors is -1 where galois gives up; it then returns the bits as received.
            decoded += [
                {"bits": length, "received": as_hex(r), "decoded": as_hex(i), "corrected": int(e)}
                for r, i, e in zip(received, information, errors)
            ]
    return {
        "m": m,
        "t": t,
        "k": code.k,
        "n": code.n,
        "generator": hex(int(code.generator_poly)),
        "encoded": encoded,
        "decoded": decoded,
    }


def main() -> None:
    rng = np.random.default_rng(20240229)
    codes = [vectors_of(m, t, lengths, rng) for m, t, lengths in CODES]
    text = json.dumps({"tool": f"galois {galois.__version__}", "codes": codes}, indent=1)
    Path(__file__).with_name("bch_galois.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
