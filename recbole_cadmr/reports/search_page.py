"""The page of a search: what was tried, what came of it, and which settings mattered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from recbole_cadmr.formatting import memory, seconds, short, text_of
from recbole_cadmr.html_page import write_page
from recbole_cadmr.reports.search_figures import LITTLE, by_setting, importance_bars, learning_curves
from recbole_cadmr.reports.search_importance import Importance, importance, is_number, key_of
from recbole_cadmr.runs.result import metric_frame

# Of search.json, which also holds paths of this machine.
_SHOWN = ("model", "dataset", "preset", "metric", "bigger", "scheduler", "sampler", "seed", "threads", "max_epochs")
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
    write_page(
        path,
        "search.html.j2",
        f"Search for settings of {search['model']}{preset} on {search['dataset']}",
        _facts(search, trials, winner, defaults, shares, test),
        defaults=defaults,
        settings=_settings(search, None if winner is None else trials.loc[winner], defaults),
        tested=metric_frame(test).reset_index(names="metric") if test else None,
        by_setting=by_setting(search["metric"], names, scored),
        curves=learning_curves(search["metric"], names, trained, validations),
        importance_bars=importance_bars(shares) if shares else "",
        n_scored=len(scored),
        little=LITTLE,
        much=_MUCH,
        table=_table(search, names, trials),
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
        "test": test,
        "trials": trials.to_dict("records"),
    }


def _settings(search: Mapping[str, Any], best: pd.Series | None, defaults: pd.Series | None) -> list[dict[str, Any]]:
    """What was searched, what is best and what the defaults are."""
    return [
        {
            "name": name,
            "best": "" if best is None else text_of(best[name]),
            "default": "" if defaults is None else text_of(defaults[name]),
            "differs": best is not None and (defaults is None or key_of(best[name]) != key_of(defaults[name])),
            "searched": searched,
        }
        for name, searched in search["space"].items()
    ]


def _table(search: Mapping[str, Any], names: Sequence[str], trials: pd.DataFrame) -> dict[str, Any]:
    """All trials, the best first, for the macro ``sortable``."""
    metric, sign = search["metric"], -1 if search["bigger"] else 1
    order = pd.DataFrame(
        {"failed": trials["status"] == "failed", "worse": sign * trials["best_valid_score"].astype(float)}
    )
    trials = trials.loc[order.sort_values(["failed", "worse"], kind="stable").index]
    is_own = trials["repeats"].isna()
    numeric = {name: trials[name].map(is_number).all() for name in names}
    columns: dict[str, tuple[Iterable[Any], Callable[[Any], str]]] = {
        "trial": (trials["trial"], lambda number: _numbered(trials.loc[number])),
        "status": (trials["status"], str),
        metric: (trials["best_valid_score"], "{:.4f}".format),
        **{name: (trials[name] if numeric[name] else trials[name].map(text_of), text_of) for name in names},
        "epoch of the best": (trials["best_epoch"], str),
        "epochs trained": (trials["epochs_run"].where(is_own), str),
        "time": (trials["seconds"].where(is_own), seconds),
        "peak memory": (trials["peak_memory_bytes"], memory),
        "remarks": ([_remarks(trial) for _, trial in trials.iterrows()], lambda text: short(text, _LONGEST)),
    }
    missing = "", f"{'-' * search['bigger']}Infinity"  # as JavaScript calls it
    cells = [[missing if pd.isna(v) else (text(v), v) for v in values] for values, text in columns.values()]
    return {
        "columns": [(name, numeric.get(name, name not in ("status", "remarks"))) for name in columns],
        "rows": list(zip(*cells)),
        "best": np.flatnonzero(trials["is_best"]),
        "order": {metric: "descending" if search["bigger"] else "ascending"},
    }


def _numbered(trial: pd.Series) -> Markup:
    """The number of a trial, and what it is."""
    notes = {"best": trial["is_best"], "defaults": trial["is_default"]}
    return Markup(
        " ".join([str(trial["trial"]), *(f"<small>{note}</small>" for note, holds in notes.items() if holds)])
    )


def _remarks(trial: pd.Series) -> str:
    n = trial["deaths"]
    recovered = f"recovered from {n} death{'s' if n > 1 else ''}" if n else ""
    same = "" if pd.isna(trial["repeats"]) else f"same as trial {trial['repeats']}"
    return "; ".join(filter(None, (trial["failure"], same, recovered)))
