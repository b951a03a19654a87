"""The figures of a run that a study compares: names, and how each is read from what the run left."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from recbole_cadmr.config.config import Config
from recbole_cadmr.config.domain_metrics import DOMAIN_METRICS
from recbole_cadmr.errors import UserError, did_you_mean
from recbole_cadmr.reports.collect import measured
from recbole_cadmr.reports.frame import ALL, EVALUATION, MEMORY, PARAMETERS, RUN, TRAINING
from recbole_cadmr.reports.results_table import COSTS
from recbole_cadmr.runs.result import RunResult
from recbole_cadmr.runs.topk_lists import RANKING, TopKLists
from recbole_cadmr.study.measurements import MEASUREMENTS
from recbole_cadmr.training.contents import Validation

TOTAL_CORRELATION = "total correlation"
# What models say about themselves, by the names that they give it.
_KINDS = ("", "_chance", "_permuted", "_mean", "_norms")
_COSINES = tuple(f"cos/{what}{kind}" for what in ("row", "head") for kind in _KINDS)
_DIAGNOSTICS = ("gate", *_COSINES)
_OF_RUN = (TRAINING, EVALUATION, *COSTS, MEMORY, PARAMETERS, "best validation", "epochs")
# Of a gated cross-attention, by modality, or by stream: then the mean over the places where it stands (A0, A1).
_ALIGNMENT = ("abs_cos", "mean_cos", "norm_ratio", "permuted", "gate")
_STREAMS = ("A", "B", "text", "image", "audio")
_BY_STREAM = re.compile(rf"(untrained_)?({'|'.join(_ALIGNMENT)})_(?P<stream>(?![C-Z]$)[^\W\d]\w*)")
_AT_PLACE = re.compile(rf"((?:untrained_)?(?:{'|'.join(_ALIGNMENT)})_[AB])\d+")
_OF_ALIGNMENT = tuple(
    f"{before}{name}_{stream}" for before in ("", "untrained_") for name in _ALIGNMENT for stream in _STREAMS
)
# Before a figure: on validation, at the best epoch that a second phase has trained, whatever it started from.
FINE_TUNED = "fine-tuned "
_SECOND = "finetune"
_OF_LISTS = (*map(str.lower, RANKING), *map(str.lower, DOMAIN_METRICS), "itemcoverage", "giniindex", "tailpercentage")


def check_figure(figure: str, measure: Sequence[str]) -> None:
    """Raise :class:`UserError` unless a figure is one that runs, or what is measured on them, can have."""
    metric, _, k = figure.partition("@")
    own = {extra for measurement in measure for extra in MEASUREMENTS[measurement].figures}
    said = {*_DIAGNOSTICS, TOTAL_CORRELATION}
    single = {*_OF_RUN, *said, *_OF_ALIGNMENT, *own, *(FINE_TUNED + figure for figure in said)}
    metrics = [*_OF_LISTS, *(FINE_TUNED + name.lower() for name in RANKING)]
    if figure in single or (metric in metrics and re.fullmatch("[1-9][0-9]{0,8}", k)) or _BY_STREAM.fullmatch(figure):
        return
    near = did_you_mean(figure, [*single, *(f"{name}@{k or 20}" for name in metrics)])
    raise UserError(f"there is no figure '{figure}'{near}")


def check_streams(figures: Iterable[str], modalities: Iterable[str], dataset: str) -> None:
    """Raise :class:`UserError` if a figure is that of a modality that is none of a data set's, nor a usual one."""
    known = (*_STREAMS, *modalities)
    for figure in figures:
        if (found := _BY_STREAM.fullmatch(figure)) and (stream := found["stream"]) not in known:
            near = did_you_mean(stream, known)
            raise UserError(f"there is no figure '{figure}' on {dataset}, which has no modality {stream}{near}")


def check_measured(figures: Sequence[str], config: Config) -> None:
    """Raise :class:`UserError` unless a run with these settings measures the figures of lists."""
    for figure in figures:
        name, at, k = figure.removeprefix(FINE_TUNED).partition("@")
        metrics = [*map(str.lower, config["metrics"]), *_OF_LISTS[len(RANKING) :]]
        if at and (name not in metrics or int(k) not in config["topk"]):
            listed = ", ".join(map(str, config["topk"]))
            raise UserError(f"{figure} is not measured; metrics are {', '.join(config['metrics'])} at {listed}")


def figures_of(lists: TopKLists, result: RunResult) -> Iterator[tuple[str, str, float]]:
    """Stratum (``ALL`` for all held-out items, and what the run took), name and value of all that was measured."""
    for part, name, value in measured(lists, result):
        if value is not None:
            yield ALL if part == RUN else part, name, value
    best_epoch = result["best_epoch"], result["best_valid_score"]
    best = [entry for entry in result["history"] if (entry["epoch"], entry["valid_score"]) == best_epoch]
    said = _said(best[-1]) if best else {}
    if (tuned := _fine_tuned(result)) is not None:
        own = {**tuned["valid_result"], **_said(tuned)}
        said |= {FINE_TUNED + name: value for name, value in own.items() if value is not None}
    yield from ((ALL, name, value) for name, value in said.items())


def _fine_tuned(result: RunResult) -> Validation | None:
    """The best validation of a second phase but the one that it starts with; None if there was none."""
    from recbole.evaluator import smaller_metrics  # heavy

    metric = result["protocol"]["valid_metric"].partition("@")[0].lower()
    best = min if metric in smaller_metrics else max
    trained = [entry for entry in result["history"] if entry["phase"] == _SECOND and entry["losses"]]
    return best(trained, key=lambda entry: float(entry["valid_score"] or 0.0), default=None)


def _said(entry: Validation) -> dict[str, float]:
    """What the model said about itself at a validation."""
    known = {name: value for name, value in (entry.get("diagnostics") or {}).items() if value is not None}
    parts = [value for name, value in known.items() if name.startswith("tc/")]
    total = {TOTAL_CORRELATION: sum(parts)} if parts else {}
    by_stream: dict[str, list[float]] = {}
    for name, value in known.items():
        if _BY_STREAM.fullmatch(name):
            by_stream.setdefault(_AT_PLACE.sub(r"\1", name), []).append(value)
    alignment = {name: sum(values) / len(values) for name, values in by_stream.items()}
    return total | alignment | {name: known[name] for name in _DIAGNOSTICS if name in known}
