"""The folder of a benchmark: whose it is, what protocol it holds, and finished runs that are taken into it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recbole_cadmr.benchmark.plan import ModelSpec
from recbole_cadmr.errors import UserError
from recbole_cadmr.files import sha256_of, sha256_of_all
from recbole_cadmr.locking import LOCK
from recbole_cadmr.runs.folder import RESULT, scratch_folder
from recbole_cadmr.runs.result import check_model, read_result, write_json
from recbole_cadmr.runs.session import load_session
from recbole_cadmr.runs.topk_lists import LISTS, check_figures, read_lists, test_lists, write_lists
from recbole_cadmr.schema import read_json
from recbole_cadmr.training.trainer import BEST

ADOPTED, PROTOCOL = "runs", "benchmark.json"
_ANOTHER_MACHINE = 1e-3  # by which figures may differ whose scores were computed elsewhere, ties of scores among them
_AGREED = ("mask_valid_at_test", "eval_args", "benchmark_filename", "metrics", "topk", "valid_metric")


def protocols(found: Sequence[ModelSpec]) -> dict[str, dict[str, Any]]:
    """What everything in a folder has to agree in, by data set: the protocol, and a hash of the interactions.

    Raises:
        UserError: if the settings of one model make its protocol another one.
    """
    agreed: dict[str, dict[str, Any]] = {}
    hashes: dict[str, str] = {}
    for model_spec in found:
        config, dataset = model_spec.resolved, model_spec.dataset
        if dataset not in hashes:
            hashes[dataset] = sha256_of_all(sorted(config.data_folder.glob("*.inter")))
        mine = {name: config[name] for name in _AGREED} | {"interactions": hashes[dataset]}
        mine = json.loads(json.dumps(mine, default=str))
        for name, value in agreed.setdefault(dataset, mine).items():
            if mine[name] != value:
                raise UserError(
                    f"{model_spec.label} would be measured under another protocol than {found[0].label}: {name} is "
                    f"{mine[name]}, not {value}; give it to all models or to none"
                )
    return agreed


def open_folder(root: Path, agreed: Mapping[str, Mapping[str, Any]]) -> None:
    """Take note of the protocol in the folder, or refuse a folder of another one."""
    file = root / PROTOCOL
    known: dict[str, dict[str, Any]] = {}
    if file.exists():
        known = read_json(file, dict[str, dict[str, Any]])
        differing = next(
            ((dataset, name) for dataset in known.keys() & agreed.keys() for name, value in agreed[dataset].items()
             if known[dataset].get(name) != value),
            None,
        )  # fmt: skip
        if differing:
            dataset, name = differing
            what = (
                "of other interactions than there are now"
                if name == "interactions"
                else f"under another protocol: {name} is {known[dataset].get(name)}, not {agreed[dataset][name]}"
            )
            raise UserError(f"{root} holds a benchmark on {dataset} {what}; choose another --output")
    elif any(path.name != LOCK for path in root.iterdir()):
        raise UserError(f"{root} is already used, and not by a benchmark; choose another --output")
    write_json(file, {**known, **agreed})


def adopt(
    root: Path,
    runs: Sequence[str | os.PathLike[str]],
    agreed: Mapping[str, Mapping[str, Any]],
    data_path: str | None = None,
) -> list[Path]:
    """Finished runs from elsewhere, with their lists: folders in ``root`` that hold what the tables need.

    Raises:
        UserError: if a run is not finished, its test part was not read, or its data set or protocol is another.
    """
    folders = []
    for run in map(Path, runs):
        result = read_result(run)
        protocol = agreed.get(result["dataset"])
        if protocol is None:
            raise UserError(f"{run} is of {result['dataset']}, which is not in --datasets")
        own: Mapping[str, Any] = result["protocol"]
        for name in ("mask_valid_at_test", "metrics", "topk", "valid_metric"):
            if own[name] != protocol[name]:
                raise UserError(
                    f"{run} was measured under another protocol than this benchmark: {name} is "
                    f"{own[name]}, not {protocol[name]}"
                )
        if not result["test_read"]:
            raise UserError(f"{run} has no test figures; read them with: evaluate --run {run}")
        mark = sha256_of(run / RESULT)[:8]
        folder = root / ADOPTED / f"{result['dataset']}-{result['model']}-{result['protocol']['seed']}-{mark}"
        folders.append(folder)
        if (folder / RESULT).is_file():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        if (run / LISTS).is_file():
            shutil.copy(run / LISTS, folder / LISTS)
            check_figures(read_lists(folder / LISTS), result, run)
        else:
            print(f"lists of {run}", flush=True)
            complete_lists(run, folder / LISTS, data_path)
            result["test_result"] = check_figures(read_lists(folder / LISTS), result, run, _ANOTHER_MACHINE)
        write_json(folder / RESULT, result)
    return folders


def complete_lists(run: Path, path: Path, data_path: str | None = None) -> None:
    """Write the lists of a finished run, from its best model; :class:`UserError` if that is not there, or another's."""
    check_model(run, read_result(run))
    with scratch_folder() as scratch:
        session = load_session(run / BEST, scratch, data_path)
        write_lists(test_lists(session, max(session.config["topk"])), path)
