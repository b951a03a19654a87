"""From raw interactions and content to a data set ready for training: the steps that all sources share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from recbole_cadmr.data.prepare.content import Catalogue, Content, ContentReader, Features, Prepared, Source
from recbole_cadmr.data.prepare.encoding import encoded
from recbole_cadmr.data.prepare.interactions import clean, k_core, new_items, read_values
from recbole_cadmr.data.prepare.options import NONE, Options
from recbole_cadmr.data.prepare.skipped_rows import SkippedRows
from recbole_cadmr.data.prepare.split import split_parts
from recbole_cadmr.data.working_folder import working_folder
from recbole_cadmr.errors import UserError
from recbole_cadmr.files import refuse_used_folder
from recbole_cadmr.memory import free_bytes

_LEAST = 64  # bytes for an interaction: its numbers, an order of them, and a copy
_TOLD = ("k-core", "new items", "times", "text vectors", "image vectors")  # steps, on the screen


def assemble(
    interactions: pd.DataFrame,
    read_content: ContentReader,
    options: Options,
    skipped: SkippedRows,
    origin: str,
    licence: str,
    sources: Sequence[Source],
    catalogue: Catalogue = tuple,
) -> Path:
    """Write the data set ``options.folder`` and return it.

    Numbers and times are read, repeated pairs removed, the k-core kept and split; then the content of the remaining
    items, with ``--keep_new_items`` also that of products nobody has, is read and encoded. Intermediate results are in
    ``.NAME.work`` beside the data set until that is complete, so that an interrupted command resumes from there.

    Args:
        interactions: ``user_id``, ``item_id`` and, if known, ``rating``, ``quantity`` and ``timestamp``, all text; in
            the order of the source.
        read_content: called with the remaining items, sorted, and that folder.
        origin, licence, sources: as of :class:`Prepared`; the first source is that of the interactions.
        catalogue: all products of the source.

    Raises:
        UserError: if the data set exists, or nothing is left to train on.
    """
    from recbole_cadmr.data.prepare.write import deliver, with_graph  # heavy: torch and plotly

    refuse_used_folder(options.folder)
    _need_memory(len(interactions), sources[0])
    interactions, steps = read_values(interactions, sources[0], options, skipped)
    interactions = clean(interactions, skipped)
    had = set(interactions["item_id"].unique()) if options.keep_new_items else set()
    try:
        interactions = k_core(interactions, options.k_core, steps)
    except UserError as error:  # what was skipped may be the cause
        raise UserError("; ".join([str(error), *skipped.lines()])) from error
    parts = split_parts(interactions, options.split, options.seed, skipped)
    items = sorted(interactions["item_id"].unique())
    new = new_items(catalogue(), items, skipped) if options.keep_new_items else []
    del interactions  # nothing that is no longer needed takes memory
    with working_folder(options.folder) as work:
        items = sorted([*items, *new])
        content = read_content(items, work)
        features = [
            with_graph(modality, options.graph)
            for modality in (*_encoded(content, items, work, options, skipped, steps), *content.features)
            if modality.items
        ]
        steps["split"] = f"{options.split}, seed {options.seed}"
        without, new = _without_content(new, features, skipped)
        titles, kept = _less(content.titles, without), {c: _less(of, without) for c, of in content.kept.items()}
        if options.keep_new_items:
            steps["new items"] = f"{len(new):,} with content, of which {len(had.intersection(new)):,} had interactions"
        about = (options.name, parts, titles, features, origin, licence, sources, skipped.lines(), steps)
        prepared = Prepared(*about, new_items=new, kept=kept, pictures=content.pictures)
        return deliver(prepared, options.folder, work, _TOLD)


def _need_memory(n: int, source: Source) -> None:
    """Raise :class:`UserError` if memory is too small for the steps of ``n`` interactions."""
    needed, free = _LEAST * n, free_bytes()
    if needed > free:
        raise UserError(
            f"{n:,} interactions of {source.name} need at least {needed:,} bytes of memory beside those they are in, "
            f"but {free:,} are free; give the process more, or fewer interactions"
        )


def _without_content(new: list[str], features: Sequence[Features], skipped: SkippedRows) -> tuple[set[str], list[str]]:
    """The new items that have no content, and those that have some."""
    described = set().union(*(modality.items for modality in features))
    without = set(new) - described
    skipped.note("items without interactions and without content, which are left out", n=len(without))
    return without, [item for item in new if item in described]


def _less(texts: Mapping[str, str], without: set[str]) -> dict[str, str]:
    return {item: text for item, text in texts.items() if item not in without}


def _encoded(
    content: Content,
    items: Sequence[str],
    work: Path,
    options: Options,
    skipped: SkippedRows,
    steps: dict[str, str],
) -> list[Features]:
    """Vectors of texts and pictures; ``steps`` gets how many are new."""
    from recbole_cadmr.extract.vector_store import VectorCache

    how: dict[str, Any] = {name: getattr(options, name) for name in ("dtype", "device", "over", "batch_size")}
    how["cache"] = VectorCache.of_user(options.vector_cache)
    columns, result = content.columns, []
    if content.texts and options.text_model != NONE:
        skipped.note("items without text", n=len(items) - len(content.texts))
        texts = [content.texts.get(item, "") for item in items]
        about = (options.text_model, how, skipped, steps, columns.get("text", ()))
        result.append(encoded("text", "text", texts, items, work, *about))
    elif options.text_model != NONE:
        skipped.remark("no item has a text, so that there is no modality text")
    if content.pictures and options.image_model != NONE:
        pictures = [content.pictures.get(item) for item in items]
        how["weights"] = options.weights
        about = (options.image_model, how, skipped, steps, columns.get("image", ()))
        result.append(encoded("image", "image", pictures, items, work, *about))
    elif content.pictures:
        skipped.note("pictures that are not read", n=len(content.pictures))
    return result
