"""What commands print fits the terminal, and in a file stays as it is."""

from __future__ import annotations

import io
import re
import sys

import pytest

from recbole_cadmr.on_screen import fitted, laid_out

MARKDOWN = r"""## shop

- best in bold, second underlined; * statistically significantly better than every other

| model | seeds | recall@20 | training | settings |
|---|---|---|---|---|
| CADMR (best) | 3 | **0.2172**\* | 12 s | reg_weight=60, modalities=['text', 'image'] |
| a\|b | deterministic | <u>0.1500 ± 0.0100</u> | 3.5 s | defaults |

- EASE, seed 1: failed
"""


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def width(monkeypatch):
    """Makes standard output a terminal of so many columns."""

    def of(columns, term="xterm", no_color=""):
        monkeypatch.setattr(sys, "stdout", Terminal())
        monkeypatch.setenv("TERM", term)
        monkeypatch.setenv("NO_COLOR", no_color)
        monkeypatch.setenv("COLUMNS", str(columns))

    return of


def test_a_file_gets_markdown_and_lines_as_they_are(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert laid_out(MARKDOWN) == MARKDOWN and fitted("a long line " * 20) == "a long line " * 20
    monkeypatch.setattr(sys, "stdout", None)
    assert laid_out(MARKDOWN) == MARKDOWN


def test_a_wide_terminal_gets_a_table_in_one_part(width):
    width(200)
    bold, underlined = "\x1b[1m0.2172\x1b[0m*", "\x1b[4m0.1500 ± 0.0100\x1b[0m"
    assert laid_out(MARKDOWN).split("\n")[4:7] == [
        "model         seeds                recall@20  training  settings",
        f"CADMR (best)  3                      {bold}      12 s  reg_weight=60, modalities=['text', 'image']",
        f"a|b           deterministic  {underlined}     3.5 s  defaults",
    ]


@pytest.mark.parametrize("columns", [20, 40, 80])
@pytest.mark.parametrize("kind", [("xterm", ""), ("dumb", ""), ("xterm", "1")])
def test_no_line_is_wider_than_the_terminal(width, columns, kind):
    width(columns, *kind)
    text = laid_out(MARKDOWN)
    plain = re.sub(r"\x1b\[\d+m", "", text)
    assert ("\x1b" in text) == (kind == ("xterm", ""))
    assert max(map(len, plain.split("\n"))) <= columns
    for word in ("CADMR", "a|b", "0.2172", "0.1500", "12 s", "3.5 s", "modaliti", "defaults", "failed"):
        assert word in plain
    if columns == 80:
        assert plain.count("model") == 2  # the settings have a part of their own
    if kind != ("xterm", ""):
        assert "**0.2172***" in text
