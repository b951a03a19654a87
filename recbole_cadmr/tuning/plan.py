"""What a search is: its options, checked before anything runs, and written to ``search.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from recbole_cadmr.config.config import Config
from recbole_cadmr.config.deprecated import current_names
from recbole_cadmr.config.model_yaml import search_space
from recbole_cadmr.errors import UserError, did_you_mean
from recbole_cadmr.files import sha256_of_all, write_json
from recbole_cadmr.runs.session import own_model
from recbole_cadmr.runs.trackers import REMOTE, refuse_missing
from recbole_cadmr.schema import read_json, read_versioned
from recbole_cadmr.training.contents import ModelName, OwnModel
from recbole_cadmr.training.energy import refuse_unmeasurable
from recbole_cadmr.training.trainer import get_trainer
from recbole_cadmr.tuning.samplers import SAMPLERS, SCHEDULERS, SpaceEncoder, equal_as_json, grace_of
from recbole_cadmr.tuning.space import (
    Point,
    Space,
    grid_points,
    parse_space,
    random_points,
    space_left,
)

SEARCH = "search.json"
SCHEMA_VERSION = 1
DEFAULT_TRIALS = 20
Positive = Annotated[int, Meta(ge=1, le=2**31)]
OF_TRIALS = {"attention_trials": 1}  # unless given or searched: a trial has the settings that the search gives it
_MOST_TRIALS = 100_000
_LEAST_MEMBERS = 4  # of a population: its worst quarter takes over from its best


@dataclass(frozen=True)
class Plan:
    """A search.

    Attributes:
        settings: of every run; with the searched ones all that its result depends on.
        space: what is searched, as in a yaml file.
        trials: most trials, the defaults among them.
        grace: epochs before a trial may be stopped, or take over another's state.
        max_epochs: most epochs of one trial.
        metric, bigger: the metric of validation that decides, and whether more of it is better.
        defaults: the values of the searched settings that a run without the search would have.
        data: a hash of the interactions, and of the features that the model reads.
        own_model: of a class of the user's own.
    """

    model: ModelName
    dataset: str
    preset: str | None
    settings: dict[str, Any]
    space: dict[str, Any]
    sampler: str
    scheduler: str
    trials: Positive
    grace: Positive
    max_epochs: Positive
    metric: str
    bigger: bool
    seed: int
    threads: Positive
    defaults: Point
    data: str
    own_model: OwnModel | None = None
    schema_version: int = SCHEMA_VERSION

    @property
    def is_population(self) -> bool:
        """Whether trials are members of a population, which take over each other's states every ``grace`` epochs."""
        return self.scheduler == "pbt"

    @property
    def parsed_space(self) -> Space:
        """What is searched, as dimensions."""
        return parse_space(self.space, "the space")

    @property
    def encoder(self) -> SpaceEncoder | None:
        """Reads the settings that Ray chooses; None if they are decided before."""
        is_encoded = self.is_population or self.sampler == "bayesian"
        return SpaceEncoder(self.parsed_space, self.defaults) if is_encoded else None

    def config(self, **more: Any) -> Config:
        """The settings of a run."""
        return Config(self.model, self.dataset, settings={"preset": self.preset, **self.settings, **more})

    def points(self) -> list[Point]:
        """What is tried, by number from 1 on; nothing if the sampler decides on the way."""
        if self.sampler == "grid":
            return grid_points(self.parsed_space, self.defaults)
        if self.sampler == "random":
            key = f"{self.model}@{self.preset} {self.dataset} {self.seed}"
            return random_points(self.parsed_space, self.trials, key, self.defaults)
        return []


def has_space(model: str, preset: str | None, settings: Mapping[str, Any]) -> bool:
    """Whether the package has a space for a model, of which ``settings`` leave something to search."""
    config = Config(model, settings={"preset": preset} if preset else {})
    fixed = current_names(model, settings, "settings", warn=False).keys()
    return not search_space(model, config["preset"]).keys() <= fixed


