"""Whether a page looks on GitHub as in the site: mkdocs' Markdown reads lists and tables in a way of its own."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser

_COUNTED = {
    "a": "links",
    "blockquote": "quotations",
    "code": "pieces of code",
    "em": "pieces in italics",
    "img": "pictures",
    "li": "items of lists",
    "ol": "numbered lists",
    "pre": "blocks of code",
    "strong": "pieces in bold",
    "table": "tables",
    "td": "cells of tables",
    "ul": "lists",
    **{f"h{level}": f"headings of level {level}" for level in range(1, 7)},
}
_ADDED = "headerlink"  # the class of links that the site adds
_ROW = re.compile(r"^\|.*$", re.MULTILINE)
_CODE = re.compile(r"`[^`]+`")
_SHOWN = 40  # letters of a difference


def for_site(markdown: str) -> str:
    """A page with the bars in code of its tables as mkdocs reads them; GitHub wants them escaped."""
    return _ROW.sub(lambda row: _CODE.sub(lambda code: code[0].replace(r"\|", "|"), row[0]), markdown)


def differences(markdown: str, html: str) -> list[str]:
    """What a page has otherwise in the site (``html``) than by CommonMark with tables, as GitHub reads it."""
    from markdown_it import MarkdownIt

    github, site = _Page(MarkdownIt("commonmark").enable("table").render(markdown)), _Page(html)
    found = [
        f"GitHub shows {github.counts[tag]} {what}, the site {site.counts[tag]}: leave a blank line before lists, and "
        "indent what belongs to an item by four spaces"
        for tag, what in _COUNTED.items()
        if github.counts[tag] != site.counts[tag]
    ]
    if not found and github.text != site.text:
        pairs = enumerate(zip(github.text, site.text))
        place = next((i for i, (one, other) in pairs if one != other), min(len(github.text), len(site.text)))
        one, other = (text[max(0, place - _SHOWN // 2) : place + _SHOWN] for text in (github.text, site.text))
        found.append(f"GitHub shows {one!r}, the site {other!r} (blanks left out)")
    return found


class _Page(HTMLParser):
    """The elements of a page by number, and its text without blanks."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.text = ""
        self._is_added = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Count an element that is of the page."""
        self._is_added = _ADDED in (dict(attrs).get("class") or "").split()
        if tag in _COUNTED and not self._is_added:
            self.counts[tag] += 1

    def handle_endtag(self, tag: str) -> None:
        """Leave a link that the site added."""
        self._is_added = False

    def handle_data(self, data: str) -> None:
        """Take in text."""
        if not self._is_added:
            self.text += "".join(data.split())
