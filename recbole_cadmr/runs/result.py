"""What a run leaves: ``result.json``, and the tables that a person reads."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, cast

import pandas as pd
import psutil
import torch
from msgspec import Meta
from typing_extensions import NotRequired, TypedDict

from recbole_cadmr.config.config import Config
from recbole_cadmr.config.deprecated import current_names, with_former_values
from recbole_cadmr.config.model_yaml import Published, published
from recbole_cadmr.data.prepare.card import facts_of
from recbole_cadmr.errors import UserError
from recbole_cadmr.files import read_text
from recbole_cadmr.formatting import folded, screen_width, short
from recbole_cadmr.models.contract import traits
from recbole_cadmr.runs.folder import RESULT
from recbole_cadmr.runs.session import Session, check_origin, own_model, read_checkpoint, versions
from recbole_cadmr.schema import read_versioned
from recbole_cadmr.training.checkpoint import BEST
from recbole_cadmr.training.contents import (
    Count,
    CpuSeconds,
    DatasetName,
    Energy,
    Epoch,
    Final,
    Fingerprint,
    ModelName,
    OwnModel,
    Seconds,
    Validation,
)

SCHEMA_VERSION = 1
_SHARES = ("recall", "ndcg", "hit", "precision", "mrr", "map", "gauc")  # metrics that lie between 0 and 1
_ROUNDING = 1e-6
_COLUMN = 9  # letters of a column of figures
_LONGEST = 200  # characters of a note


class Protocol(TypedDict):
    """How the metrics of a result were measured: what makes two results comparable."""

    split: str | dict[str, Any]
    split_note: NotRequired[str | None]  # by the card of the data set, if its files are the split
    order: str | None
    group_by: str | None
    candidates: str
    mask_valid_at_test: bool
    metrics: Annotated[list[Annotated[str, Meta(pattern=r"^\w+$")]], Meta(min_length=1)]
    topk: Annotated[list[Annotated[int, Meta(ge=1, le=2**31)]], Meta(min_length=1)]
    valid_metric: str
    seed: int
    threads: Count
    data_note: str | None


class Coverage(TypedDict):
    """How many of the items have a modality, and how long its vectors are."""

    items: Count
    of: Count
    width: Count


class Gpu(TypedDict):
    """The GPU of a run, and the largest amount of its memory that tensors took, and that torch had reserved."""

    name: str
    peak_allocated_bytes: Count
    peak_reserved_bytes: Count


class Choices(TypedDict):
    """What a model chose on validation by itself.

    Attributes:
        settings: of the closed form, by name; out of how many, in how many fits.
        attention: of the attention that learns, by name; out of how many.
    """

    settings: dict[str, Any]
    fits: Count
    tried: Count
    attention: NotRequired[dict[str, Any]]
    trials: NotRequired[Count]


class RunResult(TypedDict):
    """Content of ``result.json``; metrics are unrounded, and what was not measured is None.

    ``peak_memory_bytes`` are of main memory. Files of earlier versions lack ``id``, ``modalities``, ``gpu`` and
    ``cpu_seconds``. One that has ``final`` is of a run on all interactions, and holds no metric; one that has
    ``own_model``, of a class of the user's own; ``energy`` is there where it was measured.
    """

    schema_version: int
    id: NotRequired[str | None]
    final: NotRequired[Final]
    own_model: NotRequired[OwnModel]
    model: ModelName
    dataset: DatasetName
    fingerprint: Fingerprint
    protocol: Protocol
    modalities: NotRequired[dict[str, Coverage]]
    best_valid_score: float | None
    best_valid_result: dict[str, float | None] | None
    best_epoch: Epoch | None
    test_read: bool
    test_result: dict[str, float] | None
    seconds: dict[str, Seconds]
    evaluation_seconds: Seconds
    seconds_per_evaluation: Seconds | None
    cpu_seconds: NotRequired[CpuSeconds]
    energy: NotRequired[Energy]
    epochs_run: Count
    peak_memory_bytes: Count
    gpu: NotRequired[Gpu | None]
    parameters: Count
    settings: dict[str, Any]
    choices: NotRequired[Choices | None]
    versions: dict[str, str]
    history: list[Validation]


def protocol(session: Session) -> Protocol:
    """How the metrics of a session are measured."""
    config = session.config
    return {
        "split": _split(config),
        "split_note": _split_note(config),
        "order": None if config["benchmark_filename"] else config["eval_args"]["order"],
        "group_by": None if config["benchmark_filename"] else config["eval_args"]["group_by"],
        "candidates": "all items" if config["domain_field"] is None else "items of the target's domain",
        "mask_valid_at_test": config["mask_valid_at_test"],
        "metrics": list(config["metrics"]),
        "topk": list(config["topk"]),
        "valid_metric": config["valid_metric"],
        "seed": config["seed"],
        "threads": torch.get_num_threads(),
        "data_note": config["data_note"],
    }


def _split(config: Config) -> str | dict[str, Any]:
    if config.final is not None:
        return "none: all interactions are trained on"
    split: dict[str, Any] = config["eval_args"]["split"]
    return "pre-split" if config["benchmark_filename"] else split


def _split_note(config: Config) -> str | None:
    card = Path(config["data_path"]) / "dataset_card.md"
    if config.final is not None or not config["benchmark_filename"] or not card.is_file():
        return None
    note = facts_of(read_text(card)).get("split")
    return short(note, _LONGEST) if note else None


def best_validation(history: Sequence[Validation], score: float, valid: Any) -> Validation | None:
    """The validation of a score and result: of several of the score, one of the result, and the latest of these."""
    of_score = [entry for entry in history if entry["valid_score"] == score]
    return max(of_score, key=lambda entry: (entry["valid_result"] == valid, entry["epoch"]), default=None)


def training_result(session: Session, score: float, valid: Any, test: Any) -> RunResult:
    """Content of ``result.json``; metrics are unrounded, and what was not measured is null."""
    trainer = session.trainer
    best = best_validation(trainer.history, score, valid)
    evaluation = trainer.seconds["evaluation"]
    result: RunResult = {
        "schema_version": SCHEMA_VERSION,
        "id": trainer.metadata.get("id"),
        "model": session.config["model"],
        "dataset": session.config["dataset"],
        "fingerprint": session.fingerprint,
        "protocol": protocol(session),
        "modalities": cast(dict[str, Coverage], session.dataset.coverage()),
        "best_valid_score": score if math.isfinite(score) else None,
        "best_valid_result": dict(valid) if valid else None,
        "best_epoch": best["epoch"] if best else None,
        "test_read": test is not None,
        "test_result": dict(test) if test else None,
        "seconds": {name: value for name, value in trainer.seconds.items() if name != "evaluation"},
        "evaluation_seconds": evaluation,
        "seconds_per_evaluation": evaluation / trainer.evaluations if trainer.evaluations else None,
        "cpu_seconds": trainer.cpu_seconds,
        "epochs_run": len(trainer.train_loss_dict),
        "peak_memory_bytes": peak_memory(),
        "gpu": gpu_memory(session.config["device"]),
        "parameters": sum(p.numel() for p in session.model.parameters() if p.requires_grad),
        "settings": session.config.changed,
        "choices": cast(Choices, choices) if (choices := trainer.hooks.choices()) else None,
        "versions": versions(),
        "history": trainer.history,
    }
    if (own := own_model(session.config)) is not None:
        result["own_model"] = own
    if (energy := trainer.energy) is not None:
        result["energy"] = energy
    if session.config.final is not None:
        result["final"] = cast(Final, session.config.final)
    return result


def read_result(folder: Path) -> RunResult:
    """The result of the finished run in ``folder``.

    Raises:
        UserError: if there is none, its parts are not of the declared kinds or do not go together, or it is of a final
            run, which was measured on nothing.
    """
    path = folder / RESULT
    if not path.exists():
        raise UserError(f"{folder} holds no {RESULT}; its run is not finished")
    result = read_versioned(path, RunResult, SCHEMA_VERSION, "result")
    if "final" in result:
        of = result["final"]["run"] or "another run"
        raise UserError(
            f"{folder} holds a final run, trained on all interactions and measured on none; give the run whose "
            f"settings it has ({of})"
        )
    result["settings"] = current_names(result["model"], result["settings"], str(path), warn=False)
    if "choices" not in result:
        result["settings"] = with_former_values(result["model"], result["settings"])
    reason = _contradiction(result)
    if reason:
        raise UserError(f"{path} is damaged or was edited: {reason}")
    return result


def traits_of(result: RunResult) -> dict[str, bool]:
    """Whether the model of a result is ``multimodal`` and ``deterministic``; of a class of the user's own as kept."""
    own: Any = result.get("own_model") or vars(traits(result["model"]))
    return {name: own[name] for name in ("multimodal", "deterministic")}


