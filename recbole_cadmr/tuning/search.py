"""The trials of a search, run with Ray Tune."""

from __future__ import annotations

import shutil
import textwrap
import time
import uuid
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from recbole_cadmr.errors import UserError
from recbole_cadmr.execution import ray_api
from recbole_cadmr.execution.dataset_archive import pack
from recbole_cadmr.files import write_aside
from recbole_cadmr.tuning.mutable_hyperparameters import mutable_hyperparameters
from recbole_cadmr.tuning.plan import Plan, write_plan
from recbole_cadmr.tuning.progress import WIDTH, Progress
from recbole_cadmr.tuning.resources import Resources
from recbole_cadmr.tuning.rpc import Served
from recbole_cadmr.tuning.samplers import (
    SCORE,
    SpaceEncoder,
    bayesian,
    equal_as_json,
    fixed_points,
    population,
    scheduler_of,
)
from recbole_cadmr.tuning.trial import finish_trial, run_trial
from recbole_cadmr.tuning.trial_folder import MARK, TrialContext
from recbole_cadmr.tuning.trial_record import STOPPED, TrialRecord, best_record, read_records
from recbole_cadmr.tuning.trial_store import TrialStore

RAY = ".ray"  # Ray's own files, while a search runs
_GO_ON = "what is finished is kept, go on with --resume when this is mended"
_POLL = 1.0  # seconds between two looks at how it stands
_PAUSE, _MOST_IDLE = 5.0, 3  # seconds after a death for want of memory; tries in which nothing moves


def search(plan: Plan, root: Path, resources: Resources) -> None:
    """Run the trials, and those to their ends that the scheduler had stopped and the results need.

    Raises:
        UserError: if there is no cluster, no room for a trial, or the records cannot be written.
    """
    mutable = mutable_hyperparameters(plan) if plan.scheduler == "pbt" else []
    if plan.scheduler == "pbt" and not mutable:
        raise UserError("no setting of the space can change in the course of training; take --scheduler asha")
    if plan.scheduler == "pbt" and resources.jobs is not None:
        raise UserError("a population is in step, so that --jobs is not for it; leave it out, or give each --cpus more")
    progress = Progress(plan.trials, plan.metric, plan.bigger)
    idle = 0
    while idle < _MOST_IDLE:
        before = _moves(root)
        with ray_api.connected(resources.address, resources.local_cpus, resources.dashboard) as ray:
            if _run(ray, plan, root, resources, mutable, progress):
                return
        idle = idle + 1 if _moves(root) == before else 0
        time.sleep(_PAUSE)
    raise UserError(
        "trials end before they begin: there is too little memory, or a machine of the cluster lacks recbole_cadmr; "
        "what is finished is kept, go on with --resume"
    )


def _moves(root: Path) -> int:
    """What has ended in a search so far, deaths included."""
    return sum(record.over + record.deaths for record in read_records(root))


def is_complete(plan: Plan, records: list[TrialRecord]) -> bool:
    """Whether nothing of a search is left to run."""
    return _all_over(plan, records) and not unfinished(plan, records)


def _all_over(plan: Plan, records: list[TrialRecord]) -> bool:
    return len(records) >= plan.trials and all(record.over for record in records)


def _run(ray: Any, plan: Plan, root: Path, resources: Resources, mutable: list[str], progress: Progress) -> bool:
    """Run what is left of a search; whether it came to its end."""
    gpus = resources.gpus_on(ray, bool(plan.config()["use_gpu"]))
    slots = resources.slots(ray.nodes(), gpus)
    jobs = slots if plan.scheduler == "pbt" else min(slots, resources.jobs or slots)
    write_plan(plan, root)
    progress.announce(_headline(plan, mutable, resources, gpus, jobs))
    mark = uuid.uuid4().hex
    with write_aside(root / MARK) as temporary:
        temporary.write_text(mark, encoding="utf-8")
    _check_population(ray, plan, root, mark)
    is_population = plan.scheduler == "pbt"
    job = TrialContext(plan.model, plan.dataset, plan.preset, plan.settings, str(root), mark, is_population,
              plan.grace, plan.bigger)  # fmt: skip
    packed = None if resources.address == "local" else ray.put(pack(plan.config().data_folder))
    coder = SpaceEncoder(plan.parsed_space, plan.defaults) if is_population or plan.sampler == "bayesian" else None
    host = "127.0.0.1" if resources.address == "local" else ray.util.get_node_ip_address()
    archive = Served(TrialStore(str(root), plan.points(), coder, plan.bigger, plan.defaults, is_population), host)
    watch = _Watch(archive, progress)
    needs = {"num_cpus": resources.cores, "num_gpus": gpus}
    try:
        algorithm, space, n = _algorithm(plan, read_records(root), coder, jobs)
        mutations = coder.mutations(mutable) if coder is not None and is_population else {}
        ray_api.search(
            run_trial,
            {"job": job, "archive": archive.caller, "packed": packed},
            space=space,
            n=n,
            algorithm=algorithm,
            scheduler=scheduler_of(plan.scheduler, plan.grace, plan.max_epochs, mutations, plan.seed),
            metric=SCORE,
            mode="max" if plan.bigger else "min",
            resources={"cpu": resources.cores, "gpu": gpus},
            folder=root / RAY,
            on_step=watch.look,
            on_end=archive.conclude,
        )
        if not _all_over(plan, read_records(root)):
            return False  # processes were killed before they came to call
        _finish(ray, plan, root, job, archive, packed, watch, needs)
        return True
    except Exception as error:
        with suppress(UserError):
            watch.look(at_once=True)
        if watch.reason is not None:  # Ray wraps what a callback raises, and may meet a full disk first
            raise UserError(watch.reason) from None
        if (reason := ray_api.full_disk(error)) is not None:
            raise UserError(f"cannot write {root}: {reason}; {_GO_ON}") from None
        message = ray_api.want_of_memory(error)
        if message is None:
            raise
        dead = archive.killed_for_memory(message)
        print(f"killed for want of memory: trial {' and '.join(map(str, dead)) or 'unknown'}; going on", flush=True)
        return False
    finally:
        with suppress(UserError):
            watch.look(at_once=True)
        archive.close()
        (root / MARK).unlink(missing_ok=True)
        shutil.rmtree(root / RAY, ignore_errors=True)


