"""From raw interactions and content to a data set that trains: the steps that all sources of raw data share."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recbole_cadmr.data.prepare.content import Content, ContentReader, Features
from recbole_cadmr.data.prepare.interactions import clean, k_core, read_values
from recbole_cadmr.data.prepare.options import NONE, Options
from recbole_cadmr.data.prepare.origin import Origin
from recbole_cadmr.data.prepare.skipped_rows import SkippedRows
from recbole_cadmr.data.prepare.split import PARTS, SPLITS
from recbole_cadmr.data.prepare.write import Prepared, with_graph, write_data_set
from recbole_cadmr.data.working_folder import working_folder
from recbole_cadmr.errors import UserError
from recbole_cadmr.files import folder_aside, refuse_used_folder


def assemble(
    interactions: pd.DataFrame, read_content: ContentReader, origin: Origin, options: Options, tally: SkippedRows
) -> Path:
    """Write the data set ``options.folder`` and return it.

    Numbers and times are read, repeated pairs go, the k-core stays, the rest is split; then the content of the items
    that are left is read and encoded. What is computed on the way lies in ``.NAME.work`` beside the data set until that
    is whole, so that a run that was cut goes on there.

    Args:
        interactions: ``user_id``, ``item_id`` and, if known, ``rating``, ``quantity`` and ``timestamp``, all text; in
            the order of the source.
        read_content: called with the items that are left, sorted, and that folder.

    Raises:
        UserError: if the data set is there already, or nothing is left to train on.
    """
    refuse_used_folder(options.folder)
    table, steps = read_values(interactions, origin.sources[0], options, tally)
    try:
        kept = k_core(clean(table, tally), options.k_core, steps)
    except UserError as error:  # what was passed over may be the cause
        raise UserError("; ".join([str(error), *tally.lines()])) from error
    labels = SPLITS[options.split](kept, np.random.default_rng(options.seed))
    if not (labels == 0).any():
        raise UserError(f"--split {options.split} leaves nothing to train on; give more data or another split")
    if options.split == "leave-last" and "timestamp" not in kept:
        tally.remark("--split leave-last goes by the order of the rows, since there are no times")
    for label, part in enumerate(PARTS):
        if not (labels == label).any():
            tally.remark(f"--split {options.split} leaves {part} without interactions")
    items = sorted(kept["item_id"].unique())
    with working_folder(options.folder) as work:
        content = read_content(items, work)
        features = [
            with_graph(modality, options.graph)
            for modality in (*_encoded(content, items, work, options, tally), *content.features)
            if modality.items
        ]
        parts = {part: kept[labels == label] for label, part in enumerate(PARTS)}
        steps["split"] = f"{options.split}, seed {options.seed}"
        with folder_aside(options.folder, within=work) as folder:
            write_data_set(
                folder,
                Prepared(options.name, parts, content.titles, features),
                replace(origin, steps={**steps, **origin.steps}, notes=tally.lines()),
            )
    for line in [*(f"{step}: {steps[step]}" for step in ("k-core", "times") if step in steps), *tally.lines()]:
        print(f"note: {line}", file=sys.stderr)
    return options.folder


def _encoded(
    content: Content, items: Sequence[str], work: Path, options: Options, tally: SkippedRows
) -> list[Features]:
    """Vectors of texts and pictures, unless the source brought them."""
    given = {features.name for features in content.features}
    how: dict[str, Any] = {"dtype": options.dtype, "batch_size": options.batch_size, "device": options.device}
    found = []
    if content.texts and options.text_model != NONE and "text" not in given:
        from recbole_cadmr.extract.text import extract_text

        texts = [content.texts.get(item, "") for item in items]
        found.append(("text", extract_text(texts, work / "text", model=options.text_model, **how)))
        tally.note("items without text", n=len(items) - len(content.texts))
    elif not content.texts and options.text_model != NONE and "text" not in given:
        tally.remark("no item has a text, so that there is no modality text")
    if content.pictures and options.image_model != NONE and "image" not in given:
        from recbole_cadmr.extract.image import extract_images

        pictures = [content.pictures.get(item) for item in items]
        image = extract_images(pictures, work / "image", model=options.image_model, weights=options.weights, **how)
        found.append(("image", image))
        for index in image.damaged:
            tally.note("damaged pictures", str(pictures[index]))
    elif content.pictures:
        tally.note("pictures that are left unread", n=len(content.pictures))
    result = []
    for name, extracted in found:
        tally.note(f"items whose {name} vector is zeros, so that they lack {name}", n=extracted.zeros)
        at = np.flatnonzero(extracted.present)
        made_by = ", ".join(f"{key} {value}" for key, value in extracted.card.items())
        result.append(Features(name, [items[row] for row in at], extracted.features, at, made_by=made_by))
    return result
