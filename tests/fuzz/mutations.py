"""Ways to damage a file: its bytes, its text, or the values of its JSON, all from one generator."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np

_RAW = "@raw{}@"
RAW_JSON = (
    *("NaN", "Infinity", "-Infinity", "1e999", "-0", "1E400", "0x10", "01", "'a'", "undefined"),
    *("[" * 400 + "]" * 400, "[" * 20_000 + "]" * 20_000, '{"a":' * 3_000 + "1" + "}" * 3_000),
    *('{"a": 1, "a": 2}', "9" * 4_000, "9" * 5_000, "1" + "0" * 400, '"\\ud800"', '"\\u0000"'),
)
"""JSON texts, valid and not, that no Python value is written as."""

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 3, 7, 8, 16, 255, 256, 65_535, 65_536),
    *(2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**12, 10**18, -(2**63)),
    *(0.5, -0.0, -1.5, 1e-320, 1e-30, 1e30, 1e308, -1e308, 3.4e38, 0.1, 10**400),
    *("", "x", "x" * 300, "nan", "é", "\x00", "\x1b[31m", "[red]", "a/b", "../..", "1e5"),
    *("F32", "BF16", "F8_E4M3", "I64", "BOOL", "float32", "uint8", "object", "int8", "raw"),
    *([], {}, [[]], [0], [-1], [1.5], [True], ["x"], [10**12], [0, 10**12], [2**31, 2**32]),
    *([1] * 40, [0] * 1_000, [[1, 2], [3]], {"kind": "ideal"}, {"kind": "gaussian"}, {"": 0}),
)
"""Values that stand where others were expected."""

_NUMBERS = b"\x00\x01\x7f\x80\xff"
_TOKENS = (
    *("", "nan", "inf", "-inf", "1e309", "-1", "0", "1e-320", "9" * 400, "0x1p3", "1_000", "١"),
    *('"', "'", ",", ";", ":", "=", "+", "..", "...", "\t", "\n", "\r", "\x00", "\ufeff", "é"),
    *("[[", "]]", "{", "}", "#", "true", "false", "x" * 300, "kind", "measured", "1979-05-27"),
)


def damaged_bytes(data: bytes, generator: np.random.Generator) -> bytes:
    """Return bytes with one to four places of them altered."""
    out = bytearray(data)
    for _ in range(int(generator.integers(1, 5))):
        size = len(out)
        at = int(generator.integers(0, size + 1))
        span = int(min(generator.integers(1, 9) ** generator.integers(1, 5), size - at))
        match int(generator.integers(0, 8)):
            case 0 if at < size:
                out[at] ^= 1 << int(generator.integers(0, 8))
            case 1 if at < size:
                out[at] = _NUMBERS[int(generator.integers(0, len(_NUMBERS)))]
            case 2:
                del out[at : at + span]
            case 3:
                out[at:at] = generator.bytes(int(generator.integers(1, 17)))
            case 4:
                out[at : at + span] = bytes([_NUMBERS[int(generator.integers(0, 5))]]) * span
            case 5:
                other = int(generator.integers(0, size + 1))
                out[at : at + span] = out[other : other + span]
            case 6:
                number = int(VALUES[int(generator.integers(4, 24))])
                out[at : at + 8] = (number & (1 << 64) - 1).to_bytes(8, "little")
            case _:
                if generator.integers(0, 4) == 0:
                    del out[at:]
                else:
                    out[at : at + span] = generator.bytes(span)
    return bytes(out)


def damaged_text(text: str, generator: np.random.Generator) -> str:
    """Return a text with one to four places of it altered by what parsers look for."""
    for _ in range(int(generator.integers(1, 5))):
        at = int(generator.integers(0, len(text) + 1))
        to = at + int(generator.integers(0, 6) ** generator.integers(1, 4))
        token = _TOKENS[int(generator.integers(0, len(_TOKENS)))]
        match int(generator.integers(0, 5)):
            case 0:
                text = text[:at] + token + text[at:]
            case 1:
                text = text[:at] + token + text[to:]
            case 2:
                text = text[:at] + text[to:]
            case 3:
                other = int(generator.integers(0, len(text) + 1))
                text = text[:at] + text[other : other + to - at] + text[at:]
            case _:
                text = text[:at] + chr(int(generator.integers(0, 0x250))) + text[at + 1 :]
    return text


def damaged_json(values: Any, generator: np.random.Generator) -> str:
    """Return the JSON text of values, one to three of them replaced, moved, doubled or removed."""
    values, raw = copy.deepcopy(values), {}
    for number in range(int(generator.integers(1, 4))):
        holder = {"": values}
        inside, key = _place(holder, generator)
        match int(generator.integers(0, 8)):
            case 0:
                text = _RAW.format(number)
                raw[json.dumps(text)] = RAW_JSON[int(generator.integers(0, len(RAW_JSON)))]
                inside[key] = text
            case 1 if inside is not holder:
                del inside[key]
            case 2 if isinstance(inside, dict) and inside is not holder:
                inside[_pick(generator, VALUES[37:47])] = inside.pop(key)
            case 3:
                other, name = _place(holder, generator)
                inside[key] = copy.deepcopy(other[name])
            case 4 if isinstance(inside[key], list):
                inside[key] = inside[key] * 2
            case 5 if type(inside[key]) in (int, float) and abs(inside[key]) < 1e300:
                inside[key] += _pick(generator, (1, -1, 0.5, 7, -1000))
            case 6 if type(inside[key]) in (int, float) and abs(inside[key]) < 1e300:
                inside[key] *= _pick(generator, (2, -1, 0.5, 1000, 10**12))
            case _:
                inside[key] = copy.deepcopy(_pick(generator, VALUES))
        values = holder[""]
    text = json.dumps(values)
    for mark, instead in raw.items():
        text = text.replace(mark, instead)
    return damaged_text(text, generator) if generator.integers(0, 20) == 0 else text


def _pick(generator: np.random.Generator, choices: tuple[Any, ...]) -> Any:
    return choices[int(generator.integers(0, len(choices)))]


def _place(values: Any, generator: np.random.Generator) -> tuple[Any, Any]:
    """Return holder and key of a value: any way down, ending anywhere on it."""
    while True:
        keys = list(values) if isinstance(values, dict) else range(len(values))
        key = keys[int(generator.integers(0, len(keys)))]
        inner = values[key]
        if not (isinstance(inner, dict | list) and inner) or generator.integers(0, 5) == 0:
            return values, key
        values = inner
