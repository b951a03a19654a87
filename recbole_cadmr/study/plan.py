"""The yaml file of a study: what is asked, what is run, and what is paired with what."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, field

from recbole_cadmr.benchmark.plan import check_seeds
from recbole_cadmr.config.yaml_text import read_yaml
from recbole_cadmr.errors import UserError, did_you_mean
from recbole_cadmr.study.departures import MEASURED
from recbole_cadmr.study.figures import check_figure
from recbole_cadmr.study.measurements import MEASUREMENTS

_FOLDER = Path(str(files("recbole_cadmr.properties"))) / "study"
Part = Literal["train", "valid", "test"]
PARTS: tuple[Part, ...] = ("train", "valid", "test")
NumberOfSeeds = Annotated[int, Meta(ge=1, le=100)]
LEAST_SEEDS = 2  # of a comparison by seed
Number = Annotated[float, Meta(ge=-1e300, le=1e300)]  # neither NaN nor infinite
# What a study decides for all of its runs, and where that is said instead.
_DECIDED = {
    "model": "the model of a variant",
    "preset": "model: MODEL@PRESET of a variant",
    "dataset": "datasets",
    "seed": "seeds",
    "output": "--output",
    "checkpoint_dir": "--output",
    "evaluate_test": "nothing instead, as figures need the test part",
    "save_lists": "nothing instead, as figures need the lists",
}


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Part of a study file."""


class Variant(_Entry, frozen=True):
    """A model with settings.

    Attributes:
        model: name, with a preset as in ``CADMR@best``; that of the variant ``of`` if not given.
        of: an earlier variant, whose settings this one starts from and which it is paired with.
        settings: over those of ``of``.
        each: the variant stands for several, one for each modality of the data set, or each subset of them; the name
            holds ``{modalities}``.
        x: where the variant lies on the axis of a study of one number.
        cell: what the variant has in common with others, among which, on one data set, figures are correlated.
    """

    name: str
    model: str | None = None
    of: str | None = None
    settings: dict[str, Any] = {}
    each: Literal["modality", "subset"] | None = None
    x: Number | None = None
    cell: str | None = None


class Claim(_Entry, frozen=True):
    """A claim of a paper, and what would speak for it.

    Attributes:
        negative: pairs of figures whose correlation would be negative.
        better: pairs of variants, of which the first would be better by the first figure of the study.
    """

    says: str
    negative: list[tuple[str, str]] = []
    better: list[tuple[str, str]] = []


class Departure(_Entry, frozen=True):
    """A departure from the protocol that every variant is trained and measured under again.

    Attributes:
        parts: which of the original parts a part of the data set is made of; parts that are not named stay. What is
            trained on such a set is measured on the original test part, with the original train items left out.
        whole: whether the parts are put together again, to be split by the ``eval_args`` of ``settings``.
    """

    name: str
    settings: dict[str, Any] = {}
    parts: dict[Part, Annotated[list[Part], Meta(min_length=1)]] = {}
    whole: bool = False


class Quick(_Entry, frozen=True):
    """What ``--quick`` makes of a study: seeds, data sets that come with the package, and settings for all models that
    have them."""

    seeds: NumberOfSeeds = 2
    datasets: list[str] = field(default_factory=lambda: ["synthetic"])
    settings: dict[str, Any] = {}


class Plan(_Entry, frozen=True):
    """A study.

    Attributes:
        seeds: how many, or which.
        figures: what is compared; the answer is about the first of them.
        hours: on one core, of all variants and seeds, by data set; as far as known.
        pairs: what is compared beside every variant with the one that it is ``of``.
        settings: for all variants whose model has them.
        measure: what is measured on every trained model beside its test metrics.
        orders: whether the order of the variants is compared between departures, by Kendall's tau.
        axis: what the ``x`` of the variants is.
        correlations: pairs of figures that are correlated over the runs of the variants that have a ``cell``.
        claims: what a verdict is given on.
    """

    question: str
    datasets: list[str]
    figures: list[str]
    variants: list[Variant]
    seeds: NumberOfSeeds | list[int] = 5
    hours: dict[str, Annotated[float, Meta(ge=0)]] = {}
    pairs: list[tuple[str, str]] = []
    settings: dict[str, Any] = {}
    departures: list[Departure] = []
    measure: list[str] = []
    orders: bool = False
    axis: str = ""
    correlations: list[tuple[str, str]] = []
    claims: list[Claim] = []
    quick: Quick = field(default_factory=Quick)

    @property
    def seed_list(self) -> list[int]:
        """The seeds themselves."""
        return list(range(1, self.seeds + 1)) if isinstance(self.seeds, int) else self.seeds

    @property
    def cells(self) -> dict[str, str]:
        """By variant, the cell that figures are correlated in; see ``correlations``."""
        return {variant.name: variant.cell for variant in self.variants if variant.cell is not None}


def study_names() -> list[str]:
    """The studies that come with the package."""
    return sorted(file.stem for file in _FOLDER.glob("*.yaml"))