def published_of(result: RunResult) -> Published | None:
    """What was published of the model and preset of a result on its split."""
    counts = result["fingerprint"]["counts"]["interactions"]
    return published(result["model"], result["settings"].get("preset"), result["dataset"], counts)


def _contradiction(result: RunResult) -> str | None:
    """What in a result does not go together; None if nothing does not."""
    protocol, best = result["protocol"], result["best_epoch"]
    metrics = {name.lower(): {f"{name.lower()}@{k}" for k in protocol["topk"]} for name in protocol["metrics"]}
    known = set(metrics).union(*metrics.values())  # some metrics have no list length
    parts: dict[str, Mapping[str, float | None] | None] = {
        "best_valid_result": result["best_valid_result"],
        "test_result": result["test_result"],
    }
    for part, values in parts.items():
        if values is None:
            continue
        if not all(name in values or at_k <= values.keys() for name, at_k in metrics.items()):
            return f"{part} lacks a metric"
        if not values.keys() <= known:
            return f"{part} has a metric that the run does not measure"
        if wrong := _impossible(values, sorted(protocol["topk"])):
            return f"{part} has {wrong}"
    if protocol["valid_metric"].lower() not in known:
        return "valid_metric is none of its metrics"
    if result["test_result"] is not None and not result["test_read"]:
        return "it has metrics of a test part that was not read"
    chosen = best, result["best_valid_score"], result["best_valid_result"]
    measured = [(e["epoch"], e["valid_score"], e["valid_result"]) for e in result["history"]]
    if best is not None and chosen not in measured:
        return "its best epoch is not in its history"
    if best is None and result["best_valid_score"] is not None:
        return "its best score is that of no epoch"
    return None


