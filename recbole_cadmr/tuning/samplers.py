"""Strategies of a search: what it tries next (sampler) and which trials continue (scheduler), as Ray Tune has them."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from recbole_cadmr.tuning.space import Dimension, Point, Space

SAMPLERS, SCHEDULERS = ("random", "grid", "bayesian"), ("asha", "pbt", "fifo")
NUMBER, EPOCH, SCORE = "number", "epoch", "score"  # names in what is reported to Ray
_REDUCTION = 3  # of the trials that come to a rung of ASHA, one in so many continues
_RUNGS = 27  # the first rung lies at this part of the most epochs: three reductions below the end
_VALIDATIONS = 5  # at least before a trial is judged: the first ones say little
_QUANTILE = 0.25  # of a population: the worst, which take over the state of the best


class SpaceEncoder:
    """Points as Ray gets them: a choice by its place (values may be lists or mappings), a number as it is.

    The defaults belong to the values, whether the space names them or not, so that they can be tried and left.
    """

    def __init__(self, space: Space, defaults: Point) -> None:
        self.space = {name: dimension.including(defaults[name]) for name, dimension in space.items()}

    def encode(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """A point in Ray's terms."""
        choices = {name: self.space[name].choices for name in point}
        return {name: choices[name].index(value) if choices[name] else value for name, value in point.items()}

    def decode(self, encoded: Mapping[str, Any]) -> Point:
        """Back again; what a scheduler has pushed out of a range is put to its end."""
        return {name: self._decoded(dimension, encoded[name]) for name, dimension in self.space.items()}

    def _decoded(self, dimension: Dimension, value: Any) -> Any:
        if dimension.choices:
            return dimension.choices[value]
        value = min(max(value, dimension.low), dimension.high)
        return round(value) if dimension.is_whole else float(value)

    def distributions(self) -> dict[str, Any]:
        """The space in Optuna's terms."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        def distribution(dimension: Dimension) -> Any:
            if dimension.choices:
                return CategoricalDistribution(range(len(dimension.choices)))
            if dimension.is_whole:
                return IntDistribution(int(dimension.low), int(dimension.high), dimension.is_logarithmic)
            return FloatDistribution(dimension.low, dimension.high, dimension.is_logarithmic)

        return {name: distribution(dimension) for name, dimension in self.space.items()}

    def mutations(self, names: Sequence[str], seed: int) -> dict[str, Any]:
        """What population based training may change: places side by side for choices, draws from ranges."""
        changed, source = [self.space[name] for name in names], random.Random(seed)
        return {one.name: list(range(len(one.choices))) or partial(one.draw, source) for one in changed}


def known_points(points: Sequence[Point], encoder: SpaceEncoder | None, jobs: int) -> tuple[Any, dict[str, Any]]:
    """Algorithm and space of a search whose points are decided before it begins; ``jobs``: most trials at once, if any.

    Ray gets their numbers; of a population, which has an encoder, the values too, since it changes them.
    """
    from ray.tune.search.basic_variant import BasicVariantGenerator

    values = [encoder.encode(point) if encoder is not None else {} for point in points]
    told = [{NUMBER: number, **one} for number, one in enumerate(values, 1)]
    return BasicVariantGenerator(points_to_evaluate=told, max_concurrent=jobs), dict.fromkeys(told[0])


def bayesian(
    first: Sequence[Point], encoder: SpaceEncoder, seed: int, jobs: int, bigger: bool
) -> tuple[Any, dict[str, Any]]:
    """A tree-structured Parzen estimator (Optuna's), which begins with the points ``first``."""
    import optuna
    from ray.tune.search import ConcurrencyLimiter
    from ray.tune.search.optuna import OptunaSearch

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    points, mode = [encoder.encode(point) for point in first], "max" if bigger else "min"
    algorithm = OptunaSearch(encoder.distributions(), SCORE, mode, points_to_evaluate=points, seed=seed)
    return ConcurrencyLimiter(algorithm, max_concurrent=jobs), {}


def grace_of(asked: int | None, max_epochs: int, eval_step: int) -> int:
    """Epochs before a trial may be stopped, or take over another's state; a multiple of those between validations."""
    least = asked or min(max(max_epochs // _RUNGS, _VALIDATIONS * eval_step), max_epochs // _REDUCTION)
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
    return population_scheduler(
        seed,
        time_attr=EPOCH,
        perturbation_interval=grace,
        hyperparam_mutations=dict(mutations),
        quantile_fraction=_QUANTILE,
    )


def equal_as_json(left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    """Whether two points are the same after a way through a file."""
    return json.dumps(left, sort_keys=True, default=str) == json.dumps(right, sort_keys=True, default=str)
