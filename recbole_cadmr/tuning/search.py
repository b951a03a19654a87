"""The trials of a search, run with Ray Tune."""

from __future__ import annotations

import shutil
import textwrap
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from recbole_cadmr.errors import UserError
from recbole_cadmr.execution import ray_api
from recbole_cadmr.execution.dataset_archive import pack
from recbole_cadmr.execution.shared_folder import check_shared, marked
from recbole_cadmr.models.own import source_of
from recbole_cadmr.tuning.mutable_hyperparameters import mutable_hyperparameters
from recbole_cadmr.tuning.plan import Plan, write_plan
from recbole_cadmr.tuning.progress import WIDTH, Progress
from recbole_cadmr.tuning.resources import Resources
from recbole_cadmr.tuning.rpc import Served
from recbole_cadmr.tuning.samplers import SCORE, bayesian, equal_as_json, known_points, scheduler_of
from recbole_cadmr.tuning.trial import TrialContext, finish_trial, run_trial
from recbole_cadmr.tuning.trial_record import TrialRecord, best_record, read_records
from recbole_cadmr.tuning.trial_store import CALLED_BY_TRIALS, TrialStore

RAY = ".ray"  # Ray's own files, while a search runs
_RESUME = "what is finished is kept, and resumed by the same command again"
_POLL = 1.0  # seconds between two looks at how it stands
_PAUSE, _MOST_IDLE = 5.0, 3  # seconds after a trial was out of memory; attempts in which no trial ends


def search(plan: Plan, root: Path, resources: Resources) -> None:
    """Run the trials, and those to their ends that the scheduler had stopped and the results need.

    Raises:
        UserError: if there is no cluster, no room for a trial, a node that does not see ``root``, or the records cannot
            be written.
    """
    mutable = mutable_hyperparameters(plan) if plan.is_population else []
    if plan.is_population and not mutable:
        raise UserError("no setting of the space can change during training; take --scheduler asha")
    if plan.is_population and resources.jobs is not None:
        raise UserError(
            "a population trains all members at once, so that --jobs has no effect; leave it out, or raise --cpus"
        )
    progress = Progress(plan.trials, plan.metric, plan.bigger)
    idle = 0
    while idle < _MOST_IDLE:
        before = _n_ended(root)
        with ray_api.connected(resources.address, resources.local_cpus, resources.dashboard) as ray:
            if _Search(ray, plan, root, resources, mutable, progress).run():
                return
        idle = idle + 1 if _n_ended(root) == before else 0
        time.sleep(_PAUSE)
    raise UserError(
        "no trial could start: there is too little memory, or a node of the cluster lacks recbole_cadmr; " + _RESUME
    )


def _n_ended(root: Path) -> int:
    """Trials of a search that have ended, deaths included."""
    return sum(record.over + record.deaths for record in read_records(root))


def is_complete(plan: Plan, records: list[TrialRecord]) -> bool:
    """Whether nothing of a search is left to run."""
    return _all_over(plan, records) and not unfinished(plan, records)


def _all_over(plan: Plan, records: list[TrialRecord]) -> bool:
    return len(records) >= plan.trials and all(record.over for record in records)


def unfinished(plan: Plan, records: list[TrialRecord]) -> list[TrialRecord]:
    """Stopped trials that are trained to their ends: the best, and the defaults, which it is compared with."""
    best = best_record(records, plan.bigger)
    wanted = [best] if best is not None else []
    wanted += [record for record in records if equal_as_json(record.point, plan.defaults) and record is not best]
    return [record for record in wanted if record.status == "stopped" and record.repeats is None]


