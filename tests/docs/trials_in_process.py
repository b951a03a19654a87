"""Importing this has a search train its trials one after the other in its process: Ray's processes take half a minute.

The points are those of the search; no scheduler stops a trial. What Ray does is tested in ``tests/tuning``.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

from recbole_cadmr.execution import ray_api
from recbole_cadmr.execution.shared_folder import marked
from recbole_cadmr.models.own import source_of
from recbole_cadmr.tuning import tune
from recbole_cadmr.tuning.plan import Plan, write_plan
from recbole_cadmr.tuning.resources import Resources
from recbole_cadmr.tuning.samplers import NUMBER
from recbole_cadmr.tuning.trial import TrialContext, run_trial
from recbole_cadmr.tuning.trial_store import TrialStore


def _search(plan: Plan, root: Path, resources: Resources) -> None:
    with marked(root) as mark:
        write_plan(plan, root)
        store = TrialStore(root, plan)
        context = TrialContext(plan, root, mark, SimpleNamespace(connect=lambda: store), source_of(plan.model))
        for number, point in enumerate(plan.points() or [plan.defaults], 1):
            told = {} if plan.encoder is None else plan.encoder.encode(point)
            ray_api.trial_id = lambda number=number: str(number)
            with suppress(Exception):  # which is in the record of the trial then
                run_trial({NUMBER: number, **told}, context)


ray_api.pointer = lambda: None
ray_api.report = lambda *_: None
tune.search = _search