def make_plan(
    model: str | None,
    dataset: str | None,
    *,
    preset: str | None = None,
    space: str | Path | Mapping[str, Any] | None = None,
    sampler: str = "random",
    scheduler: str = "asha",
    trials: int | None = None,
    grace: int | None = None,
    threads: int = 1,
    settings: Mapping[str, Any] | None = None,
) -> Plan:
    """Check the options of a search.

    Args:
        space: a yaml file, or its content; the package's own for the model if not given. Settings that are given are
            not searched.
        sampler: ``random``, ``grid``, or ``bayesian`` (Optuna); scheduler: ``asha``, ``pbt``, or ``fifo``.
        trials: most trials, the first of which are the defaults; 20 if not given, and as many as a grid has points.
        grace: epochs before a trial may be stopped or take over another's state; by the most epochs if not given.

    Raises:
        UserError: on anything wrong with them.
    """
    _check_strategy(sampler, scheduler, trials, grace)
    subject = {"model": model, "dataset": dataset, "preset": preset}
    named = {**(settings or {}), **{name: value for name, value in subject.items() if value is not None}}
    fixed = {name: value for name, value in named.items() if name not in (*subject, "output")}
    if "settings_schedule" in fixed:
        raise UserError("a search takes no settings_schedule: its trials change settings only with --scheduler pbt")
    config = Config(named.get("model"), named.get("dataset"), settings={"preset": named.get("preset"), **fixed})
    fixed = current_names(config["model"], fixed, "settings")
    _check_runs(config, scheduler)
    searched = space_left(config, space, fixed)
    of_trials = {n: v for n, v in OF_TRIALS.items() if n in config and n not in (*fixed, *searched)}
    if of_trials:
        fixed |= of_trials
        config = Config(named.get("model"), named.get("dataset"), settings={"preset": named.get("preset"), **fixed})
    most = max(_most_epochs(config, searched), 1)
    plan = Plan(
        model=config["model"],
        dataset=config["dataset"],
        preset=config["preset"],
        settings={**fixed, "data_path": str(config.data_root), "seed": config["seed"], "threads": threads},
        space={name: dimension.plain for name, dimension in searched.items()},
        sampler=sampler,
        scheduler=scheduler,
        trials=trials or DEFAULT_TRIALS,
        grace=grace_of(grace, most, min(config["eval_step"], most)),
        max_epochs=most,
        metric=str(config["valid_metric"]).lower(),
        bigger=bool(config["valid_metric_bigger"]),
        seed=config["seed"],
        threads=threads,
        defaults={name: config[name] for name in searched},
        data=_data_hash(config),
        own_model=own_model(config),
    )
    return _counted(plan, trials)


def _check_strategy(sampler: str, scheduler: str, trials: int | None, grace: int | None) -> None:
    """Raise :class:`UserError` unless a search can go on so."""
    for what, value, names in (("sampler", sampler, SAMPLERS), ("scheduler", scheduler, SCHEDULERS)):
        if value not in names:
            raise UserError(f"there is no {what} '{value}'{did_you_mean(value, names)}; there are {', '.join(names)}")
    if grace is not None and scheduler == "fifo":
        raise UserError("the scheduler fifo stops no trial, so that there is no --grace; leave it out")
    if trials is not None and not 1 <= trials <= _MOST_TRIALS:
        raise UserError(f"a search has from 1 to {_MOST_TRIALS:,} trials, not {trials}")


def _check_runs(config: Config, scheduler: str) -> None:
    """Raise :class:`UserError` unless runs with these settings can be the trials of a search."""
    refuse_missing(config["tracker"])
    refuse_unmeasurable(config["energy"])
    if scheduler == "pbt" and (remote := next((name for name in config["tracker"] if name in REMOTE), None)):
        raise UserError(
            f"members of a population take over each other's states, which {remote} would show as runs in pieces; "
            f"leave out tracker {remote}, or take another --scheduler"
        )
    if not config["eval_step"]:
        raise UserError("a search chooses on validation, and eval_step 0 asks for none; give --eval_step=1")