def _impossible(result: Mapping[str, float | None], topk: Sequence[int]) -> str | None:
    """A value that no ranking can have, in words: a share beyond 0 and 1, a longer list with less in it."""
    values = {name: value for name, value in result.items() if value is not None}
    for name, value in values.items():
        if name.partition("@")[0] in _SHARES and not -_ROUNDING <= value <= 1 + _ROUNDING:
            return f"{name} {value:g}, which lies between 0 and 1"
    for metric in ("recall", "hit"):
        by_length = [values[f"{metric}@{k}"] for k in topk if f"{metric}@{k}" in values]
        if any(longer < shorter - _ROUNDING for shorter, longer in pairwise(by_length)):
            return f"a {metric} that falls with the length of the list"
    return None


def check_model(folder: Path, result: RunResult) -> None:
    """Raise :class:`UserError` unless the ``model.pt`` in a run's folder is the one that its result speaks of."""
    content = read_checkpoint(folder / BEST)
    check_origin(content, result, folder / BEST, folder / RESULT)
    score = content.get("best_valid_score", -math.inf)
    if (score if math.isfinite(score) else None) != result["best_valid_score"]:
        raise UserError(f"{folder / BEST} is not the best model of its run: its validation score is {score}")


def metric_table(results: Mapping[str, Mapping[str, float | None] | None]) -> str:
    """Results one below the other, one block a name, which has a line of its own where a terminal is too narrow."""
    frames = {title: metric_frame(part) for title, part in results.items() if part}
    width = max(map(len, frames), default=0)
    fits = all(width + _COLUMN * frame.shape[1] <= screen_width() for frame in frames.values())
    blocks = (
        frame.rename_axis(columns=f"{title:<{width}}").to_string(col_space=_COLUMN - 1)
        if fits
        else f"{folded(title)}\n{frame.to_string(col_space=_COLUMN - 1)}"
        for title, frame in frames.items()
    )
    return "\n\n".join(blocks)


