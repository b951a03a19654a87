"""Remove a modality from a data set that is there."""

from __future__ import annotations

import argparse
from pathlib import Path

from recbole_cadmr.data.change.add_modality import add_subject
from recbole_cadmr.data.change.card import without_modality
from recbole_cadmr.data.change.finished import FinishedSet
from recbole_cadmr.data.change.swapped import changed_folder
from recbole_cadmr.data.encoders import read_encoders, write_encoders
from recbole_cadmr.data.feature_file import read_features
from recbole_cadmr.data.prepare.options import Options
from recbole_cadmr.errors import UserError, did_you_mean
from recbole_cadmr.files import read_text, write_text
from recbole_cadmr.screen import note


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``prepare remove-modality``."""
    add_subject(parser)


def run(arguments: argparse.Namespace) -> Path:
    """Change the data set and return its folder.

    Raises:
        UserError: if there is no such data set or modality; then the data set is as it was.
    """
    from recbole_cadmr.data.prepare.page import write_page

    name, modality = arguments.name, arguments.modality
    target = Options(name, data_path=arguments.data_path).folder
    with changed_folder(target) as (_, copy):
        found = FinishedSet.open(copy, name)
        names = list(dict.fromkeys([*found.modalities, *found.graphs]))
        if modality not in names:
            there = f"it has {', '.join(names)}" if names else "it has none"
            raise UserError(f"{name} has no modality '{modality}'{did_you_mean(modality, names)}; {there}")
        for file in found.files(modality):
            file.unlink(missing_ok=True)
        found = found.without_modality(modality)
        write_encoders(copy, {key: encoder for key, encoder in read_encoders(copy).items() if key != modality})
        card = copy / "dataset_card.md"
        if card.is_file():
            text = without_modality(read_text(card), modality)
            write_text(card, text)
        if (copy / f"{name}.html").is_file():
            write_page(copy, name)
        bare = _without_content(found)
    if bare:
        note(f"new items about whose content nothing is known now: {bare:,}")
    return target


def _without_content(found: FinishedSet) -> int:
    """How many items that nobody has are left without any modality."""
    _, new = found.items()
    for modality in found.modalities:
        if new:
            file = found.folder / f"{found.name}.{modality}"
            new = new.difference(read_features(file, modality, found.item_field).tokens)
    return len(new)
