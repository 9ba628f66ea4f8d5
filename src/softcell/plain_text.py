"""Texts that come of files, as they may be shown."""

from __future__ import annotations

import unicodedata


def plain(text: str) -> str:
    r"""Return a text with the control characters that it holds escaped, but for line breaks.

    What a file names may move a terminal's cursor, colour what follows, or turn its direction.

    Example:
        >>> print(plain("a\x1b[31m\u202eb"))
        a\x1b[31m\u202eb
    """
    if text.isprintable():
        return text
    return "".join(
        c.encode("unicode_escape").decode() if c != "\n" and _controls(c) else c for c in text
    )


def _controls(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Cs")
