"""Settings files of the MMRec toolbox for the models of a benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from recbole_cadmr.config.config import Config
from recbole_cadmr.config.deprecated import current_name
from recbole_cadmr.config.mmrec import Translation, models_of_both, single_values, translated
from recbole_cadmr.errors import UserError
from recbole_cadmr.models.registry import model_names

_MEASURED = ("metrics", "topk", "valid_metric")


@dataclass(frozen=True)
class OfFiles:
    """What files of MMRec's say of the models of a benchmark.

    Attributes:
        settings: by ``MODEL.name`` or ``MODEL@PRESET.name``.
        seeds: None if the files name none.
        notes: what became of the files' settings, a sentence each.
    """

    settings: dict[str, Any]
    seeds: list[int] | None
    notes: list[str]


def settings_of_files(
    files: Sequence[str], labels: Sequence[str], given: Mapping[str, Any], seeds: Sequence[int] | None = None
) -> OfFiles:
    """The settings that files of MMRec's, in rising priority, have for models.

    A file that is called after a model is of that one alone; the others are of all that MMRec has, too. Of models that
    it does not have, they say by what these are measured and nothing else.

    Args:
        labels: models by name, with a preset as in ``FREEDOM@NAME``.
        given: settings that the user gives beside, by name or ``MODEL.name``; they decide.
        seeds: those that the user gives; they decide.

    Raises:
        UserError: as of :func:`translated`; if a file or all of them are of none of the models; if several values of a
            setting are listed and nothing says which.
    """
    models = {label: label.partition("@")[0] for label in labels}
    owners = {file: Path(file).stem if Path(file).stem in model_names() else None for file in files}
    for file, owner in owners.items():
        if owner not in (None, *models.values()):
            raise UserError(f"{file} is called after {owner}, which is not among the models; leave it out, or add it")
    known = {label: model for label, model in models.items() if model in {*models_of_both(), *owners.values()}}
    if not known:
        raise UserError(f"MMRec has no {' and no '.join(models.values())}; leave out its files")
    found = {
        label: translated([file for file, owner in owners.items() if owner in (None, model)], model)
        for label, model in known.items()
    }
    measured = {n: value for each in found.values() for n, value in each.settings.items() if n in _MEASURED}
    others = {label: Translation(model, measured, {}, []) for label, model in models.items() if label not in found}
    settings: dict[str, Any] = {}
    notes: dict[str, list[str]] = {}
    for label, translation in {**found, **others}.items():
        own = _single(label, translation, given)
        settings |= {f"{label}.{name}": value for name, value in own.settings.items()}
        for note in own.notes:
            notes.setdefault(note, []).append(label)
    said = [f"{', '.join(of)}: {note}" for note, of in notes.items()]
    if others:
        said.append(f"{', '.join(others)}: not in MMRec; of its files, {', '.join(measured) or 'nothing'} is taken")
    return OfFiles(settings, None if seeds else _seeds(found), said)


def _single(label: str, found: Translation, given: Mapping[str, Any]) -> Translation:
    """One value of each setting, without those that are given, and those that a benchmark decides."""
    model, _, preset = label.partition("@")
    named = {name.rpartition(".") for name in given}
    theirs = {current_name(model, name): None for owner, _, name in named if owner in ("", model, label)}
    notes = list(found.notes)
    if found.settings.get("save_lists") is False:
        notes.append("save_recommended_topk: a benchmark keeps the lists of all runs")
    decided = {"seed", "save_lists", *theirs}
    settings, space = (
        {name: value for name, value in part.items() if name not in decided} for part in (found.settings, found.space)
    )
    defaults = Config(model, settings={"preset": preset} if preset else {}).final_config_dict if space else {}
    return single_values(replace(found, settings=settings, space=space, notes=notes), {}, defaults, f"{label}.")


def _seeds(found: Mapping[str, Translation]) -> list[int] | None:
    """The seeds of all models.

    Raises:
        UserError: if they have others.
    """
    named = {
        label: each.space.get("seed") or [each.settings["seed"]]
        for label, each in found.items()
        if "seed" in {**each.space, **each.settings}
    }
    for label, seeds in named.items():
        first = next(iter(named))
        if seeds != named[first]:
            raise UserError(f"the files name the seeds {named[first]} of {first} and {seeds} of {label}; give --seeds")
    return next(iter(named.values()), None)
