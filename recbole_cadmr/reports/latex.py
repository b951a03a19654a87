"""Tables of a benchmark for a paper: LaTeX with the package ``booktabs``, nothing else."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd

from recbole_cadmr.errors import UserError, did_you_mean
from recbole_cadmr.reports.frame import Results
from recbole_cadmr.reports.tables import SIGNIFICANT, TEST, Marks, headline, marked, protocol_lines

USUAL = ("recall@20", "ndcg@20")  # columns of the joint table if nothing else is asked for
_LATEX = str.maketrans(
    {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {sign: f"\\{sign}" for sign in "{}&%$#_"}
)
_IN_LATEX = Marks(r"\textbf{{{}}}", r"\underline{{{}}}", "$^*$", r" $\pm$ ")


def latex(tables: Sequence[Results]) -> str:
    """The first table of each data set."""
    return "\n".join(map(_latex_table, tables))


def _latex_table(results: Results) -> str:
    frame = headline(results, _escaped, _IN_LATEX)
    frame.columns = [_escaped(name if "@" in name else name[:1].upper() + name[1:]) for name in frame.columns]
    missing = "".join(f"{_escaped(f'{label}: {reason}')}\\\\\n" for label, reason in results.missing.items())
    caption = _escaped(". ".join(protocol_lines(results)))
    return _floating(frame, caption, _label(results.dataset), missing)


def joint(tables: Sequence[Results], columns: Sequence[str] = ()) -> str:
    """One table of all data sets: models as rows, and of each data set the metrics ``columns``.

    Models that more than one data set has stand in one row; the order is that of the first data set.
    """
    metrics = columns_of(columns, tables[0].ranking_metrics)
    names = list(dict.fromkeys(name for results in tables for name in results.models.index))
    parts = {("", "Model"): pd.Series(map(_escaped, names), names)}
    for results in tables:
        for metric in metrics:
            texts = marked(results, metric, _IN_LATEX) if metric in results.ranking_metrics else []
            values = pd.Series(texts, results.models.index if texts else [], dtype=object)
            parts[_escaped(results.dataset), _escaped(metric)] = values.reindex(names, fill_value="–")
    about = [f"{_escaped(results.dataset)}: {_parts(results)}" for results in tables]
    ways = dict.fromkeys(_escaped(protocol_lines(results)[1]) for results in tables)
    sentences = ["; ".join(about), *(f"{way[:1].upper()}{way[1:]}" for way in ways)]
    frame = pd.DataFrame(parts)
    if frame.eq("–").any(axis=None):
        sentences.append("--: not measured")
    return _floating(frame, ". ".join(sentences), "benchmark")


def columns_of(asked: Sequence[str], measured: Sequence[str]) -> list[str]:
    """The metrics of the joint table: those asked for, the usual two, or the first two that are measured.

    Raises:
        UserError: if one that is asked for is not measured.
    """
    names = [name.lower() for name in asked]
    for name in names:
        if name not in measured:
            near = did_you_mean(name, measured) or f"; there are {', '.join(measured)}"
            raise UserError(f"--columns: {name} is not measured{near}")
    return list(dict.fromkeys(names)) or [name for name in USUAL if name in measured] or list(measured[:2])


def _parts(results: Results) -> str:
    counts = results.counts
    train, valid, test = counts["interactions"]
    note = f" ({_escaped(results.protocol['data_note'])})" if results.protocol["data_note"] else ""
    pairs = f"{train:,} train, {valid:,} validation and {test:,} test interactions"
    return f"{counts['users']:,} users, {counts['items']:,} items, {pairs}{note}"


def _floating(frame: pd.DataFrame, caption: str, label: str, below: str = "") -> str:
    """A frame of LaTeX as a table with a caption, which says what the marks mean."""
    head = frame.columns.nlevels
    columns = "l" + "r" * (frame.shape[1] - 1)
    text = frame.style.hide(axis="index").to_latex(column_format=columns, hrules=True, multicol_align="c")
    if head > 1:
        text = text.replace("\\\\\n", f"\\\\\n{_rules(frame)}\n", 1)
    marks = f"Best bold, second underlined; $^*$ {SIGNIFICANT} ({TEST.replace('p < .05', '$p<.05$')})."
    return (
        f"\\begin{{table}}\n\\centering\n\\caption{{{caption}. {marks}}}\n"
        f"\\label{{tab:{label}}}\n{text.replace('–', '--')}{below}\\end{{table}}\n"
    )


def _rules(frame: pd.DataFrame) -> str:
    """A rule under the name of each data set."""
    groups = frame.columns.get_level_values(0)
    spans = [(1 + int((groups == name).argmax()), int((groups == name).sum())) for name in groups.unique() if name]
    return " ".join(f"\\cmidrule(lr){{{first}-{first + width - 1}}}" for first, width in spans)


def _label(name: str) -> str:
    """A name as part of a label, which takes no signs of LaTeX's."""
    return re.sub(r"[^A-Za-z0-9.:-]+", "-", name)


def _escaped(text: str) -> str:
    return text.translate(_LATEX)