def result_tables(result: RunResult) -> dict[str, Mapping[str, float | None] | None]:
    """The metrics of a result by what a person is to know of them."""
    masked = "train and validation" if result["protocol"]["mask_valid_at_test"] else "train"
    return {
        "best validation": result["best_valid_result"],
        f"test, {masked} items left out": result["test_result"],
    }


def headline(result: RunResult) -> str:
    """What a result is of, in a line."""
    note = result["protocol"]["data_note"]
    return f"{result['model']} on {result['dataset']}{f' ({note})' if note else ''}"


def outcome(result: RunResult) -> str:
    """What came out, in a line: the metric that the best epoch was chosen by, on validation and test."""
    metric, score, test = result["protocol"]["valid_metric"].lower(), result["best_valid_score"], result["test_result"]
    parts = [] if score is None else [f"{score:.4f} on validation (epoch {result['best_epoch']})"]
    if test is not None and metric in test:
        parts.append(f"{test[metric]:.4f} on test")
    return f"{metric} {', '.join(parts) or 'was not measured'}"


class PrintedResult(dict[str, Any]):
    """The content of ``result.json``, which prints as tables."""

    def __repr__(self) -> str:
        return f"{headline(cast(RunResult, self))}\n\n{metric_table(result_tables(cast(RunResult, self)))}".rstrip()

    def _repr_html_(self) -> str:
        tables = result_tables(cast(RunResult, self)).items()
        frames = [metric_frame(values).rename_axis(columns=title).to_html() for title, values in tables if values]
        return "\n".join([f"<p>{escape(headline(cast(RunResult, self)))}</p>", *frames])


def metric_frame(result: Mapping[str, float | None]) -> pd.DataFrame:
    """Metrics as rows and list lengths as columns, rounded for display."""
    names = pd.MultiIndex.from_tuples([name.partition("@")[::2] for name in result])
    cells = pd.Series(["" if value is None else f"{value:.4f}" for value in result.values()], names).unstack(
        fill_value=""
    )
    lengths = sorted(cells.columns, key=lambda length: int(length or 0))
    return cells.loc[names.unique(0), lengths].rename(columns=lambda length: f"@{length}" if length else "")


def reset_peak_memory() -> None:
    """Let :func:`gpu_memory` count from now on, and :func:`peak_memory` where the system can (Linux)."""
    if torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> int:
    """Largest resident size of this process so far, in bytes."""
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage on Linux starts from the peak of the process that started this one
        return next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if "VmHWM" in line)
    import resource

    peak = int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return peak if sys.platform == "darwin" else peak * 1024


def gpu_memory(device: torch.device) -> Gpu | None:
    """What this process has taken of a GPU's memory at most; None for a device that is none."""
    if device.type != "cuda":
        return None
    return {
        "name": torch.cuda.get_device_name(device),
        "peak_allocated_bytes": torch.cuda.max_memory_allocated(device),
        "peak_reserved_bytes": torch.cuda.max_memory_reserved(device),
    }
