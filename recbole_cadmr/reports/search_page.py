"""The page of a search: what was tried, what came of it, and which settings mattered."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from recbole_cadmr import formatting
from recbole_cadmr.formatting import text_of
from recbole_cadmr.html_page import write_page
from recbole_cadmr.reports.search_figures import LITTLE, importance_bars, learning_curves, parallel_coordinates
from recbole_cadmr.reports.search_importance import Importance, importance, is_number, key_of

# Of search.json, which also holds paths of this machine.
_SHOWN = ("model", "dataset", "preset", "metric", "bigger", "scheduler", "sampler", "seed", "threads", "max_epochs")
_AXIS = 118  # pixels that an axis of parallel coordinates and its labels take
_MUCH = 0.6  # R², from which on the order of the shares can be relied on
_LONGEST = 220  # characters of a reason; the rest is in the facts of the page


def write_search_page(
    search: Mapping[str, Any],
    trials: pd.DataFrame,
    validations: pd.DataFrame,
    winner: int | None,
    test: Mapping[str, float] | None,
    path: Path,
) -> None:
    """Write the page; its numbers are in it as JSON, too (``<script id="facts">``).

    Args:
        search: content of ``search.json``, ``space`` as texts by setting.
        trials: as in ``trials.csv``: a row a trial, a column a setting (at its best epoch), then ``trial``, ``status``,
            ``best_valid_score``, ``best_epoch``, ``epochs_run``, ``seconds``, ``peak_memory_bytes``, ``deaths``,
            ``repeats`` (the trial whose results these are), ``changes`` (lists of an epoch and settings), ``failure``.
        validations: ``trial``, ``epoch``, ``phase``, ``score``, in the order in which they happened.
        winner: the trial that was chosen, None if none has a score.
        test: metrics of the winner on the test part, None if it was not read.

    Raises:
        UserError: if the page cannot be written.
    """
    names = list(search["space"])
    trials = trials.set_index("trial", drop=False)
    defaults = _defaults(search, trials)
    is_best, is_default = trials["trial"] == winner, (trials["trial"] == 1) & (defaults is not None)
    trials = trials.assign(is_best=is_best, is_default=is_default)
    trained = trials[trials["repeats"].isna()]
    scored = trained[(trained["status"] != "failed") & trained["best_valid_score"].notna()]
    shares = importance(scored[names], scored["best_valid_score"], int(search["seed"]))
    preset = f" ({search['preset']})" if search["preset"] else ""
    facts = _facts(search, trials, winner, defaults, shares, test)
    write_page(
        path,
        "search.html.j2",
        f"Search for settings of {search['model']}{preset} on {search['dataset']}",
        facts,
        glance=_glance(facts, trials, names, defaults),
        settings=_settings(search, trials, winner, defaults),
        test=_test_table(test) if test else "",
        parallel=parallel_coordinates(search, names, scored),
        parallel_width=_AXIS * (1 + len(names)),
        curves=learning_curves(search["metric"], names, trained, validations),
        importance_bars=importance_bars(shares) if shares else "",
        n_scored=len(scored),
        little=LITTLE,
        much=_MUCH,
        columns=_columns(search, names, trials),
        rows=_rows(search, names, trials),
        changes=[
            [trial, epoch, ", ".join(f"{name} {text_of(value)}" for name, value in values.items())]
            for trial, changes in trials["changes"].items()
            for epoch, values in changes or ()
        ],
    )


def _defaults(search: Mapping[str, Any], trials: pd.DataFrame) -> pd.Series | None:
    """The trial of the defaults; None if it was not run, or continued from the state of another."""
    if 1 not in trials.index or trials.loc[1, "changes"]:
        return None
    first = trials.loc[1]
    return first if all(key_of(first[name]) == key_of(value) for name, value in search["defaults"].items()) else None


def _facts(
    search: Mapping[str, Any],
    trials: pd.DataFrame,
    winner: int | None,
    defaults: pd.Series | None,
    shares: Importance | None,
    test: Mapping[str, float] | None,
) -> dict[str, Any]:
    """The numbers of the page."""
    trained = trials[trials["repeats"].isna()]
    best = None if winner is None else trials.loc[winner, "best_valid_score"]
    default = None if defaults is None or defaults["status"] == "failed" else defaults["best_valid_score"]
    statuses = dict.fromkeys(("finished", "stopped", "failed"), 0) | trials["status"].value_counts(sort=False).to_dict()
    return {
        "search": {name: search[name] for name in (*_SHOWN, "space")},
        "best_trial": winner,
        "best_score": best,
        "best_settings": None if winner is None else trials.loc[winner, list(search["space"])].to_dict(),
        "defaults_score": default,
        "difference": None if best is None or default is None else best - default,
        "trials_by_status": statuses,
        "epochs_trained": int(trained["epochs_run"].sum()),
        "epochs_allowed": int(search["max_epochs"]) * len(trained),
        "seconds": float(trained["seconds"].sum()),
        "importance": vars(shares) if shares else None,
        "test": {name: value if math.isfinite(value) else None for name, value in test.items()} if test else None,
        "trials": trials.astype(object).where(trials.notna(), None).to_dict("records"),
    }


def _glance(
    facts: Mapping[str, Any], trials: pd.DataFrame, names: Sequence[str], defaults: pd.Series | None
) -> dict[str, str]:
    """What stands at the head of the page: values by what they are."""
    metric, winner, score = facts["search"]["metric"], facts["best_trial"], facts["defaults_score"]
    shown = {}
    if winner is None:
        shown["no trial has a score"] = "–"
    else:
        what = f"best {metric}, trial {winner}: {_differences(trials.loc[winner], names, defaults)}"
        shown[what] = f"{facts['best_score']:.4f}"
    if defaults is None or score is None:
        shown["the defaults (trial 1) have no score"] = "–"
    else:
        n = defaults["epochs_run"]
        ended = f", stopped early after {n} epoch{'s' if n != 1 else ''}" if defaults["status"] == "stopped" else ""
        shown[f"{metric} of the defaults (trial 1){ended}"] = f"{score:.4f}"
    if (difference := facts["difference"]) is not None:
        relative = f", {abs(difference / score):.1%} better" if score and difference else ""
        value = formatting.signed(difference) if difference else "none better"
        shown[f"best trial against the defaults{relative}"] = value
    finished, *others = facts["trials_by_status"].items()
    rest = [f"{n} {'stopped early' if status == 'stopped' else status}" for status, n in others if n]
    shown["; ".join(["trials finished", *filter(None, [", ".join(rest)])])] = f"{finished[1]} of {len(trials)}"
    if allowed := facts["epochs_allowed"]:
        epochs = facts["epochs_trained"]
        shown[f"of the epochs that were allowed were trained, {epochs:,} of {allowed:,}"] = f"{epochs / allowed:.0%}"
    shown["training and validation, all trials together"] = formatting.seconds(facts["seconds"])
    return shown


def _differences(trial: pd.Series, names: Sequence[str], defaults: pd.Series | None, most: int = 4) -> str:
    """The settings of a trial that the defaults do not have, the first of them."""
    parts = [
        f"{name} {formatting.short(text_of(trial[name]), 30)}"
        for name in names
        if defaults is None or key_of(trial[name]) != key_of(defaults[name])
    ]
    more = [f"{len(parts) - most} more"] if len(parts) > most else []
    return ", ".join([*parts[:most], *more]) or "the defaults"


def _settings(
    search: Mapping[str, Any], trials: pd.DataFrame, winner: int | None, defaults: pd.Series | None
) -> list[dict[str, Any]]:
    """What was searched, what is best and what the defaults are."""
    best = None if winner is None else trials.loc[winner]
    return [
        {
            "name": name,
            "best": "" if best is None else text_of(best[name]),
            "default": "" if defaults is None else text_of(defaults[name]),
            "differs": best is not None and defaults is not None and key_of(best[name]) != key_of(defaults[name]),
            "searched": searched,
        }
        for name, searched in search["space"].items()
    ]


def _test_table(test: Mapping[str, float]) -> Markup:
    """A line a metric and a column a length of the lists."""
    parts = [(*name.partition("@")[::2], f"{value:.4f}") for name, value in test.items()]
    table = pd.DataFrame(parts, columns=["metric", "k", "value"]).pivot(index="metric", columns="k", values="value")
    metrics, lengths = (list(dict.fromkeys(part[place] for part in parts)) for place in (0, 1))
    table = table.loc[metrics, lengths].fillna("")
    table.columns = [f"@{length}" if length else "" for length in lengths]
    html = table.rename_axis("metric").reset_index().to_html(index=False, border=0, escape=True)
    return Markup(f'<div class="scroll">{html}</div>')


def _columns(search: Mapping[str, Any], names: Sequence[str], trials: pd.DataFrame) -> list[dict[str, Any]]:
    numeric = dict.fromkeys(["trial", search["metric"]], True) | {"status": False}
    numeric = {name: numeric[name] for name in ("trial", "status", search["metric"])}
    numeric |= {name: bool(trials[name].map(is_number).all()) for name in names}
    numeric |= dict.fromkeys(("epoch of the best", "epochs trained", "time", "peak memory"), True) | {"remarks": False}
    order = {search["metric"]: "descending" if search["bigger"] else "ascending"}
    return [{"name": name, "numeric": kind, "order": order.get(name)} for name, kind in numeric.items()]


def _rows(search: Mapping[str, Any], names: Sequence[str], trials: pd.DataFrame) -> list[dict[str, Any]]:
    """All trials, the best first."""
    sign = 1 if search["bigger"] else -1
    is_worst = (trials["status"] == "failed") | trials["best_valid_score"].isna()
    worth = -sign * trials["best_valid_score"].astype(float).fillna(0)
    order = pd.DataFrame({"is_worst": is_worst, "worth": worth}).rename_axis("number")
    rows = []
    for number in order.sort_values([*order, "number"]).index:
        trial = trials.loc[number]
        notes = ["best"] * bool(trial["is_best"]) + ["defaults"] * bool(trial["is_default"])
        score, epoch, size = (trial[name] for name in ("best_valid_score", "best_epoch", "peak_memory_bytes"))
        own = pd.isna(trial["repeats"])
        remarks = _remarks(trial)
        cells = [
            _cell(number, str(number), class_="n", notes=notes),
            _cell(trial["status"]),
            _cell(-math.inf * sign) if pd.isna(score) else _cell(score, f"{score:.4f}"),
            *(_cell(trial[name], text_of(trial[name])) for name in names),
            _cell(-1) if pd.isna(epoch) else _cell(epoch, str(epoch)),
            _cell(trial["epochs_run"], str(trial["epochs_run"])) if own else _cell(-1),
            _cell(trial["seconds"], formatting.seconds(trial["seconds"])) if own else _cell(-1),
            _cell(0) if pd.isna(size) or not size else _cell(size, formatting.memory(size)),
            _cell(remarks, formatting.short(remarks, _LONGEST), class_="remarks"),
        ]
        rows.append({"class": "best" if trial["is_best"] else "", "cells": cells})
    return rows


def _cell(value: Any, text: str | None = None, class_: str = "", notes: Sequence[str] = ()) -> dict[str, Any]:
    """A cell of a table that is sorted by ``value``; JavaScript calls a number without bounds Infinity."""
    numeric = is_number(value) or isinstance(value, float)
    key = str(value).replace("inf", "Infinity") if numeric else str(value)
    shown = text if text is not None else "" if numeric else str(value)
    return {"value": key, "text": shown, "class": class_ or ("n" if numeric else ""), "notes": notes}


def _remarks(trial: pd.Series) -> str:
    n = trial["deaths"]
    recovered = f"recovered from {n} death{'s' if n > 1 else ''}" if n else ""
    same = "" if pd.isna(trial["repeats"]) else f"same as trial {trial['repeats']}"
    return "; ".join(filter(None, (trial["failure"], same, recovered)))
