"""Figures as a person reads them."""

from __future__ import annotations

import math
import shutil
import textwrap
from collections.abc import Iterable
from html import escape, unescape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def memory(size: float) -> str:
    """Bytes as a person reads them."""
    return f"{size / 2**30:.1f} GB"


def seconds(duration: float) -> str:
    """A duration as a person reads it."""
    if duration < 120:
        return f"{duration:.1f} s" if duration < 10 else f"{duration:.0f} s"
    return f"{duration / 60:.0f} min" if duration < 7200 else f"{duration / 3600:.1f} h"


def kilowatt_hours(energy: float) -> str:
    """An energy in kWh as a person reads it."""
    return f"{energy:.3g} kWh" if energy >= 1 else f"{1000 * energy:.3g} Wh"


def kilograms(mass: float) -> str:
    """A mass in kg as a person reads it."""
    return f"{mass:.3g} kg" if mass >= 1 else f"{1000 * mass:.3g} g"


def signed(difference: float) -> str:
    """A difference with its sign, a minus as wide as a plus."""
    return f"{round(difference, 4) + 0.0:+.4f}".replace("-", "\u2212")  # no minus before a zero


def p_value(p: float) -> str:
    """A p value as it is printed."""
    return "p < .0001" if p < 0.0001 else f"p = {p:.2g}"


def text_of(value: Any) -> str:
    """A value of a setting; numbers to four digits."""
    if isinstance(value, list):
        return f"[{', '.join(map(text_of, value))}]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def plain(value: Any) -> str:
    """A value in markdown, as it stands: no html, no link, no picture, one line."""
    return " ".join(escape(str(value), quote=False).replace("](", "]\\(").split())


def unmarked(text: str) -> str:
    """Markdown for a terminal: names that :func:`plain` has written into it as they stand."""
    return unescape(text).replace("]\\(", "](")


def markdown_table(frame: pd.DataFrame) -> str:
    """A frame of texts as a markdown table, cells as narrow as they are (tabulate pads them to the longest)."""
    lines = [frame.columns, ["---"] * frame.shape[1], *frame.to_numpy()]
    head, rule, *rows = ([str(cell).replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join([f"| {' | '.join(head)} |", f"|{'|'.join(rule)}|", *(f"| {' | '.join(row)} |" for row in rows)])


def with_deviation(mean: float, deviation: float, sign: str = " ± ") -> str:
    """A mean with its standard deviation, which is NaN of one value."""
    return f"{mean:.4f}" + ("" if math.isnan(deviation) else f"{sign}{deviation:.4f}")


def short(text: str, longest: int) -> str:
    """A text with its middle left out where it is longer than that many characters, as there is room for in a chart."""
    half = longest // 2
    return text if len(text) <= longest else f"{text[:half]}…{text[1 - half :]}"


def covered(name: str, items: int, of: int, width: int) -> str:
    """How many items have a modality whose vectors are ``width`` long."""
    share = "" if items == of else f" ({items / of:.1%})"
    return f"{name} {items:,} of {of:,} items{share}, {width}-D"


def listed(files: Iterable[Any]) -> str:
    """Files that were written, one a line."""
    return "\n".join(["files:", *(f"  {file}" for file in files)])


def screen_width() -> int:
    """Columns of the terminal, at least 20; 80 of a file."""
    return max(shutil.get_terminal_size().columns, 20)


def folded(line: str, indent: str = "  ") -> str:
    """A line as several, all but the first behind ``indent``, as wide as the terminal (a file: 80) or a word."""
    return textwrap.fill(line, screen_width(), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