class _Search:
    """A search at work, connected to Ray; looks now and then at how it stands, shows it, and ends it if it has to."""

    def __init__(
        self, ray: Any, plan: Plan, root: Path, resources: Resources, mutable: list[str], progress: Progress
    ) -> None:
        self.ray, self.plan, self.root, self.resources, self.progress = ray, plan, root, resources, progress
        self.gpus = resources.gpus_on(ray, bool(plan.config()["use_gpu"]))
        slots = resources.slots(ray.nodes(), self.gpus)
        self.jobs = slots if plan.is_population else min(slots, resources.jobs or slots)
        self.mutable = mutable
        self._end_reason: str | None = None
        self._looked = 0.0

    def run(self) -> bool:
        """Run what is left of the search; whether it is complete."""
        is_local = self.resources.address == "local"
        with marked(self.root) as mark:
            if not is_local:
                check_shared(self.ray, self.root, mark)
            write_plan(self.plan, self.root)
            self.progress.announce(_headline(self.plan, self.mutable, self.resources, self.gpus, self.jobs))
            packed = None if is_local else self.ray.put(pack(self.plan.config().data_folder))
            host = "127.0.0.1" if is_local else self.ray.util.get_node_ip_address()
            self.store = Served(TrialStore(self.root, self.plan), CALLED_BY_TRIALS, host)
            context = TrialContext(self.plan, self.root, mark, self.store.caller, source_of(self.plan.model))
            try:
                self._run_tune(context, packed)
                if not _all_over(self.plan, read_records(self.root)):
                    return False  # processes were killed before their first call
                self._finish(context, packed)
                return True
            except Exception as error:
                return self._after(error)
            finally:
                with suppress(UserError):
                    self._look(at_once=True)
                self.store.close()
                shutil.rmtree(self.root / RAY, ignore_errors=True)

    def _run_tune(self, context: TrialContext, packed: Any) -> None:
        plan, records, encoder = self.plan, read_records(self.root), self.plan.encoder
        points, mutations, jobs = plan.points(), dict[str, Any](), self.jobs
        if plan.is_population and encoder is not None:
            now = {record.number: record.values_at(record.epochs) for record in records}
            points = [now.get(number, point) for number, point in enumerate(points, 1)]
            mutations, jobs = encoder.mutations(self.mutable, plan.seed), 0  # all of them are members
        if encoder is not None and not points:
            first = [record.point for record in records] or [plan.defaults]
            algorithm, space = bayesian(first, encoder, plan.seed, jobs, plan.bigger)
        else:
            algorithm, space = known_points(points, encoder, jobs)
        ray_api.search(
            run_trial,
            {"context": context, "packed": packed},
            space=space,
            n=plan.trials,
            algorithm=algorithm,
            scheduler=scheduler_of(plan.scheduler, plan.grace, plan.max_epochs, mutations, plan.seed),
            metric=SCORE,
            mode="max" if plan.bigger else "min",
            resources={"cpu": self.resources.cores, "gpu": self.gpus},
            folder=self.root / RAY,
            on_step=self._look,
            on_end=self.store.conclude,
        )

    def _finish(self, context: TrialContext, packed: Any) -> None:
        """Train the stopped trials to their ends that the search cannot do without, until none is left."""
        needs = {"num_cpus": self.resources.cores, "num_gpus": self.gpus, "max_retries": 1}
        finish = self.ray.remote(finish_trial).options(**needs)
        while stopped := unfinished(self.plan, read_records(self.root)):
            numbers = " and ".join(str(record.number) for record in stopped)
            print(f"stopped, and trained to the end: trial {numbers}, the best and the defaults\n", flush=True)
            waiting = {finish.remote(context, record, packed): record.number for record in stopped}
            while waiting:
                for ready in self.ray.wait(list(waiting), timeout=_POLL)[0]:
                    number = waiting.pop(ready)
                    try:
                        self.ray.get(ready)
                    except Exception as error:  # whatever it died of, there is a next best
                        reason = str(getattr(error, "cause", None) or type(error).__name__).splitlines()[-1]
                        self.store.fail(number, reason, again=False)
                self._look()

    def _after(self, error: Exception) -> bool:
        """Whether the search is complete after an error, if it can be resumed at once."""
        with suppress(UserError):
            self._look(at_once=True)
        if self._end_reason is not None:  # Ray wraps what a callback raises, and may meet a full disk first
            raise UserError(self._end_reason) from None
        if (reason := ray_api.full_disk(error)) is not None:
            raise UserError(f"cannot write {self.root}: {reason}; {_RESUME}") from None
        if (message := ray_api.out_of_memory(error)) is None:
            raise error
        dead = " and ".join(map(str, self.store.killed_for_memory(message))) or "unknown"
        print(f"killed when memory was short: trial {dead}; the search resumes", flush=True)
        return False

    def _look(self, at_once: bool = False) -> None:
        """Show the table; :class:`UserError` if the search has to end."""
        if not at_once and time.monotonic() - self._looked < _POLL:
            return
        records, reason = self.store.standing()
        self._looked = time.monotonic()
        self.progress.show(records)
        if reason is not None and self._end_reason is None:
            self._end_reason = f"{reason}; {_RESUME}"
            raise UserError(self._end_reason)


def _headline(plan: Plan, mutable: list[str], resources: Resources, gpus: float, jobs: int) -> str:
    label = plan.model + (f"@{plan.preset}" if plan.preset else "")
    each = f"{resources.cores:g} core{'s' * (resources.cores != 1)}" + (f" and {gpus:g} GPUs" if gpus else "")
    label = f"search of {label} on {plan.dataset}: {plan.trials} trials, {plan.sampler} points, {plan.scheduler}"
    until = {"pbt": f", changed every {plan.grace}", "asha": f", {plan.grace} before it may be stopped", "fifo": ""}
    lines = [
        label,
        f"chosen by validation {plan.metric}; a trial has at most {plan.max_epochs} epochs"
        + (until[plan.scheduler] if plan.max_epochs > 1 else ""),
        f"{jobs} trial{'s' * (jobs != 1)} at once, {each} each",
    ]
    fixed = [name for name in plan.space if name not in mutable]
    if mutable and fixed:
        lines.append(f"{', '.join(fixed)} cannot change during training and stay as they were drawn")
    lines += [f"  {name}: {dimension}" for name, dimension in plan.parsed_space.items()]
    return "\n".join(textwrap.fill(line, WIDTH, subsequent_indent="    ") for line in lines) + "\n"
