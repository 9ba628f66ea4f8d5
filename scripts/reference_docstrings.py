"""A griffe extension: docstrings as the reference shows them.

In the source a formula is a paragraph of plain text, and an example stands under "Example:". Here
the formula becomes a block of code, so that no star, bracket or bar of it is taken for Markdown,
and the example becomes a section that griffe knows.
"""

from __future__ import annotations

import re
import textwrap
from typing import Any

from griffe import Extension, Object

RELATION = re.compile(r" (=|~|<=|<-|->) ")
SECTION = re.compile(r"(Args|Attributes|Example|Raises|Returns|Source|Yields):")


def is_formula(paragraph: str) -> bool:
    """Say whether a paragraph is a formula: it holds a relation, no code, and is no sentence."""
    return bool(RELATION.search(paragraph)) and not re.search(r"`|[.:]\s*$", paragraph)


def for_the_reference(docstring: str) -> str:
    """Return a docstring with its formulas as blocks of code and its example as "Examples:"."""
    paragraphs = re.split(r"\n[ \t]*\n", docstring)
    for place, paragraph in enumerate(paragraphs):
        if SECTION.match(paragraph):
            break
        if place and not paragraph.startswith("    ") and is_formula(paragraph):
            paragraphs[place] = textwrap.indent(paragraph, "    ")
    text = "\n\n".join(paragraphs)
    return re.sub(r"^Example:$", "Examples:", text, flags=re.MULTILINE)


class ReferenceDocstrings(Extension):
    """Changes every docstring once it is loaded."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Change the docstring of an object."""
        if obj.docstring is not None:
            obj.docstring.value = for_the_reference(obj.docstring.value)
