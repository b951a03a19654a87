"""The report of a search: one html page that opens without a network."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from recbole_cadmr import html_page as html
from recbole_cadmr.formatting import seconds, signed
from recbole_cadmr.reports.search_charts import LITTLE, importance_bars, learning_curves, parallel_coordinates
from recbole_cadmr.reports.search_importance import Importance, importance
from recbole_cadmr.reports.search_outcome import Outcome
from recbole_cadmr.reports.search_tables import changes_table, settings_table, test_table, trials_table
from recbole_cadmr.tuning.trial_record import FAILED, FINISHED, STOPPED, TrialRecord

_MUCH = 0.6  # R²
# Of search.json, which also holds paths of this machine.
_TOLD = ("model", "dataset", "preset", "metric", "bigger", "scheduler", "sampler", "seed", "threads", "max_epochs",
         "space")  # fmt: skip
_STYLE = """
.facts { grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); }
p.warning { border-left: 4px solid #d55e00; background: #fdf3ec; padding: 8px 12px; margin: 0 0 12px; max-width: 46em;
  font-size: 15px; }
th:first-child, td:first-child { padding-right: 12px; }
.sortable td:first-child, .sortable th:first-child { white-space: nowrap; text-align: left; }
tr.best td { background: #fdf3ec; } td { overflow-wrap: break-word; max-width: 220px; }
td.remarks { min-width: 160px; max-width: 320px; color: #56636f; }
"""
_SCHEDULERS = {
    "asha": "trials that fall behind are stopped early (ASHA)",
    "pbt": "trials that fall behind go on from the state of better ones, settings changed (population-based training)",
    "fifo": "each trial trains to its own end",
}
_SAMPLERS = {
    "random": "drawn at random",
    "grid": "all points of a grid",
    "bayesian": "proposed by Bayesian optimisation",
}


def write_report(
    search: Mapping[str, Any],
    records: Sequence[TrialRecord],
    winner: TrialRecord | None,
    test: Mapping[str, float] | None,
    path: Path,
) -> None:
    """Write the page; its numbers are in it as JSON, too (``<script id="facts">``).

    Args:
        search: content of ``search.json``.
        records: the trials by number.
        winner: the one that was chosen, None if none has a score.
        test: figures of the winner on the test part, None if it was not read.

    Raises:
        UserError: if the page cannot be written.
    """
    outcome = Outcome(search, records, winner)
    scored = outcome.scored
    scores = [score for record in scored if (score := outcome.score(record)) is not None]
    weights = importance([outcome.settings(record) for record in scored], scores, int(search["seed"]))
    preset = f" ({search['preset']})" if search["preset"] else ""
    title = f"Search for settings of {search['model']}{preset} on {search['dataset']}"
    body = [f"<h1>{escape(title)}</h1>", f'<p class="lead">{escape(_lead(outcome))}</p>',
            html.facts_grid(_glance(outcome)), *_sections(outcome, weights, test)]  # fmt: skip
    facts = figures(outcome, weights, test)
    html.write_page(path, title, body, facts, html.REPORT_STYLE + _STYLE, html.REPORT_SCRIPT)


def figures(outcome: Outcome, weights: Importance | None, test: Mapping[str, float] | None) -> dict[str, Any]:
    """The numbers of the page."""
    winner = outcome.winner
    allowed, epochs = _epochs(outcome)
    return {
        "search": {name: outcome.search[name] for name in _TOLD},
        "best_trial": winner.number if winner else None,
        "best_score": outcome.score(winner) if winner else None,
        "best_settings": outcome.settings(winner) if winner else None,
        "defaults_score": outcome.defaults_score,
        "difference": _difference(outcome),
        "trials_by_status": _by_status(outcome),
        "epochs_trained": epochs,
        "epochs_allowed": allowed,
        "seconds": _seconds(outcome),
        "importance": vars(weights) if weights else None,
        "test": {name: value if math.isfinite(value) else None for name, value in test.items()} if test else None,
        "trials": [_trial(outcome, record) for record in outcome.records],
    }


def _trial(outcome: Outcome, record: TrialRecord) -> dict[str, Any]:
    best = record.best(outcome.bigger)
    kept = ("number", "status", "point", "changes", "failure", "deaths", "repeats", "epochs", "seconds",
            "peak_memory_bytes")  # fmt: skip
    return {name: getattr(record, name) for name in kept} | {
        "best_score": outcome.score(record),
        "best_epoch": best["epoch"] if best else None,
        "best_settings": outcome.settings(record),
    }


def _lead(outcome: Outcome) -> str:
    search = outcome.search
    sampler, scheduler = (known.get(search[name], search[name]) for name, known in
                          (("sampler", _SAMPLERS), ("scheduler", _SCHEDULERS)))  # fmt: skip
    return (
        f"{_count(len(outcome.records), 'trial')}: the defaults, and settings {sampler}; {scheduler}. Chosen by "
        f"{outcome.metric} in validation, {'more' if outcome.bigger else 'less'} is better; the test part has no say. "
        f"Seed {search['seed']}, {_count(search['threads'], 'thread')} a trial. Epochs count from 0."
    )


def _glance(outcome: Outcome) -> dict[str, str]:
    """The facts at the head, by what they are."""
    winner, score = outcome.winner, outcome.defaults_score
    facts = {}
    if winner is not None and (best := outcome.score(winner)) is not None:
        facts[f"best {outcome.metric}, trial {winner.number}: {outcome.words(winner)}"] = f"{best:.4f}"
    else:
        facts["no trial has a score"] = "–"
    defaults = outcome.defaults
    if defaults is None or score is None:
        facts["the defaults (trial 1) have no score"] = "–"
    else:
        ended = f", stopped early after {_count(defaults.epochs, 'epoch')}" if defaults.status == STOPPED else ""
        facts[f"{outcome.metric} of the defaults (trial 1){ended}"] = f"{score:.4f}"
    if (difference := _difference(outcome)) is not None:
        relative = f", {abs(difference / score):.1%} better" if score and difference else ""
        facts[f"best trial against the defaults{relative}"] = signed(difference) if difference else "none better"
    by_status = _by_status(outcome)
    rest: dict[str, str] = {STOPPED: "stopped early", FAILED: "failed"}
    others = ", ".join(f"{n} {rest.get(status, status)}" for status, n in by_status.items() if status != FINISHED and n)
    facts["trials finished" + (f"; {others}" if others else "")] = f"{by_status[FINISHED]} of {len(outcome.records)}"
    allowed, epochs = _epochs(outcome)
    if allowed:
        facts[f"of the epochs that were allowed were trained, {epochs:,} of {allowed:,}"] = f"{epochs / allowed:.0%}"
    facts["training and validation, all trials together"] = seconds(_seconds(outcome))
    return facts


def _sections(outcome: Outcome, weights: Importance | None, test: Mapping[str, float] | None) -> Iterable[str]:
    changed = any(record.changes for record in outcome.records)
    yield _title("Settings", "What was searched; bold is where the best trial differs from the defaults.")
    yield settings_table(outcome)
    if test:
        yield _title("Test figures of the best trial", "Read once, after the search; nothing was chosen by them.")
        yield test_table(test)
    if drawn := parallel_coordinates(outcome, "parallel"):
        yield _title("Settings and scores", "A line a trial: the bluer the better, the best one orange, the defaults "
                     "black. Settings that never vary are left out. Drag along an axis to pick trials, drag its name "
                     "to move it.")  # fmt: skip
        yield drawn
    if drawn := learning_curves(outcome, "curves"):
        yield _title("Learning curves", "Point at a line for its trial and settings; click in the legend to hide and "
                     "show, double-click to see one kind alone.")  # fmt: skip
        yield drawn
    yield from _weights(len(outcome.scored), weights, changed)
    yield _title("Trials", "Click on a head to sort. Scores are the best of a trial, so far if it was stopped."
                 + (" Settings are those that it reached its best score with." if changed else ""))  # fmt: skip
    yield trials_table(outcome)
    if changed:
        yield _title("Changes on the way", "Settings that trials went on with in place of their own.")
        yield changes_table(outcome)


def _weights(n: int, found: Importance | None, changed: bool) -> Iterable[str]:
    """Which settings matter, and how far that is to be believed."""
    if found is None:
        yield _title("What mattered", "Not reckoned: fewer than 8 trials have a score, or nothing varied.")
        return
    yield _title("What mattered", f"A random forest learned the score from the settings of {n} trials; a setting's "
                 "share is by how much the forest gets worse when its values are shuffled. Stopped trials count with "
                 "their best score so far, so what pays off late in training looks smaller than it is."
                 + (" Trials count with the settings of their best epoch." if changed else ""))  # fmt: skip
    told = f"R² = {found.r_squared:.2f}".replace("-", "\u2212")
    part = f"explains {max(found.r_squared, 0):.0%} of the differences between their scores ({told})"
    if found.r_squared < LITTLE:
        worse = f"foretells their scores worse than the mean does ({told})" if found.r_squared < 0 else part
        yield (f'<p class="warning"><b>These shares are not to be relied on.</b> Tested on trials that it had not '
               f"seen, the forest {worse}. More trials may help.</p>")  # fmt: skip
    else:
        trust = "so the order can be relied on" if found.r_squared >= _MUCH else "so take the order as a hint"
        yield f'<p class="lead">Tested on trials that it had not seen, the forest {part}, {trust}.</p>'
    yield importance_bars(found, "importance")


def _title(text: str, lead: str) -> str:
    return f'<h3>{text}</h3><p class="lead">{lead}</p>'


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _difference(outcome: Outcome) -> float | None:
    best, defaults = outcome.score(outcome.winner) if outcome.winner else None, outcome.defaults_score
    return None if best is None or defaults is None else best - defaults


def _by_status(outcome: Outcome) -> dict[str, int]:
    statuses = [record.status for record in outcome.records]
    return {status: statuses.count(status) for status in dict.fromkeys([FINISHED, STOPPED, FAILED, *statuses])}


def _epochs(outcome: Outcome) -> tuple[int, int]:
    """Epochs that the trials might have trained, and those that they did."""
    trained = outcome.trained
    return int(outcome.search["max_epochs"]) * len(trained), sum(record.epochs for record in trained)


def _seconds(outcome: Outcome) -> float:
    return sum(record.seconds for record in outcome.trained)
