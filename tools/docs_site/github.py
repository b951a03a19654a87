"""Whether a page looks on GitHub as in the site: mkdocs' Markdown reads lists in a way of its own."""

from __future__ import annotations

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


class _Elements(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _COUNTED and _ADDED not in (dict(attrs).get("class") or "").split():
            self.counts[tag] += 1


def differences(markdown: str, html: str) -> list[str]:
    """What a page has more or less of in the site (``html``) than by CommonMark with tables, as GitHub reads it."""
    from markdown_it import MarkdownIt

    github = _Elements(MarkdownIt("commonmark").enable("table").render(markdown)).counts
    site = _Elements(html).counts
    return [
        f"GitHub shows {github[tag]} {what}, the site {site[tag]}: leave a blank line before lists, and indent what "
        "belongs to an item by four spaces"
        for tag, what in _COUNTED.items()
        if github[tag] != site[tag]
    ]
