"""Texts as a page shows them."""

from __future__ import annotations

import pytest

from recbole_cadmr.data.prepare.texts import as_it_stands, one_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<p>Soft &amp; warm</p><br/>for <b>ba</b>bies", "Soft & warm for babies"),
        ("a < b and c > d", "a < b and c > d"),
        ("x<y, 3<4, <3, R&D, AT&T, Q&A; pens&notebooks", "x<y, 3<4, <3, R&D, AT&T, Q&A; pens&notebooks"),
        ("Blade <Import> [2 discs]", "Blade <Import> [2 discs]"),
        ("&lt;b&gt; &#233; &#xe9; &euro; &nosuch; &quot;", '<b> é é € &nosuch; "'),
        (
            "one<script type='x'>var a = '<p>';</script>two<STYLE>p {}</STYLE>three<!-- no <b> -->four",
            "one two three four",
        ),
        ("an open <script> and <!-- end", "an open and <!-- end"),
        ('<a href="http://x/?a=1&amp;b=2" class=y>link</a><ul><li>one<li>two</ul>', "link one two"),
        ("<!DOCTYPE html><html><body>x</body></html>", "x"),
        ("-->", "-->"),
        ("</script>x", "x"),
        ("half \ud83d of\0 one, \ud83d\ude00"[:14], "half \ufffd of one"),
    ],
)
def test_what_is_shown(text, shown):
    assert one_line(text) == shown


@pytest.mark.parametrize(
    "text", ["<script>" * 100_000, "<!--" * 200_000, "<a " * 200_000, "&" * 500_000, "<" * 500_000]
)
def test_hostile_texts_take_no_time(text):
    assert len(one_line(text)) <= len(text)  # what looks back at every sign takes hours here


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("  two  words ", "  two  words "),
        ("\u00a0a\u2028b", "\u00a0a\u2028b"),
        ("one\ttwo\r\nthree\n", "one two three "),
        (" <b>bold</b>  type ", "bold type"),
        ("a < b & c  d", "a < b & c  d"),
        ("a\0b \ud800", "ab \ufffd"),
        (" \t\n", ""),
        ("", ""),
    ],
)
def test_titles_stand_as_they_are_as_far_as_an_atomic_file_holds_them(text, shown):
    assert as_it_stands(text) == shown
