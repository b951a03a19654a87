"""How a search goes: what it tries next (sampler) and what it lets go on (scheduler), as Ray Tune has them."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recbole_cadmr.errors import UserError
from recbole_cadmr.tuning.space import Dimension, Point, Space

SAMPLERS, SCHEDULERS = ("random", "grid", "bayesian"), ("asha", "pbt", "fifo")
NUMBER, EPOCH, SCORE = "number", "epoch", "score"  # what Ray is told
_REDUCTION = 3  # of the trials that come to a rung of ASHA, one in so many goes on
_RUNGS = 27  # the first rung lies at this part of the most epochs: three reductions below the end
_VALIDATIONS = 5  # at least before a trial is judged: the first ones say little
_QUANTILE = 0.25  # of a population: the worst, which take over the state of the best


class SpaceEncoder:
    """Points as Ray gets them: a choice by its place (values may be lists or mappings), a number as it is.

    The defaults belong to the values, whether the space names them or not, so that they can be tried and left.
    """

    def __init__(self, space: Space, defaults: Point) -> None:
        self.space = space
        self._values: dict[str, list[Any]] = {}
        self._ends: dict[str, tuple[float, float]] = {}
        for name, dimension in space.items():
            default = defaults[name]
            if dimension.kind == "choice":
                self._values[name] = _in_order(
                    [*dimension.choices, *([] if default in dimension.choices else [default])]
                )
            elif not isinstance(default, (int, float)) or isinstance(default, bool):
                raise UserError(f"the default of {name} is {default}, which no range holds; list its values instead")
            elif dimension.kind.startswith("log") and default <= 0:
                raise UserError(f"the default of {name} is {default}, which no {dimension.kind} holds; list its values")
            else:
                self._ends[name] = min(dimension.low, default), max(dimension.high, default)

    def encode(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """A point in Ray's terms."""
        return {name: self._values[name].index(value) if name in self._values else value
                for name, value in point.items()}  # fmt: skip

    def decode(self, encoded: Mapping[str, Any]) -> Point:
        """Back again; what a scheduler has pushed out of a range is put to its end."""
        point: Point = {}
        for name, dimension in self.space.items():
            value = encoded[name]
            if name in self._values:
                point[name] = self._values[name][value]
            else:
                low, high = self._ends[name]
                value = min(max(value, low), high)
                point[name] = round(value) if dimension.kind.endswith("randint") else float(value)
        return point

    def domains(self) -> dict[str, Any]:
        """The space in Ray's terms."""
        return {name: self._domain(dimension) for name, dimension in self.space.items()}

    def _domain(self, dimension: Dimension) -> Any:
        from ray import tune

        if dimension.name in self._values:
            return tune.choice(list(range(len(self._values[dimension.name]))))
        low, high = self._ends[dimension.name]
        if dimension.kind.endswith("randint"):
            kind = tune.lograndint if dimension.kind == "lograndint" else tune.randint
            return kind(int(low), int(high) + 1)  # Ray leaves the upper end out
        return (tune.loguniform if dimension.kind == "loguniform" else tune.uniform)(low, high)

    def mutations(self, names: Sequence[str]) -> dict[str, Any]:
        """What population based training may change: places side by side for choices, domains for ranges."""
        return {name: list(range(len(self._values[name]))) if name in self._values else self._domain(self.space[name])
                for name in names}  # fmt: skip


def _in_order(values: list[Any]) -> list[Any]:
    """Numbers by size, so that neighbours are near; others as they came."""
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
    return sorted(values) if numbers else values


def fixed_points(points: Sequence[Point], jobs: int) -> tuple[Any, dict[str, Any]]:
    """Algorithm and space of a search whose points are known before it begins; Ray is told their numbers."""
    from ray import tune
    from ray.tune.search.basic_variant import BasicVariantGenerator

    return BasicVariantGenerator(max_concurrent=jobs), {NUMBER: tune.grid_search(list(range(1, len(points) + 1)))}


def population(points: Sequence[Point], encoder: SpaceEncoder) -> tuple[Any, dict[str, Any]]:
    """The same for a population: Ray is told the values, too, since it changes them."""
    from ray import tune
    from ray.tune.search.basic_variant import BasicVariantGenerator

    members = [{NUMBER: number, **encoder.encode(point)} for number, point in enumerate(points, 1)]
    numbers = tune.choice([member[NUMBER] for member in members])
    return BasicVariantGenerator(points_to_evaluate=members), {NUMBER: numbers, **encoder.domains()}


def bayesian(first: Sequence[Point], encoder: SpaceEncoder, seed: int, jobs: int) -> tuple[Any, dict[str, Any]]:
    """A tree-structured Parzen estimator (Optuna's), which begins with the points ``first``."""
    import optuna
    from ray.tune.search import ConcurrencyLimiter
    from ray.tune.search.optuna import OptunaSearch

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    algorithm = OptunaSearch(points_to_evaluate=[encoder.encode(point) for point in first], seed=seed)
    return ConcurrencyLimiter(algorithm, max_concurrent=jobs), encoder.domains()


def grace_of(given: int | None, max_epochs: int, eval_step: int) -> int:
    """Epochs before a trial may be stopped, or take over another's state; a multiple of those between validations."""
    least = given or min(max(max_epochs // _RUNGS, _VALIDATIONS * eval_step), max_epochs // _REDUCTION)
    return max(-(-least // eval_step), 1) * eval_step


def scheduler_of(name: str, grace: int, max_epochs: int, mutations: Mapping[str, Any], seed: int) -> Any:
    """Ray's scheduler; all count epochs, of all phases."""
    from ray.tune import schedulers

    from recbole_cadmr.execution.ray_api import population_scheduler

    if name == "fifo":
        return schedulers.FIFOScheduler()
    if name == "asha":
        # One epoch more than there are, so that a trial ends by itself, its result written.
        return schedulers.ASHAScheduler(
            time_attr=EPOCH, grace_period=grace, max_t=max(max_epochs, grace) + 1, reduction_factor=_REDUCTION
        )
    random.seed(seed)  # which Ray's scheduler draws from
    np.random.seed(seed % 2**32)
    # In step, so that who takes over from whom does not depend on who is quicker.
    return population_scheduler(
        time_attr=EPOCH, perturbation_interval=grace, hyperparam_mutations=dict(mutations), synch=True,
        quantile_fraction=_QUANTILE, log_config=False,
    )  # fmt: skip


def equal_as_json(left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    """Whether two points are the same after a way through a file."""
    return json.dumps(left, sort_keys=True, default=str) == json.dumps(right, sort_keys=True, default=str)
