"""What raw data say, as text: nested values, and one line without HTML markup, as a browser would show it."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator

# Of words in angle brackets only these are tags: "Blade <Import>" and "a < b" stay what they are.
_INLINE = """
    a abbr acronym b bdi bdo big cite code data del dfn em font i ins kbd label mark nobr q s samp small span strike
    strong sub sup time tt u var wbr
"""
_BLOCK = """
    address applet area article aside audio base basefont blockquote body br button canvas caption center col colgroup
    dd details dialog dir div dl dt embed fieldset figcaption figure footer form frame frameset h1 h2 h3 h4 h5 h6 head
    header hgroup hr html iframe img input legend li link main map menu meta nav noscript object ol optgroup option p
    param picture pre progress script section select source style summary svg table tbody td template textarea tfoot
    th thead title tr track ul video
"""
_NAMES = "|".join((_INLINE + _BLOCK).split())
_MARK = re.compile(rf"<!--|-->|<!doctype\b[^<>]*>|</?({_NAMES})(?:[\s/][^<>]*)?>", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});")
_UNSHOWN = {"<!--": "-->", "<script": "</script", "<style": "</style"}  # by how they begin, how they end
_ENDS = re.compile("\r\n|[\t\r\n]")  # of fields and lines
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def as_text(value: object) -> str:
    """A value as text: the texts in nested lists joined by spaces, an object as JSON, None as ``""``.

    Raises:
        RecursionError: if objects are nested too deeply.
    """
    texts = (entry if isinstance(entry, str) else json.dumps(entry, ensure_ascii=False) for entry in flat(value))
    return " ".join(filter(None, texts))


def flat(value: object) -> Iterator[object]:
    """The entries of nested lists other than None, in order, at any depth."""
    waiting = [value]
    while waiting:
        entry = waiting.pop()
        if isinstance(entry, (list, tuple)):
            waiting += reversed(entry)
        elif entry is not None:
            yield entry


def one_line(*parts: object) -> str:
    """The parts as one line of text without HTML, runs of white space as single spaces.

    What is not text or is empty is left out; lone surrogates, which no file can hold, become U+FFFD.
    """
    texts = (" ".join(_shown(part).replace("\0", "").split()) for part in parts if isinstance(part, str))
    return _LONE_SURROGATE.sub("\ufffd", " ".join(filter(None, texts)))


def as_it_stands(text: str) -> str:
    """A text to be shown: with HTML as of :func:`one_line`, any other with all its blanks; "" for blanks alone."""
    if not text.strip() or _shown(text) != text:
        return one_line(text)
    return as_field(text)


def as_field(text: str) -> str:
    """A text as a field of an atomic file, which holds no tab and no line end, of which each becomes a space."""
    return _LONE_SURROGATE.sub("\ufffd", _ENDS.sub(" ", text.replace("\0", "")))


def without_empty(texts: dict[str, str]) -> dict[str, str]:
    """The items whose text is not empty."""
    return {item: text for item, text in texts.items() if text}


def _shown(text: str) -> str:
    """The text without tags, comments, scripts and styles, and with characters in place of entities.

    ``<b>``, which is inline, leaves nothing behind; ``<br>``, which ends a line, a space.
    """
    if "<" not in text and "&" not in text:
        return text
    parts: list[str] = []
    start, end, waiting = 0, "", 0  # waiting: how much of parts was there before what is not shown
    for mark in _MARK.finditer(text):
        tag = mark[0].lower()
        if end:
            parts.append(text[start : mark.end()])
            if tag.startswith(end):
                del parts[waiting:]
                parts.append(" ")
                end = ""
        else:
            parts.append(text[start : mark.start()])
            opened = next((begin for begin in _UNSHOWN if re.match(rf"{begin}(?![a-z])", tag)), "")
            if opened:
                waiting, end = len(parts), _UNSHOWN[opened]
                parts.append(mark[0] if opened == "<!--" else " ")
            elif tag == "-->":
                parts.append(mark[0])
            else:
                parts.append("" if mark[1] and mark[1].lower() in _INLINE.split() else " ")
        start = mark.end()
    return _ENTITY.sub(lambda entity: html.unescape(entity[0]), "".join([*parts, text[start:]]))
