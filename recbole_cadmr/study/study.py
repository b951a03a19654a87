"""A study from its options to its answer."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd

from recbole_cadmr.benchmark.cells import Cells, checked_result
from recbole_cadmr.benchmark.plan import check_seeds, take_in_models
from recbole_cadmr.benchmark.progress import Progress
from recbole_cadmr.config.rules import OF_RUN
from recbole_cadmr.config.yaml_text import shown
from recbole_cadmr.errors import UserError
from recbole_cadmr.execution.run_spec import ModelSpec
from recbole_cadmr.execution.runner import bytes_of, runner_of
from recbole_cadmr.files import path_of, refuse_links, remove_temporaries, sha256_of_all, write_json, write_text
from recbole_cadmr.locking import resumable_in
from recbole_cadmr.on_screen import fitted
from recbole_cadmr.runs.topk_lists import LISTS, check_figures, read_lists
from recbole_cadmr.schema import read_versioned
from recbole_cadmr.study.altered_data import ALTERED
from recbole_cadmr.study.answer import Findings
from recbole_cadmr.study.collect import Cell, Collected
from recbole_cadmr.study.correlations import correlations_of
from recbole_cadmr.study.effects import correct, effects_of, orders_of
from recbole_cadmr.study.page import write_study_page
from recbole_cadmr.study.plan import Plan, read_plan, refuse_decided
from recbole_cadmr.study.variants import check_pairs, trained_variants
from recbole_cadmr.tuning.search import RAY

STUDY, DATA, TABLES, ANSWER, REPORT = "study.json", "data.csv", "tables.md", "answer.md", "report.html"
SCHEMA_VERSION = 1


class Content(msgspec.Struct, frozen=True):
    """Content of ``study.json``: what the folder holds the runs of.

    Attributes:
        datasets, seeds: those of the runs; None if it was written before they were kept.
        settings: that were given for all variants, by name, as text.
        interactions: a hash of those of each data set; None as of ``datasets``.
    """

    study: str
    quick: bool
    plan: Plan
    datasets: list[str] | None = None
    seeds: list[int] | None = None
    settings: dict[str, str] | None = None
    interactions: dict[str, str] | None = None
    schema_version: int = SCHEMA_VERSION


def study(
    name: str,
    output: str | os.PathLike[str],
    *,
    datasets: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    settings: Mapping[str, Any] | None = None,
    models: Sequence[str | type] = (),
    quick: bool = False,
    jobs: int = 1,
    memory: float | None = None,
    ray_address: str | None = None,
) -> Findings:
    """Run a study and write its data, tables, page and answer to ``output``.

    What is finished in ``output`` is not run again; what was cut is resumed, what failed is tried again.

    Args:
        name: of a study of the package, or the path of the yaml file of another one.
        datasets, seeds: in place of those of the study.
        settings: for all variants whose model has them.
        models: classes of your own, as of a benchmark, that variants have by name.
        quick: a trial on the embedded data set with few seeds and short trainings, as the study says.
        jobs, memory, ray_address: as of a benchmark.

    Raises:
        UserError: on anything wrong with the study or the options, and if ``output`` holds something else.
    """
    own = take_in_models(models)
    label, plan = read_plan(name)
    used = {str(one.model).partition("@")[0] for one in plan.variants}
    if other := next((model for model in own if model not in used), None):
        raise UserError(f"no variant of the study {label} has the model {other}; leave it out of `models`")
    root, settings = Path(output).absolute(), dict(settings or {})
    refuse_decided(settings)
    if "data_path" in settings:
        settings["data_path"] = str(path_of(settings["data_path"], "data_path").absolute())
    if quick:
        settings = {**plan.quick.settings, **settings}
    chosen = list(dict.fromkeys(datasets or (plan.quick.datasets if quick else plan.datasets)))
    numbers = list(seeds or (range(1, plan.quick.seeds + 1) if quick else plan.seed_list))
    check_seeds(numbers)
    make = Cells(root, numbers, jobs, bytes_of(memory), ray_address)
    runner = runner_of(root, jobs, make.limit, ray_address)
    command = f"python -m recbole_cadmr study {shlex.quote(name)} --output {shlex.quote(str(root))}"
    with resumable_in(root, "study", f"with the same command: {command} ...", STUDY, ALTERED):
        given = {name: shown(value) for name, value in settings.items() if name not in OF_RUN}
        content = Content(label, quick, plan, chosen, numbers, given, _interactions(plan, chosen, settings))
        _check_folder(root, content)
        refuse_links(root.resolve(), but=RAY)
        remove_temporaries(root)
        cells, left_out = _cells(plan, chosen, settings, make)
        write_json(root / STUDY, msgspec.to_builtins(content))
        print(fitted(estimate(plan, chosen, len(numbers), len(cells), quick)), flush=True)
        damaged = _damaged(cells)
        runs = {cell.run.folder: cell.run for cell in cells if cell.run.folder not in damaged}
        Progress(list(runs.values()), jobs).run(runner)
        found = _found(plan, cells, left_out, damaged, quick)
        _write(root, label, found)
    return found


def _cells(
    plan: Plan, datasets: Sequence[str], settings: Mapping[str, Any], make: Cells
) -> tuple[list[Cell], dict[str, str]]:
    """All runs, and by name why a departure does not go."""
    cells: list[Cell] = []
    left_out: dict[str, str] = {}
    for dataset in datasets:
        trained, without = trained_variants(plan, dataset, settings, make.root)
        check_pairs(plan, trained, make.seeds)
        cells += [Cell(dataset, one, run) for one in trained for run in make.of(one.spec)]
        left_out |= {f"{departure} on {dataset}": reason for departure, reason in without.items()}
    return cells, left_out


def estimate(plan: Plan, datasets: Sequence[str], n_seeds: int, n_runs: int, quick: bool) -> str:
    """How long the runs take by what the study says, as a sentence."""
    head = f"{plan.question} {n_runs} run{'' if n_runs == 1 else 's'} on {', '.join(datasets)}"
    if quick:
        return f"{head}, shortened"
    known = [plan.hours[dataset] * n_seeds / len(plan.seed_list) for dataset in datasets if dataset in plan.hours]
    unknown = [dataset for dataset in datasets if dataset not in plan.hours]
    parts = [f"about {sum(known):.1f} hours on one core, by what its file says it once took"] if known else []
    parts += [f"an unknown time on {', '.join(unknown)}"] if unknown else []
    return f"{head}; expected: {' and '.join(parts)}"


def _interactions(plan: Plan, datasets: Sequence[str], settings: Mapping[str, Any]) -> dict[str, str]:
    """A hash of the interactions of each data set."""
    place = {name: value for name, value in {**plan.settings, **settings}.items() if name == "data_path"}
    folders = {dataset: ModelSpec("CADMR", None, dataset, place).config.data_folder for dataset in datasets}
    return {dataset: sha256_of_all(sorted(folder.glob("*.inter"))) for dataset, folder in folders.items()}


def _check_folder(root: Path, content: Content) -> None:
    """Raise :class:`UserError` if the folder is of something else."""
    if (root / STUDY).exists():
        kept = read_versioned(root / STUDY, Content, SCHEMA_VERSION, "study")
        if (kept.study, kept.quick) != (content.study, content.quick):
            how = " --quick" if kept.quick else ""
            raise UserError(f"{root} holds the study {kept.study}{how}; choose another --output")
        if difference := _lost(kept, content):
            raise UserError(f"{root} holds the study {kept.study} {difference}; choose another --output")


def _lost(kept: Content, now: Content) -> str | None:
    """What a folder holds that the study, as it is now, does not ask for, in words; None if at most something was added
    to it."""
    for what, before, after in (("data set", kept.datasets, now.datasets), ("seed", kept.seeds, now.seeds)):
        if lacking := [entry for entry in before or [] if entry not in (after or [])]:
            return f"with the {what} {lacking[0]}, which is not asked for now"
    if kept.settings is not None and kept.settings != now.settings:
        other = dict(kept.settings.items() ^ (now.settings or {}).items())
        name = min(other)
        return f"with {name} {kept.settings.get(name, 'not given')}"
    hashes = now.interactions or {}
    if changed := next((name for name, own in (kept.interactions or {}).items() if own != hashes.get(name)), None):
        return f"on other interactions of {changed} than there are now"
    asked, asked_now = _asked(kept.plan), _asked(now.plan)
    for name, wanted in asked.items():
        is_list = isinstance(wanted, list)
        if any(entry not in asked_now[name] for entry in wanted) if is_list else wanted != asked_now[name]:
            return f"by a file that says other {name}"
    return None


def _asked(plan: Plan) -> dict[str, Any]:
    """What the results of a study depend on, beside the options of the command."""
    others = ("question", "datasets", "seeds", "hours", "quick", "axis")
    asked = {name: value for name, value in msgspec.to_builtins(plan).items() if name not in others}
    settings = {name: value for name, value in plan.settings.items() if name not in OF_RUN}
    return asked | {"orders": ["orders"] * plan.orders, "settings": settings}


def _damaged(cells: Sequence[Cell]) -> dict[Path, str]:
    """By folder, what is wrong with the results of finished runs that cannot be used; each is said once."""
    damaged = {}
    for cell in cells:
        if cell.run.is_finished and cell.run.folder not in damaged:
            try:
                result = checked_result(cell.run)
                check_figures(read_lists(cell.run.run / LISTS), result, cell.run.run)
            except UserError as error:
                damaged[cell.run.folder] = f"{error}; remove {cell.run.folder} to run it again"
                print(f"left out: {damaged[cell.run.folder]}", file=sys.stderr, flush=True)
    return damaged


def _found(
    plan: Plan, cells: Sequence[Cell], left_out: Mapping[str, str], damaged: Mapping[Path, str], quick: bool
) -> Findings:
    """What the finished runs say.

    Args:
        left_out: by name, why a departure does not go.
        damaged: by folder, why a finished run is of no use.
    """
    collected = Collected(plan.measure)
    collected.missing |= left_out
    for cell in cells:
        if cell.run.is_finished and cell.run.folder not in damaged:
            collected.add(cell)
        else:
            collected.missing[cell.name] = damaged.get(cell.run.folder) or cell.run.failure or "not run"
    data, missing = collected.data, collected.missing
    if data.empty:
        whys = (missing[cell.name].partition(" (full output: ")[0] for cell in cells if cell.name in missing)
        reasons, logs = "; ".join(dict.fromkeys(whys)), cells[0].run.folder.parent
        raise UserError(f"no run of the study has a result: {reasons}; the logs are in {logs}")
    asked = [*plan.figures, *(figure for pair in plan.correlations for figure in pair)]
    missing |= {figure: "no run has this figure" for figure in asked if figure not in set(data["figure"])}
    pairs = [(one.trained.variant, one.trained.base) for one in cells if one.trained.base]
    lists = collected.lists_of
    effects = effects_of(data, plan.figures, list(dict.fromkeys([*pairs, *plan.pairs])), lists)
    orders = orders_of(data, plan.figures[0], lists) if plan.orders else pd.DataFrame(columns=["dataset"])
    correlations = correlations_of(data, plan.correlations, plan.cells)
    correct(effects, plan.figures[0], correlations)
    return Findings(plan, data, effects, correlations, orders, collected.published, collected.x, missing, quick)


def _write(root: Path, label: str, found: Findings) -> None:
    texts = {DATA: found.data.to_csv(index=False), TABLES: found.tables(), ANSWER: found.answer()}
    for name, text in texts.items():
        write_text(root / name, text)
    write_study_page(found, label, root / REPORT)
