"""The text of a file from a laboratory: compressed or not, in whatever encoding."""

from __future__ import annotations

import codecs
import gzip
import re
import zlib
from pathlib import Path

from softcell.errors import InputError

LARGEST, LONGEST, MOST = 1 << 25, 1 << 16, 1 << 20
"""Bytes of text, characters of a line, and lines that are read at most."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark is its first half
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1b\x7f]")
_SAMPLE = 4096
_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"


def read_text(path: Path) -> tuple[str, str]:
    r"""Return the text of a file, with \n between lines, and its encoding.

    UTF-8, UTF-16 and UTF-32 with and without a mark; what is none of them is Windows-1252.

    Raises:
        InputError: The file is missing, no text, damaged, or holds more than `LARGEST` bytes.
    """
    data = _bytes(path)
    if data.startswith(_ZIP):
        raise InputError(f"{path}: a zip archive or spreadsheet; export its table as CSV")
    text, encoding = _decoded(path, data)
    text = text.rstrip("\x1a").replace("\r\n", "\n").replace("\r", "\n")
    if text.count("\n") > MOST:
        raise InputError(f"{path}: more than {MOST:,} lines; fit a part of the measurements")
    found = _CONTROLS.search(text)
    if found:
        line = text.count("\n", 0, found.start()) + 1
        raise InputError(
            f"{path}, row {line}: not a readable CSV file (it holds control characters and is "
            "no text)"
        )
    longest = max(map(len, text.split("\n")))
    if longest > LONGEST:
        raise InputError(f"{path}: a line of {longest:,} characters; expected a table with lines")
    return text, encoding


def _bytes(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"{path}: not a readable CSV file (a folder or no regular file)")
        with path.open("rb") as plain:
            packed = plain.read(2) == _GZIP
        with gzip.open(path) if packed else path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, EOFError, zlib.error, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not a readable CSV file ({error})") from None
    if len(data) > LARGEST:
        raise InputError(
            f"{path}: more than {LARGEST >> 20} MiB of text; fit a part of the measurements"
        )
    return data


def _decoded(path: Path, data: bytes) -> tuple[str, str]:
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    if encoding is None:
        zeros = [data[at:_SAMPLE:2].count(0) for at in (0, 1)]
        if 4 * max(zeros) > len(data[:_SAMPLE]) and 8 * min(zeros) < max(zeros):
            encoding = "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"
    try:
        return data.decode(encoding or "utf-8"), encoding or "utf-8"
    except UnicodeDecodeError as error:
        if encoding is not None:
            raise InputError(f"{path}: not a readable CSV file ({error})") from None
    try:
        return data.decode("cp1252"), "Windows-1252"
    except UnicodeDecodeError:
        return data.decode("latin-1"), "Latin-1"
