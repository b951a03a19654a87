"""The variants of a study on a data set: models with all of their settings, checked before anything runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import msgspec

from recbole_cadmr.config.config import Config
from recbole_cadmr.config.deprecated import current_name, nearest_settings
from recbole_cadmr.errors import UserError
from recbole_cadmr.execution.run_spec import ModelSpec
from recbole_cadmr.models.contract import traits
from recbole_cadmr.reports.results_table import first_difference
from recbole_cadmr.study.altered_data import ALTERED, altered, has_times
from recbole_cadmr.study.figures import check_measured, check_streams
from recbole_cadmr.study.plan import LEAST_SEEDS, Departure, Plan, Variant

# What variants must agree in to be compared.
_PROTOCOL = ("benchmark_filename", "eval_args", "split_seed", "mask_valid_at_test")


@dataclass(frozen=True)
class Trained:
    """A variant as it is trained.

    Attributes:
        departure: from the protocol; "" for the protocol itself.
        base: the variant that it is paired with.
        source: the config of the data set whose parts it is measured on, where it is trained on altered ones.
    """

    variant: str
    departure: str
    spec: ModelSpec
    base: str | None = None
    x: float | None = None
    source: Config | None = None


def trained_variants(
    plan: Plan, dataset: str, settings: Mapping[str, Any], root: Path
) -> tuple[list[Trained], dict[str, str]]:
    """Every variant and departure on a data set, and by name what does not go there, with the reason.

    Args:
        settings: for all variants whose model has them, over those of the plan.
        root: folder of the study, for altered data sets.

    Raises:
        UserError: on an unknown model, preset, data set or setting, a modality that the data set lacks, a protocol
            that is not the same for all, and on two variants that are the same or have the same name.
    """
    shared = {**plan.settings, **settings}
    place = {"data_path": shared.pop("data_path")} if "data_path" in shared else {}
    data = ModelSpec("CADMR", None, dataset, place).config
    figures = [*plan.figures, *chain.from_iterable(plan.correlations)]
    check_streams(figures, data["modalities"] or [], dataset)
    known: set[str] = set()
    used: set[str] = set()
    made: dict[str, Trained] = {}
    given: dict[str, Mapping[str, Any]] = {}
    twins: dict[tuple[str, str], str] = {}
    left_out: dict[str, str] = {}
    first: ModelSpec | None = None
    for variant in plan.variants:
        for single in _expanded(variant, list(data["modalities"] or [])):
            if single.name in given:
                raise UserError(f"two variants are called '{single.name}' on {dataset}; give one another name")
            model, _, preset = (single.model or made[str(variant.of)].spec.label).partition("@")
            own = given[single.name] = {**given.get(str(variant.of), {}), **single.settings}
            try:
                declared = ModelSpec(model, preset or None, dataset, place).config.declarations
                common = {name: value for name, value in shared.items() if current_name(model, name) in declared}
                known |= set(declared)
                used |= {name for name in common if current_name(model, name) not in _current(model, own)}
                spec = ModelSpec(model, preset or None, dataset, {**place, **common, **own})
                _check_modalities(spec.config)
                check_measured(figures, spec.config)
                _check_protocol(spec, first := first or spec)
            except UserError as error:
                raise UserError(f"variant '{single.name}' on {dataset}: {error}") from error
            twin = twins.setdefault((spec.label, spec.digest), single.name)
            if twin == single.name:
                made[single.name] = Trained(single.name, "", spec, variant.of, single.x)
            elif variant.each is None:
                raise UserError(f"variants '{twin}' and '{single.name}' are the same model with the same settings")
            else:
                left_out[single.name] = f"it is the variant '{twin}' there"
    if unused := next((name for name in shared if name not in used), None):
        if unused in known:
            raise UserError(f"every variant that has the setting '{unused}' says itself what it is; leave it out")
        raise UserError(f"no variant has a setting '{unused}'{nearest_settings(unused, known)}")
    all_of_them, without = _with_departures(plan, list(made.values()), data, root)
    return all_of_them, left_out | without


def _current(model: str, settings: Mapping[str, Any]) -> set[str]:
    return {current_name(model, name) for name in settings}


def _with_departures(
    plan: Plan, made: Sequence[Trained], data: Config, root: Path
) -> tuple[list[Trained], dict[str, str]]:
    all_of_them, left_out = list(made), {}
    for departure in plan.departures:
        if _needs_times(departure) and not has_times(data):
            left_out[departure.name] = f"{data['dataset']} has no times"
            continue
        place: dict[str, Any] = {}
        dataset = data["dataset"]
        if departure.parts or departure.whole:
            dataset = altered(data, departure, root / ALTERED)
            place = {"data_path": str(root / ALTERED)}
        for one in made:
            if departure.parts and (data["domain_field"] or traits(one.spec.config.model_class).sequential):
                raise UserError(
                    f"departure '{departure.name}' has parts, on which neither data sets of two domains nor models of "
                    f"sequences such as '{one.variant}' are measured; leave it out"
                )
            times = _times_loaded(one.spec.config) if _needs_times(departure) else {}
            settings = {**one.spec.settings, **times, **departure.settings, **place}
            spec = replace(one.spec, dataset=dataset, settings=settings)
            try:
                _check_modalities(spec.config)
            except UserError as error:
                raise UserError(f"departure '{departure.name}': {error}") from error
            if spec.digest == one.spec.digest:
                raise UserError(f"departure '{departure.name}' changes nothing of the variant '{one.variant}'")
            all_of_them.append(Trained(one.variant, departure.name, spec, source=data if departure.parts else None))
    return all_of_them, left_out


def _needs_times(departure: Departure) -> bool:
    arguments = departure.settings.get("eval_args")
    return isinstance(arguments, dict) and arguments.get("order") == "TO"


def _times_loaded(config: Config) -> dict[str, Any]:
    """The setting that loads the column of times, too, where it is not loaded by itself."""
    columns, field = config["load_col"] or {}, config["TIME_FIELD"]
    inter = columns.get("inter", [field])
    return {} if field in inter else {"load_col": {**columns, "inter": [*inter, field]}}


def _expanded(variant: Variant, modalities: Sequence[str]) -> Iterator[Variant]:
    """The variants that one stands for on a data set with these modalities."""
    if variant.each is None:
        yield variant
        return
    if not modalities:
        raise UserError(f"variant '{variant.name}' is for each modality of a data set, and this one has none")
    sizes = (1,) if variant.each == "modality" else range(1, len(modalities) + 1)
    for chosen in chain.from_iterable(combinations(modalities, size) for size in sizes):
        filled = _filled(variant.settings, list(chosen))
        if filled == variant.settings:
            raise UserError(f"variant '{variant.name}' has no {{modalities}} in its settings, so that all are the same")
        name = variant.name.replace("{modalities}", " + ".join(chosen))
        yield msgspec.structs.replace(variant, name=name, settings=filled)


def _filled(value: Any, modalities: list[str]) -> Any:
    """Settings with modalities where ``{modalities}`` stands for them."""
    if isinstance(value, dict):
        return {name: _filled(entry, modalities) for name, entry in value.items()}
    return modalities if value == "{modalities}" else value


def _check_protocol(spec: ModelSpec, first: ModelSpec) -> None:
    """Raise :class:`UserError` if a variant is split or ranked otherwise than the first one."""
    own, wanted = ({name: one.config[name] for name in _PROTOCOL} for one in (spec, first))
    if difference := first_difference(own, wanted):
        raise UserError(f"{difference} as in the first variant; give it in settings at the top, or make it a departure")


def _check_modalities(config: Config) -> None:
    """Raise :class:`UserError` if a model reads a modality that its data set lacks."""
    if not traits(config.model_class).multimodal:
        return
    dataset = config["dataset"]
    names = list(config["modalities"] or [])
    lacking = [name for name in names if not (config.data_folder / f"{dataset}.{name}").is_file()]
    if lacking or not names:
        what = f"the modality {lacking[0]}" if lacking else "item features"
        raise UserError(f"it needs {what}, which the data set lacks; leave that data set out, or the variant")


def check_pairs(plan: Plan, made: Sequence[Trained], seeds: Sequence[int]) -> None:
    """Raise :class:`UserError` if what is paired by seed has too few seeds."""
    if len(seeds) >= LEAST_SEEDS:
        return
    by_name = {one.variant: one for one in made if not one.departure}
    pairs = [(one.variant, one.base) for one in by_name.values() if one.base] + list(plan.pairs)
    pairs += [(one.variant, one.variant) for one in made if one.departure]
    for name, other in pairs:
        models = [by_name[one].spec.config.model_class for one in (name, other) if one in by_name]
        if not all(traits(model).deterministic for model in models):
            what = f"'{name}' and '{other}'" if name != other else f"departures of '{name}'"
            raise UserError(f"{what} are paired by seed, and one seed is too few; give {LEAST_SEEDS} or more")
