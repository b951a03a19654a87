"""The folder of a benchmark: its options and protocols, and finished runs that are taken into it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from recbole_cadmr.benchmark.lists import ListFile
from recbole_cadmr.benchmark.plan import Options
from recbole_cadmr.errors import UserError
from recbole_cadmr.execution.run_spec import ModelSpec
from recbole_cadmr.files import sha256_of, sha256_of_all, write_json
from recbole_cadmr.reports.results_table import first_difference
from recbole_cadmr.runs.folder import RESULT, scratch_folder
from recbole_cadmr.runs.result import check_model, read_result
from recbole_cadmr.runs.session import load_session
from recbole_cadmr.runs.topk_lists import LISTS, check_figures, rank_test, read_lists, write_lists
from recbole_cadmr.schema import checked, read_json, read_versioned
from recbole_cadmr.training.checkpoint import BEST

ADOPTED, PROTOCOL = "runs", "benchmark.json"
SCHEMA_VERSION = 2
_ANOTHER_MACHINE = 1e-3  # by which results may differ whose scores were computed elsewhere, ties of scores among them
_IN_RESULT = ("mask_valid_at_test", "metrics", "topk", "valid_metric")  # what a result says of its protocol, too
_AGREED = (*_IN_RESULT, "eval_args", "benchmark_filename")


class Content(msgspec.Struct, frozen=True):
    """Content of ``benchmark.json``: its options, which version 0.1 did not keep, its protocols by data set, and the
    files of lists that were measured."""

    options: Options | None
    protocols: dict[str, dict[str, Any]]
    lists: list[ListFile] = []
    schema_version: int = SCHEMA_VERSION


def protocols_of(specs: Sequence[ModelSpec]) -> dict[str, dict[str, Any]]:
    """What everything in a folder has to agree in, by data set: the protocol, and a hash of the interactions.

    Raises:
        UserError: if the settings of one model make its protocol another one.
    """
    agreed: dict[str, dict[str, Any]] = {}
    hashes: dict[str, str] = {}
    for spec in specs:
        config, dataset = spec.config, spec.dataset
        if dataset not in hashes:
            hashes[dataset] = sha256_of_all(sorted(config.data_folder.glob("*.inter")))
        settings = {name: config[name] for name in _AGREED}
        own = json.loads(json.dumps(settings | {"interactions": hashes[dataset]}, default=str))
        if difference := first_difference(own, agreed.setdefault(dataset, own)):
            other = f"{spec.label} would be measured under another protocol than {specs[0].label}"
            raise UserError(f"{other}: {difference}; give it to all models or to none")
    return agreed


def read_content(root: Path) -> Content:
    """What is known of the benchmark in a folder.

    Raises:
        UserError: if there is none, or it cannot be read.
    """
    file = root / PROTOCOL
    if not file.is_file():
        raise UserError(f"{root} holds no benchmark ({PROTOCOL} is missing); begin one with --output")
    content = read_json(file, dict[str, Any])
    if not isinstance(content.get("schema_version"), int):
        return Content(None, checked(content, dict[str, dict[str, Any]], file))
    return read_versioned(file, Content, SCHEMA_VERSION, "benchmark")


def open_folder(
    root: Path, options: Options, agreed: Mapping[str, dict[str, Any]], lists: Sequence[ListFile] = ()
) -> None:
    """Keep options, protocols and files of lists in the folder; refuse one whose results have other protocols, or that
    has other files by the same names."""
    protocols: dict[str, dict[str, Any]] = {}
    before: dict[tuple[str, str, int | None], ListFile] = {}
    if (root / PROTOCOL).exists():
        content = read_content(root)
        protocols, before = content.protocols, {entry.key: entry for entry in content.lists}
        for dataset in protocols.keys() & agreed.keys():
            what = f"{root} holds a benchmark on {dataset}"
            if protocols[dataset].get("interactions") != agreed[dataset]["interactions"]:
                raise UserError(f"{what} of other interactions than there are now; choose another --output")
            if difference := first_difference(protocols[dataset], agreed[dataset]):
                raise UserError(f"{what} under another protocol: {difference}; choose another --output")
    for entry in lists:
        if entry.key in before and before[entry.key].sha256 != entry.sha256:
            raise UserError(
                f"{entry.file} is not the file that stands for {entry.name} in {root}: it has changed; give it another "
                f"name, or choose another --output"
            )
    kept = list((before | {entry.key: entry for entry in lists}).values())
    write_json(root / PROTOCOL, msgspec.to_builtins(Content(options, protocols | dict(agreed), kept)))


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
        if difference := first_difference(result["protocol"], protocol, _IN_RESULT):
            raise UserError(f"{run} was measured under another protocol than this benchmark: {difference}")
        if not result["test_read"]:
            raise UserError(f"{run} has no test results; read them with: evaluate --run {run}")
        digest = sha256_of(run / RESULT)[:8]
        folder = root / ADOPTED / f"{result['dataset']}-{result['model']}-{result['protocol']['seed']}-{digest}"
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
        write_lists(rank_test(session, max(session.config["topk"]))[1], path)
