"""The tables of a search's report."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape
from typing import Any

from recbole_cadmr import html_page as html
from recbole_cadmr.formatting import memory, seconds, short
from recbole_cadmr.reports.search_axes import axis_of, key_of, text_of
from recbole_cadmr.reports.search_outcome import Outcome
from recbole_cadmr.tuning.trial_record import FAILED, TrialRecord

_LONGEST = 220  # characters of a reason; the rest is in the facts of the page


def settings_table(outcome: Outcome) -> str:
    """What was searched, what is best and what the defaults are."""
    best = outcome.settings(outcome.winner) if outcome.winner else {}
    defaults = outcome.defaults.point if outcome.defaults else {}
    lines = []
    for name in outcome.names:
        found = _value(best, name)
        if name in best and name in defaults and key_of(best[name]) != key_of(defaults[name]):
            found = f"<b>{found}</b>"
        cells = [escape(name), found, _value(defaults, name), escape(outcome.search["space"].get(name, ""))]
        lines.append(cells)
    return html.grid(["setting", "best trial", "defaults", "searched"], lines)


def trials_table(outcome: Outcome) -> str:
    """All trials, the best first; sortable."""
    settings = {record.number: outcome.settings(record) for record in outcome.records}
    numeric = {name: axis_of([found.get(name) for found in settings.values()]).kind != "choice"
               for name in outcome.names}  # fmt: skip
    order = "descending" if outcome.bigger else "ascending"
    heads = [
        *(_head(name, number) for name, number in (("trial", True), ("status", False))),
        _head(outcome.metric, True, order),
        *(_head(name, numeric[name]) for name in outcome.names),
        *(_head(name, True) for name in ("epoch of the best", "epochs trained", "time", "peak memory")),
        _head("remarks", False),
    ]
    lines = []
    for record in sorted(outcome.records, key=lambda record: _rank(outcome, record)):
        best, score = record.best(outcome.bigger), outcome.score(record)
        own = record.repeats is None
        mark = " <small>best</small>" if outcome.is_winner(record) else ""
        mark += " <small>defaults</small>" if record.number == 1 else ""
        cells = [
            _cell(f"{record.number}{mark}", record.number),
            _text(record.status),
            _cell("" if score is None else f"{score:.4f}", _missing(outcome) if score is None else score),
            *(_setting(settings[record.number].get(name), numeric[name]) for name in outcome.names),
            _cell("" if best is None else str(best["epoch"]), -1 if best is None else best["epoch"]),
            _cell(str(record.epochs) if own else "", record.epochs if own else -1),
            _cell(seconds(record.seconds) if own else "", record.seconds if own else -1),
            _cell(memory(record.peak_memory_bytes) if record.peak_memory_bytes else "", record.peak_memory_bytes),
            f'<td class="remarks" data-v="{escape(_remarks(record))}">{escape(short(_remarks(record), _LONGEST))}</td>',
        ]
        lines.append(f"<tr{' class=best' if outcome.is_winner(record) else ''}>{''.join(cells)}</tr>")
    return (
        f'<div class="scroll"><table class="sortable"><thead><tr>{"".join(heads)}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def changes_table(outcome: Outcome) -> str:
    """Where trials went on with other settings."""
    lines = [
        [str(record.number), str(epoch), escape(", ".join(f"{name} {text_of(v)}" for name, v in values.items()))]
        for record in outcome.records
        for epoch, values in record.changes
    ]
    return html.grid(["trial", "from epoch", "goes on with"], lines)


def test_table(test: Mapping[str, float]) -> str:
    """Test figures, a line a metric and a column a length of the lists."""
    lengths = list(dict.fromkeys(name.partition("@")[2] for name in test))
    metrics = list(dict.fromkeys(name.partition("@")[0] for name in test))
    figures = {tuple(name.partition("@")[::2]): f"{figure:.4f}" for name, figure in test.items()}
    heads = [f"@{length}" if length else "" for length in lengths]
    lines = [[escape(metric), *(figures.get((metric, length), "") for length in lengths)] for metric in metrics]
    return html.grid(["metric", *map(escape, heads)], lines)


def _rank(outcome: Outcome, record: TrialRecord) -> tuple[bool, float, int]:
    score = outcome.score(record)
    worth = 0.0 if score is None else -score if outcome.bigger else score
    return record.status == FAILED or score is None, worth, record.number


def _missing(outcome: Outcome) -> float:
    """What a trial without a score sorts as: worse than all others."""
    return -math.inf if outcome.bigger else math.inf


def _remarks(record: TrialRecord) -> str:
    came_back = f"came back from {record.deaths} death{'s' if record.deaths > 1 else ''}" if record.deaths else ""
    same = f"same as trial {record.repeats}" if record.repeats is not None else ""
    return "; ".join(filter(None, (record.failure, same, came_back)))


def _value(values: Mapping[str, Any], name: str) -> str:
    return escape(text_of(values[name])) if name in values else ""


def _head(name: str, number: bool, order: str = "") -> str:
    kind = ' class="n"' if number else ""
    broken = escape(name).replace("_", "_<wbr>")  # long names of narrow columns
    return f"<th{kind}{f' aria-sort={order}' if order else ''}><button>{broken}</button></th>"


def _cell(text: str, number: float) -> str:
    value = repr(number) if math.isfinite(number) else f"{'-' if number < 0 else ''}Infinity"
    return f'<td class="n" data-v="{value}">{text}</td>'


def _text(text: str) -> str:
    return f'<td data-v="{escape(text)}">{escape(text)}</td>'


def _setting(value: Any, numeric: bool) -> str:
    return _cell(text_of(value), value) if numeric else _text(text_of(value))