def read_plan(study: str) -> tuple[str, Plan]:
    """Name and plan of a study, given by its name or by the path of its file.

    Raises:
        UserError: if there is none, or anything in it is wrong that can be told without a data set.
    """
    is_file = study.endswith((".yaml", ".yml"))
    if not is_file and study not in study_names():
        near = did_you_mean(study, study_names()) or f"; there are {', '.join(study_names())}"
        raise UserError(f"there is no study '{study}'{near}; a study of your own is named by the path of its yaml file")
    file = Path(study) if is_file else _FOLDER / f"{study}.yaml"
    try:
        plan = msgspec.convert(read_yaml(file), Plan)
    except msgspec.ValidationError as error:
        raise UserError(f"{file}: {str(error).replace('`', chr(39))}") from error
    try:
        _check(plan)
    except UserError as error:
        raise UserError(f"{file}: {error}") from error
    return file.stem, plan


def refuse_decided(settings: Iterable[str], further: Iterable[str] = ()) -> None:
    """Raise :class:`UserError` if a setting is one that the study decides itself, or one of ``further``."""
    for name in settings:
        if name in _DECIDED or name in further:
            raise UserError(f"{name} is no setting of a study's variants; use {_DECIDED.get(name, f'--{name}')}")


def file_words(name: str) -> str:
    """A name as part of a file's: its letters and digits, in lower case."""
    return "-".join("".join(letter if letter.isalnum() else " " for letter in name.lower()).split())


def _refuse_repeated(plan: Plan) -> None:
    """What is there twice would be tested twice, and corrected for."""
    pairs = [frozenset(pair) for pair in plan.pairs]
    of_another = [frozenset((one.name, one.of)) for one in plan.variants if one.of]
    if any(len(pair) < 2 for pair in pairs) or len({*pairs, *of_another}) < len(pairs) + len(of_another):
        raise UserError("pairs name two different variants, each two once, and none that is of the other already")
    if len({name.removesuffix(" in good faith") for name in plan.measure}) < len(plan.measure):
        raise UserError("measure names something twice ('departures' has those in good faith)")
    for what, entries in (("data set", plan.datasets), ("figure", plan.figures), ("correlation", plan.correlations)):
        if twice := next((entry for place, entry in enumerate(entries) if entry in entries[:place]), None):
            raise UserError(f"the {what} {twice if isinstance(twice, str) else ' with '.join(twice)} is named twice")


def _check(plan: Plan) -> None:
    for what, entries in (("data set", plan.datasets), ("figure", plan.figures), ("variant", plan.variants)):
        if not entries:
            raise UserError(f"a study needs at least one {what}")
    texts = [plan.question, *(variant.name for variant in plan.variants), *(claim.says for claim in plan.claims)]
    if not all(text.strip() for text in texts):
        raise UserError("the question, the names of variants and what claims say must not be empty")
    refuse_decided([*plan.settings, *plan.quick.settings])
    own = [*(one.settings for one in plan.variants), *(one.settings for one in plan.departures)]
    refuse_decided(chain.from_iterable(own), ["data_path"])
    _refuse_repeated(plan)
    known: dict[str, Variant] = {}
    for variant in plan.variants:
        if variant.name in known:
            raise UserError(f"two variants are called '{variant.name}'")
        if variant.of is not None and (variant.of not in known or known[variant.of].each):
            raise UserError(f"variant '{variant.name}' is of '{variant.of}', which is no single variant before it")
        if variant.of is None and variant.model is None:
            raise UserError(f"variant '{variant.name}' names no model; give it a model, or the variant that it is of")
        if (variant.each is None) == ("{modalities}" in variant.name):
            raise UserError(f"variant '{variant.name}': each and {{modalities}} in the name need each other")
        if variant.each and variant.cell is not None:
            raise UserError(f"variant '{variant.name}' stands for several, which have no cell; name each of them")
        known[variant.name] = variant
    for name in (name for pair in plan.pairs for name in pair):
        if name not in known or known[name].each:
            raise UserError(f"a pair names '{name}', which is no single variant{did_you_mean(name, known)}")
    compared = {*plan.pairs, *((variant.name, variant.of) for variant in plan.variants if variant.of)}
    for claim in plan.claims:
        if lacking := next((pair for pair in claim.negative if pair not in plan.correlations), None):
            raise UserError(
                f"the claim '{claim.says:.60}' names {' and '.join(lacking)}, which are not in correlations"
            )
        if lacking := next((pair for pair in claim.better if not {pair, pair[::-1]} & compared), None):
            raise UserError(f"the claim '{claim.says:.60}' names {' and '.join(lacking)}, which are not paired")
    if not plan.quick.datasets:
        raise UserError("quick needs at least one data set; leave datasets out for the embedded one")
    names = [file_words(departure.name) for departure in plan.departures]
    if len(set(names)) < len(names) or "" in names:
        raise UserError("departures need names, each of other letters and digits")
    for departure in plan.departures:
        if plan.measure and departure.name in MEASURED:
            raise UserError(
                f"departure '{departure.name}' is called as one that every trained model is measured under; give it "
                f"another name"
            )
        if twice := next((part for part, of in departure.parts.items() if len(set(of)) < len(of)), None):
            raise UserError(f"departure '{departure.name}' makes its {twice} part of one part twice; name each once")
        if departure.whole and departure.parts:
            raise UserError(f"departure '{departure.name}' has parts and is whole; give one of them")
    for name in plan.measure:
        if name not in MEASUREMENTS:
            raise UserError(f"there is no measurement '{name}'; there are {', '.join(MEASUREMENTS)}")
    for figure in (*plan.figures, *(figure for pair in plan.correlations for figure in pair)):
        check_figure(figure, plan.measure)
    if plan.correlations and not plan.cells:
        raise UserError("correlations are over the runs of variants that have a cell, and none has; give some one")
    check_seeds(plan.seed_list)
