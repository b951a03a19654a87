"""A search from its options to its results."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from recbole_cadmr.config.config import placed
from recbole_cadmr.errors import UserError
from recbole_cadmr.execution.shared_folder import MARK
from recbole_cadmr.files import refuse_links, remove_temporaries
from recbole_cadmr.locking import resumable_in
from recbole_cadmr.models.own import again, named, refuse_other, take_in
from recbole_cadmr.reports.search_page import write_search_page
from recbole_cadmr.runs.evaluate import read_test
from recbole_cadmr.runs.folder import RunFolder
from recbole_cadmr.runs.result import read_result
from recbole_cadmr.runs.session import check_own_model
from recbole_cadmr.tuning.outputs import (
    BEST_SETTINGS,
    REPORT,
    TABLE,
    summary,
    trials_frame,
    validations_frame,
    write_best,
    write_table,
)
from recbole_cadmr.tuning.plan import SEARCH, Plan, check_same, make_plan, read_plan
from recbole_cadmr.tuning.resources import Resources
from recbole_cadmr.tuning.samplers import equal_as_json
from recbole_cadmr.tuning.search import RAY, is_complete, search
from recbole_cadmr.tuning.trial_folder import TrialFolder
from recbole_cadmr.tuning.trial_record import TrialRecord, best_record, read_records
from recbole_cadmr.tuning.trial_store import TrialStore


class NothingFoundError(UserError):
    """No trial of a search has a result."""


@dataclass(frozen=True, repr=False)
class SearchResult:
    """The outcome of a search, which prints as ``tune`` shows it.

    Attributes:
        folder: holds ``best.yaml``, ``trials.csv``, ``report.html``, and the trials.
        winner: the trial with the best validation score.
        test: its metrics on the test part; None if that was left unread.
    """

    folder: Path
    plan: Plan
    records: list[TrialRecord]
    winner: TrialRecord
    test: dict[str, float] | None

    def __repr__(self) -> str:
        return summary(self.plan, self.records, self.winner, self.test, self.folder).strip()

    @property
    def run(self) -> Path:
        """The winner's run."""
        return TrialFolder(self.folder, self.winner.number).run.path


def tune(
    model: str | type | None = None,
    dataset: str | os.PathLike[str] | None = None,
    *,
    output: str | os.PathLike[str],
    settings: Mapping[str, Any] | None = None,
    resources: Resources | None = None,
    test: bool = True,
    **options: Any,
) -> SearchResult:
    """Search settings by their best score on validation; the test part is read once, for the winner, at the end.

    The same search in ``output`` is resumed; what is finished is not run again.

    Args:
        output: folder of the search; on a cluster, on storage that all of its nodes share.
        test: whether the test part is read for the winner.
        model, dataset, settings: as in :func:`make_plan`, which has all other options, too; a model of your own is its
            class, or names it as ``FILE.py:CLASS`` or ``package.module:CLASS``.

    Raises:
        UserError: on anything wrong with the options, if ``output`` holds anything else, and if no trial has a result.
    """
    root = Path(output).absolute()
    dataset, settings = placed(dataset, settings or {})
    resources = _with_threads(resources or Resources(), settings.get("threads"))
    plan = make_plan(named(model), dataset, threads=resources.threads, settings=settings, **options)
    command = f"python -m recbole_cadmr tune --resume {shlex.quote(str(root))}{again('--model', [plan.model])}"
    with resumable_in(root, "search", f"with: {command}", SEARCH, MARK):
        if (root / SEARCH).is_file():
            check_same(read_plan(root), plan, root)
        shutil.rmtree(root / RAY, ignore_errors=True)  # of a search that was killed
        refuse_links(root.resolve())
        remove_temporaries(root)
        check_records(plan, read_records(root), root)
        if not is_complete(plan, read_records(root)):
            search(plan, root, resources)
        return _conclude(plan, root, test and bool(plan.config()["evaluate_test"]))


def _with_threads(resources: Resources, threads: Any) -> Resources:
    """The cores of a trial by the setting ``threads``, which is another word for them."""
    if threads is None:
        return resources
    if not isinstance(threads, int) or threads < 1:
        raise UserError(f"threads must be a whole number from 1 on, not {threads!r}")
    if resources.cpus is not None and resources.threads != threads:
        raise UserError(f"a trial has as many threads as cores; give --cpus {threads} alone, or leave out threads")
    return replace(resources, cpus=resources.cpus or threads)


