"""Docstrings as mkdocstrings reads them: roles (``:class:`Name```) become links, each parameter stands alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from griffe import Extension, NameResolutionError, Object

_ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod):`~?([^`]+)`")
_BLOCK = re.compile(r"::$", re.MULTILINE)
_SECTION = re.compile(r"^(?:Args|Attributes):\n(?:[ ]+.*\n?|\n(?=[ ]))+", re.MULTILINE)
_TOGETHER = re.compile(r"^( +)(\w+(?:, \w+)+):(.*(?:\n\1 +.*)*)$", re.MULTILINE)


class Docstrings(Extension):
    """Rewrites every docstring before it is parsed."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Rewrite the docstring of a module, class, function or attribute."""
        if obj.docstring:
            obj.docstring.value = rewritten(obj.docstring.value, lambda name: full_name(obj, name))


def rewritten(docstring: str, full_name: Callable[[str], str]) -> str:
    """A docstring in Markdown. Names that have no place in the reference stay code."""

    def linked(role: re.Match[str]) -> str:
        shown = role[1].removeprefix("recbole_cadmr.")
        return f'<autoref identifier="{full_name(role[1])}" optional><code>{shown}</code></autoref>'

    text = _ROLE.sub(linked, _BLOCK.sub(":", docstring))
    return _SECTION.sub(lambda section: _TOGETHER.sub(_alone, section[0]), text)


def _alone(entry: re.Match[str]) -> str:
    indent, names, meaning = entry.groups()
    return "\n".join(f"{indent}{name}:{meaning}" for name in names.split(", "))


def full_name(obj: Object, name: str) -> str:
    """What a name in the docstring of an object stands for; the name itself where its module does not know it."""
    try:
        return obj.resolve(name)
    except NameResolutionError:
        return name