class _Watch:
    """Looks now and then at how a search stands, shows it, and ends it if it cannot go on."""

    def __init__(self, archive: Any, progress: Progress) -> None:
        self.archive, self.progress = archive, progress
        self.reason: str | None = None
        self._looked = 0.0

    def look(self, at_once: bool = False) -> None:
        """Show the table; :class:`UserError` if the search is to end."""
        if not at_once and time.monotonic() - self._looked < _POLL:
            return
        records, reason = self.archive.standing()
        self._looked = time.monotonic()
        self.progress.show(records)
        if reason is not None and self.reason is None:
            self.reason = f"{reason}; {_GO_ON}"
            raise UserError(self.reason)


def _algorithm(
    plan: Plan, known: list[TrialRecord], coder: SpaceEncoder | None, jobs: int
) -> tuple[Any, dict[str, Any], int]:
    """Ray's algorithm and space, and how many points Ray is to draw from it."""
    if coder is not None and plan.scheduler == "pbt":
        now = {record.number: record.values_at(record.epochs) for record in known}
        members = [now.get(number, point) for number, point in enumerate(plan.points(), 1)]
        return *population(members, coder), plan.trials
    if coder is not None:
        first = [record.point for record in known] or [plan.defaults]
        return *bayesian(first, coder, plan.seed, jobs), plan.trials
    return *fixed_points(plan.points(), jobs), 1  # once the grid of all numbers


def unfinished(plan: Plan, records: list[TrialRecord]) -> list[TrialRecord]:
    """Stopped trials that are trained to their ends: the best, and the defaults, which it is held against."""
    best = best_record(records, plan.bigger)
    wanted = [best] if best is not None else []
    wanted += [record for record in records if equal_as_json(record.point, plan.defaults) and record is not best]
    return [record for record in wanted if record.status == STOPPED and record.repeats is None]


def _finish(
    ray: Any, plan: Plan, root: Path, job: TrialContext, archive: Served, packed: Any, watch: _Watch, needs: Any
) -> None:
    """Train the stopped trials to their ends that the search cannot do without, until none is left."""
    finish = ray.remote(finish_trial).options(**needs, max_retries=1)
    while stopped := unfinished(plan, read_records(root)):
        numbers = " and ".join(str(record.number) for record in stopped)
        print(f"stopped, and trained to the end: trial {numbers}, the best and the defaults\n", flush=True)
        waiting = {finish.remote(job, archive.caller, asdict(record), packed): record.number for record in stopped}
        while waiting:
            for ready in ray.wait(list(waiting), timeout=_POLL)[0]:
                number = waiting.pop(ready)
                try:
                    ray.get(ready)
                except Exception as error:  # whatever it died of, there is a next best
                    words = str(getattr(error, "cause", None) or type(error).__name__).splitlines()[-1]
                    archive.fail(number, words, again=False)
            watch.look()


def _check_population(ray: Any, plan: Plan, root: Path, mark: str) -> None:
    """Refuse a population on machines that do not see the search's folder, where Ray keeps what it hands on."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    if plan.scheduler != "pbt":
        return
    look = ray.remote(_sees)
    alive = [node for node in ray.nodes() if node["Alive"]]
    places = [NodeAffinitySchedulingStrategy(node_id=node["NodeID"], soft=False) for node in alive]
    seen = ray.get([look.options(num_cpus=0, scheduling_strategy=place).remote(str(root), mark) for place in places])
    if not all(seen):
        raise UserError(f"population based training needs an --output that all machines of the cluster see, not {root}")


def _sees(root: str, mark: str) -> bool:
    file = Path(root) / MARK
    return file.is_file() and file.read_text(encoding="utf-8") == mark


def _headline(plan: Plan, mutable: list[str], resources: Resources, gpus: float, jobs: int) -> str:
    label = plan.model + (f"@{plan.preset}" if plan.preset else "")
    each = f"{resources.cores:g} cores" + (f" and {gpus:g} GPUs" if gpus else "")
    label = f"search of {label} on {plan.dataset}: {plan.trials} trials, {plan.sampler} points, {plan.scheduler}"
    until = {"pbt": f", changed every {plan.grace}", "asha": f", {plan.grace} before it may be stopped", "fifo": ""}
    lines = [
        label,
        f"chosen by validation {plan.metric}; a trial has at most {plan.max_epochs} epochs"
        + (until[plan.scheduler] if plan.max_epochs > 1 else ""),
        f"{jobs} trials at once, {each} each",
    ]
    fixed = [name for name in plan.space if name not in mutable]
    if mutable and fixed:
        lines.append(f"{', '.join(fixed)} cannot change in the course of training and stay as they were drawn")
    lines += [f"  {name}: {dimension}" for name, dimension in plan.parsed_space.items()]
    return "\n".join(textwrap.fill(line, WIDTH, subsequent_indent="    ") for line in lines) + "\n"