def resume(
    folder: str | os.PathLike[str],
    *,
    model: str | type | None = None,
    trials: int | None = None,
    data_path: str | os.PathLike[str] | None = None,
    resources: Resources | None = None,
) -> SearchResult:
    """Resume the search in a folder, with the options that it was started with.

    Args:
        model: the class, of a search for settings of a model of your own, as of :func:`tune`.
        trials: most trials, if more than before.
        data_path: where the data set lies, if it has moved.
        resources: the threads of a trial stay what they were.
    """
    own, begun, resources = take_in(model), read_plan(Path(folder).absolute()), resources or Resources()
    refuse_other(own, begun.model)
    check_own_model({"model": begun.model, "own_model": begun.own_model}, f"the search in {folder}")
    options = {name: getattr(begun, name) for name in ("preset", "space", "sampler", "scheduler")}
    settings = {name: value for name, value in begun.settings.items() if name != "threads"}
    return tune(
        begun.model,
        begun.dataset,
        output=folder,
        trials=trials or (None if begun.sampler == "grid" else begun.trials),
        grace=begun.grace if begun.scheduler != "fifo" else None,
        settings=settings | ({"data_path": str(data_path)} if data_path is not None else {}),
        resources=resources if resources.cpus is not None else replace(resources, cpus=begun.threads),
        **options,
    )


def check_records(plan: Plan, records: list[TrialRecord], root: Path) -> None:
    """Refuse records of trials that this search cannot have.

    Raises:
        UserError: if the settings of a trial are not those that it was to try, or its reports are not those of its run.
    """
    points = [] if plan.is_population else plan.points()  # a member of a population takes over others' settings
    by_number = {record.number: record for record in records}
    for record in records:
        folder = TrialFolder(root, record.number)
        asked = points[record.number - 1] if record.number <= len(points) else record.point
        twin = by_number.get(record.repeats) if record.repeats is not None else record
        changed = {name for _, values in record.changes for name in values}
        if record.point.keys() != plan.space.keys() or not changed <= plan.space.keys():
            reason = "its settings are not those that are searched"
        elif record.changes and not plan.is_population:
            reason = "no settings change in this search"
        elif not (equal_as_json(record.point, asked) and twin and equal_as_json(twin.point, record.point)):
            reason = "its settings are not those that it was to try"
        elif record.status == "finished" and record is twin and not _agrees(record, folder.run):
            reason = "its reports are not those of its run"
        else:
            continue
        raise UserError(f"{folder.record} was edited: {reason}; remove the folder of this trial to run it again")


def _agrees(record: TrialRecord, run: RunFolder) -> bool:
    """Whether the reports of a finished trial are those of its result, if that is there."""
    reported, measured = (
        [(report["epoch"], report["phase"], report["valid_score"]) for report in reports]
        for reports in (record.reports, read_result(run.path)["history"] if run.is_finished else record.reports)
    )
    return reported == measured


def _conclude(plan: Plan, root: Path, test: bool) -> SearchResult:
    """Read the test part for the winner, and write what the search leaves."""
    records = read_records(root)
    winner = best_record(records, plan.bigger)
    shown = {**asdict(plan), "space": {name: str(dimension) for name, dimension in plan.parsed_space.items()}}
    trials = trials_frame(plan, records)
    write_table(trials, root / TABLE)
    measured = None
    if winner is not None:
        run = TrialFolder(root, winner.number).run.path
        result = read_result(run)
        earlier = [r.number for r in records if r is not winner and _is_test_read(root, r)]
        if earlier:
            print(f"the test part had been read for trial {earlier[0]}, the best of fewer trials\n", flush=True)
        if test and not result["test_read"]:
            read_test(run, plan.settings["data_path"])
            result = read_result(run)
        measured = result["test_result"]
        write_best(plan, winner, root / BEST_SETTINGS)
        TrialStore(root, plan).prune()
    best = winner.number if winner is not None else None
    write_search_page(shown, trials, validations_frame(records), best, measured, root / REPORT)
    if winner is None:
        first = next((record for record in records if record.failure), None)
        why = f": trial {first.number} {first.failure}" if first else ""
        raise NothingFoundError(f"no trial of the search has a result{why}")
    return SearchResult(root, plan, records, winner, measured)


def _is_test_read(root: Path, record: TrialRecord) -> bool:
    run = TrialFolder(root, record.number).run
    return run.is_finished and bool(read_result(run.path)["test_read"])