def _counted(plan: Plan, trials: int | None) -> Plan:
    """The plan with as many trials as there can be."""
    if plan.sampler == "grid":
        n = len(plan.points())
        if trials is not None and trials < n:
            raise UserError(
                f"the grid has {n} points (with the defaults), more than --trials {trials}; leave --trials out, or "
                f"take the random sampler"
            )
        plan = replace(plan, trials=n)
    elif plan.sampler == "random":
        plan = replace(plan, trials=len(plan.points()))
    if plan.is_population:
        if plan.sampler != "random":
            raise UserError("population based training draws its members by itself; leave --sampler out")
        if plan.trials < _LEAST_MEMBERS:
            raise UserError(f"population based training needs at least {_LEAST_MEMBERS} trials, not {plan.trials}")
    return plan


def _most_epochs(config: Config, space: Space) -> int:
    """Most epochs of a trial, whatever the searched settings are."""
    trainer = get_trainer(config.model_class)
    kept = dict(config.final_config_dict)
    for name in ("epochs", "pretrain_epochs"):
        if name in kept and (not isinstance(kept[name], int) or kept[name] >= 2**31):
            raise UserError(f"{name} must be a whole number below {2**31:,}, not {kept[name]}")
    for name in ("epochs", "pretrain_epochs", "reg_weight", "attention_trials"):
        if name in space:
            most = [
                (trainer.most_epochs({**kept, name: value}), value) for value in (*space[name].values, config[name])
            ]
            kept[name] = max(most, key=lambda pair: pair[0])[1]
    return trainer.most_epochs(kept)


def _data_hash(config: Config) -> str:
    names = (config["modalities"] or []) if config["model_is_multimodal"] else []
    own = [f"{config['dataset']}.{name}{end}" for name in names for end in ("", ".npy")] + [f"{config['dataset']}.yaml"]
    files = [*config.data_folder.glob("*.inter"), *(config.data_folder / name for name in own)]
    return sha256_of_all(sorted(file for file in files if file.is_file()))


def write_plan(plan: Plan, root: Path) -> None:
    """Write ``search.json``."""
    write_json(root / SEARCH, asdict(plan))


def read_plan(root: Path) -> Plan:
    """The search in a folder.

    Raises:
        UserError: if there is none, or it cannot be read.
    """
    path = root / SEARCH
    if not path.exists():
        raise UserError(f"{root} holds no search ({SEARCH} is missing); begin one with --output")
    plan = read_versioned(path, Plan, SCHEMA_VERSION, "search")
    settings, space, defaults = (
        current_names(plan.model, values, str(path), warn=False)
        for values in (plan.settings, plan.space, plan.defaults)
    )
    plan = replace(plan, settings=settings, space=space, defaults=defaults)
    if unknown := read_json(path, dict[str, Any]).keys() - vars(plan).keys():
        raise UserError(f"{path} is damaged or was edited: it has {', '.join(sorted(unknown))}")
    return plan


def check_same(begun: Plan, plan: Plan, root: Path) -> None:
    """Refuse to resume another search than the one in the folder; more trials, or data that moved, are the same search.

    Raises:
        UserError: naming what is different.
    """
    before, now = ({**one.settings, **asdict(one)} for one in (begun, plan))
    for name in {**begun.settings, **now}:
        one, other = (values.get(name, "the default") for values in (before, now))
        if name in ("trials", "settings", "data_path") or equal_as_json({"": one}, {"": other}):
            continue
        if name == "own_model":
            raise UserError(
                f"{root} holds a search with another source of {plan.model} than it has now; choose another --output"
            )
        if name == "data":
            raise UserError(f"{root} holds a search on other data than there are now; choose another --output")
        what = f"its {name} is {one}, not {other}"
        raise UserError(f"{root} holds another search: {what}; choose another --output")
    if plan.trials < begun.trials:
        raise UserError(f"{root} holds a search of {begun.trials} trials, and can be resumed with as many or more")
