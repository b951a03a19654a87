"""Tables of a benchmark as markdown, LaTeX and csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from recbole_cadmr.formatting import memory, plain, seconds
from recbole_cadmr.reports.measure import COLD
from recbole_cadmr.reports.summary import DatasetTable, Row

HEADLINE = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")
# Settings that belong to the data set or the protocol, which the head of the table tells.
_OF_THE_DATA = {"benchmark_filename", "modalities", "item_graphs", "data_note", "mask_valid_at_test", "metrics", "topk",
                "valid_metric", "split_seed", "eval_args", "preset"}  # fmt: skip

# What the tables say in words


def headline(table: DatasetTable) -> list[str]:
    """The metrics of the first table: the usual four, or what was measured instead."""
    return [metric for metric in HEADLINE if metric in table.ranking_metrics] or table.ranking_metrics[:4]


def protocol_lines(table: DatasetTable) -> list[str]:
    """How everything in the tables of a data set was measured."""
    protocol, counts = table.protocol, table.counts
    note = f" ({protocol['data_note']})" if protocol["data_note"] else ""
    train, valid, test = counts["interactions"]
    masked = "train and validation items" if protocol["mask_valid_at_test"] else "train items"
    split = "as it came" if protocol["split"] == "pre-split" else f"{protocol['split']}, {protocol['group_by']}"
    return [
        f"{table.dataset}{note}: {counts['users']:,} users, {counts['items']:,} items, {train:,} train interactions, "
        f"{valid:,} to validate, {test:,} to test; split {split}",
        f"ranking over {protocol['candidates']}, {masked} left out; means over users with a held-out item; chosen by "
        f"validation {protocol['valid_metric']}, the test part read once a run",
        f"{_tuning(table)}; seconds are of runs with {_threads(table)}",
    ]


def _tuning(table: DatasetTable) -> str:
    if not any(row.tried for row in table.rows):
        return "settings as given, none tried for this table"
    return "settings chosen on validation, how many of the same budget are listed below (small spaces have no more)"


def _threads(table: DatasetTable) -> str:
    threads = sorted({result["protocol"]["threads"] for row in table.rows for result in row.results})
    return "1 thread" if threads == [1] else f"{' or '.join(map(str, threads))} threads"


def value(row: Row, metric: str) -> str:
    """Mean, and the standard deviation over seeds if there are several."""
    deviation = row.deviation(metric)
    return f"{row.mean(metric):.4f}" + ("" if deviation is None else f" ± {deviation:.4f}")


def runs_of(row: Row) -> str:
    """How many seeds a row stands for."""
    return "deterministic" if row.deterministic else str(len(row.results))


def _cost(row: Row) -> list[str]:
    """Training, evaluation, memory, parameters."""
    spent = [seconds(row.training_seconds), seconds(row.evaluation_seconds), memory(row.peak_memory)]
    return [*spent, f"{row.parameters:,}"]


def chosen_settings(row: Row) -> str:
    """Settings of a row other than the defaults."""
    chosen = ", ".join(f"{k}={v}" for k, v in row.settings.items() if k not in _OF_THE_DATA) or "defaults"
    return chosen + (f" (best of {row.tried} on validation)" if row.tried else "")


def comparison(table: DatasetTable, row: Row, metric: str) -> str:
    """A row against the best other one, in words."""
    found = table.comparisons.get(metric, {}).get(row.name)
    if found is None:
        return ""
    p = "p < .0001" if found.p < 0.0001 else f"p = {found.p:.2g}"
    return f"{found.difference:+.4f} against {found.other}, {p}"


def strata_names(table: DatasetTable) -> list[str]:
    """Strata that any row was measured on."""
    return list(dict.fromkeys(name for row in table.rows for name in row.strata))


def stratum_value(row: Row, stratum: str, metric: str) -> str:
    """Mean over the runs, or what is said of a model that cannot score the stratum."""
    figures = row.strata.get(stratum, {}).get(metric)
    if figures is None:
        return "cannot score them" if stratum.startswith(COLD) else ""
    return f"{sum(figures) / len(figures):.4f}"


# Markdown


def markdown(tables: Sequence[DatasetTable]) -> str:
    """Everything that was measured, a section a data set."""
    return "\n".join(line for table in tables for line in _markdown_section(table)).rstrip() + "\n"


def first_tables(tables: Sequence[DatasetTable]) -> str:
    """What a person wants to see first: the headline figures of each data set, and what has no result."""
    return "\n".join(line for table in tables for line in (*_first(table), ""))


def _first(table: DatasetTable) -> Iterable[str]:
    metrics = headline(table)
    yield f"## {plain(table.dataset)}\n"
    yield from (f"- {plain(line)}" for line in protocol_lines(table))
    yield (
        "- best in bold, second underlined; * better than every other model beyond chance (paired t-test over users, "
        "scores averaged over seeds, two-sided, Holm-corrected, p < .05)\n"
    )
    head = ["model", "seeds", *metrics, "training", "evaluation", "peak memory", "parameters"]
    yield from _grid(head, [_markdown_row(table, row, metrics) for row in table.rows])
    if table.missing:
        yield from ("", *(f"- {plain(label)}: {plain(reason)}" for label, reason in table.missing.items()))


def _markdown_section(table: DatasetTable) -> Iterable[str]:
    metrics = headline(table)
    yield from _first(table)
    yield from ("", "Against the best other model:", "")
    cells = [[plain(row.name), *(plain(comparison(table, row, metric)) for metric in metrics)] for row in table.rows]
    yield from _grid(["model", *metrics], cells)
    names = list(dict.fromkeys(metric.partition("@")[0] for metric in table.ranking_metrics))
    for k in table.protocol["topk"]:
        columns = [f"{name}@{k}" for name in names]
        extra = [f"itemcoverage@{k}", f"giniindex@{k}", f"tailpercentage@{k}"]
        yield from ("", f"Lists of {k} (coverage, Gini index and tail share are of what is shown, not of hits):", "")
        rows = [[plain(row.name), *(_marked(table, row, m) for m in columns), *(value(row, m) for m in extra)]
                for row in table.rows]  # fmt: skip
        yield from _grid(["model", *columns, "coverage", "Gini", "tail share"], rows)
    yield from _markdown_strata(table)
    yield from ("", "Settings other than the defaults:", "")
    yield from _grid(["model", "settings"], [[plain(row.name), plain(chosen_settings(row))] for row in table.rows])
    yield ""


def _markdown_row(table: DatasetTable, row: Row, metrics: Sequence[str]) -> list[str]:
    return [plain(row.name), runs_of(row), *(_marked(table, row, metric) for metric in metrics), *_cost(row)]


def _markdown_strata(table: DatasetTable) -> Iterable[str]:
    strata = strata_names(table)
    wanted = ("recall@20", "ndcg@20")
    metrics = [metric for metric in wanted if metric in table.ranking_metrics] or headline(table)[:1]
    for metric in metrics:
        yield from ("", f"{metric} by what is to be found (the candidates stay all items):", "")
        head = [f"{name} ({_pairs(table, name)})" for name in strata]
        yield from _grid(["model", *head], [[plain(row.name), *(stratum_value(row, s, metric) for s in strata)]
                                            for row in table.rows])  # fmt: skip


def _pairs(table: DatasetTable, stratum: str) -> str:
    pairs = next(row.strata[stratum]["pairs"][0] for row in table.rows if stratum in row.strata)
    return f"{pairs:,.0f}"


def _marked(table: DatasetTable, row: Row, metric: str) -> str:
    text, places = value(row, metric), table.places(metric)
    found = table.comparisons.get(metric, {}).get(row.name)
    if row.name == places[0]:
        return f"**{text}**" + ("\\*" if found and found.better else "")
    return f"<u>{text}</u>" if row.name in places[1:2] else text


def _grid(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterable[str]:
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    yield from (f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)


# LaTeX


def latex(tables: Sequence[DatasetTable]) -> str:
    """The first table of each data set, for a paper (package ``booktabs``)."""
    return "\n".join(line for table in tables for line in _latex_table(table)) + "\n"


def _latex_table(table: DatasetTable) -> Iterable[str]:
    metrics = headline(table)
    yield "\\begin{table}"
    yield f"\\caption{{{_escaped('. '.join(protocol_lines(table)))}. Best bold, second underlined; "
    yield "$^*$ better than every other beyond chance (paired t-test over users, Holm-corrected, $p<.05$).}"
    yield f"\\begin{{tabular}}{{lr{'r' * len(metrics)}rrrr}}"
    yield "\\toprule"
    cost = ["Training", "Evaluation", "Memory", "Parameters"]
    yield " & ".join(["Model", "Seeds", *map(_escaped, metrics), *cost]) + r" \\"
    yield "\\midrule"
    for row in table.rows:
        figures = [_latex_value(table, row, metric) for metric in metrics]
        cells = [_escaped(row.name), runs_of(row), *figures, *_cost(row)]
        yield " & ".join(cells) + r" \\"
    yield from ("\\bottomrule", "\\end{tabular}")
    yield from (f"{_escaped(f'{label}: {reason}')}\\\\" for label, reason in table.missing.items())
    yield from ("\\end{table}", "")


def _latex_value(table: DatasetTable, row: Row, metric: str) -> str:
    deviation, places = row.deviation(metric), table.places(metric)
    text = f"{row.mean(metric):.4f}" + ("" if deviation is None else rf" $\pm$ {deviation:.4f}")
    found = table.comparisons.get(metric, {}).get(row.name)
    if row.name == places[0]:
        return rf"\textbf{{{text}}}" + ("$^*$" if found and found.better else "")
    return rf"\underline{{{text}}}" if row.name in places[1:2] else text


_LATEX = {"\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
          **{sign: f"\\{sign}" for sign in "&%$#_"}}  # fmt: skip


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in text)


# csv


def csv_text(tables: Sequence[DatasetTable]) -> str:
    """One line a data set, model, seed and figure, unrounded."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["dataset", "model", "seed", "figure", "value"])
    for table in tables:
        for row in table.rows:
            for index, (seed, result) in enumerate(zip(row.seeds, row.results)):
                figures: dict[str, float | None] = {metric: values[index] for metric, values in row.metrics.items()}
                for stratum, entries in row.strata.items():
                    figures |= {f"{stratum}: {metric}": values[index] for metric, values in entries.items()}
                figures |= {
                    "best validation": result["best_valid_score"],
                    "training seconds": sum(result["seconds"].values()),
                    "seconds of an evaluation": result["seconds_per_evaluation"],
                    "peak memory bytes": result["peak_memory_bytes"],
                    "parameters": result["parameters"],
                    "epochs": result["epochs_run"],
                }
                writer.writerows([table.dataset, row.name, seed, name, number] for name, number in figures.items())
            for metric, compared in table.comparisons.items():
                if row.name in compared:
                    found = compared[row.name]
                    name = f"{metric} against {found.other}"
                    writer.writerow([table.dataset, row.name, "all", f"{name}: difference", found.difference])
                    writer.writerow([table.dataset, row.name, "all", f"{name}: p", found.p])
    return file.getvalue()
