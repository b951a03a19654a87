"""Add a modality to a data set that is there: vectors from elsewhere, or of pictures or sounds by a model."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole_cadmr.data.change.card import with_modality
from recbole_cadmr.data.change.finished import FinishedSet
from recbole_cadmr.data.change.swapped import changed_folder
from recbole_cadmr.data.encoders import read_encoders, write_encoders
from recbole_cadmr.data.prepare.content import Features
from recbole_cadmr.data.prepare.options import Options, add_options
from recbole_cadmr.data.prepare.skipped_rows import SkippedRows
from recbole_cadmr.data.vector_files.row_ids import RowIds, in_order
from recbole_cadmr.errors import UserError
from recbole_cadmr.files import read_text, sha256_of_all, write_text
from recbole_cadmr.screen import note

_VECTORS = ("ids", "by_number", "vector_column", "pool")
_FILES = ("extractor", "files", "files_column", "weights", "dtype", "device", "vector_cache", "ray_address")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``prepare add-modality``."""
    add = parser.add_argument
    add_subject(parser)
    add("--replace", action="store_true", help="replace the modality if it is there")
    add("--vectors", type=Path, metavar="FILE", help="npy, npz, safetensors, parquet, csv, tsv, or folder of ITEM.npy")
    order = "without it rows without ids are in the order of the items, numbers by value, other ids as text"
    add("--ids", type=Path, metavar="FILE", help=f"the ids of the rows of --vectors, one per line, or a table; {order}")
    add("--by_number", action="store_true", help="row i of --vectors, from 0 on, is that of item i")
    add("--item_column", default="item_id", help="of --vectors, --ids and --files (default: %(default)s)")
    add("--vector_column", help="of a table of --vectors (default: the one of lists, or all others, one a dimension)")
    add("--pool", choices=("mean", "first"), help="what several vectors of an item become (default: refused)")
    add("--folder", type=Path, metavar="DIR", help="pictures or sounds ITEM.jpg, ITEM.wav, or as --files_column says")
    add("--extractor", metavar="MODEL", help="encodes them: folder of a model of transformers, or torchvision network")
    add("--files", type=Path, metavar="FILE", help="a table of items, csv, tsv, jsonl or parquet, with --files_column")
    add("--files_column", metavar="NAME", help="of --files: names of files in --folder (default: ITEM and a suffix)")
    add_options(parser, only=("weights", "dtype", "device", "vector_cache", "graph"))


def add_subject(parser: argparse.ArgumentParser) -> None:
    """Declare what is changed: a modality of a data set."""
    parser.add_argument("name", metavar="NAME", help="of the data set")
    parser.add_argument("--modality", required=True, help="such as audio")
    add_options(parser, only=("data_path",))


def run(arguments: argparse.Namespace) -> Path:
    """Change the data set and return its folder.

    Raises:
        UserError: if options contradict each other, there is no such data set, the modality is there already or cannot
            be called so, or its vectors cannot be had; then the data set is as it was.
    """
    _check(arguments)
    name, modality, skipped = arguments.name, arguments.modality, SkippedRows(strict=True)
    target = Options(name, data_path=arguments.data_path).folder
    with changed_folder(target) as (work, copy):
        found = FinishedSet.open(copy, name)
        found.check_name(modality)
        is_there = found.has(modality)
        if is_there != arguments.replace:
            refusal = "is there already; give --replace to put another in its place"
            refusal = refusal if is_there else "is not there to be replaced; leave out --replace"
            raise UserError(f"the modality '{modality}' of {name} {refusal}")
        used, new = found.items()
        make = _of_vectors if arguments.vectors else _of_files
        made = make(arguments, in_order(used | new), work, skipped)
        _write(found, made, arguments.graph, used, skipped)
    covered = len(used.intersection(made.features.items))
    print(f"{modality}: {covered:,} of {len(used):,} items have it ({covered / len(used):.1%})")
    for line in skipped.lines():
        note(line)
    return target


@dataclass(frozen=True)
class _Made:
    """A modality, lines about where it is from, and the pictures that it was made of, if any."""

    features: Features
    sources: Sequence[str]
    pictures: Mapping[str, Path] | None = None


def _check(arguments: argparse.Namespace) -> None:
    """Raise :class:`UserError` for options that contradict each other, or would do nothing."""
    if (arguments.vectors is None) == (arguments.folder is None):
        raise UserError("give --vectors FILE, or --folder DIR with --extractor MODEL")
    wrong, needed = (_FILES, "folder") if arguments.vectors else (_VECTORS, "vectors")
    for option in wrong:
        if getattr(arguments, option, None) not in (None, False, getattr(Options, option, None)):
            raise UserError(f"--{option} needs --{needed}")
    if arguments.ids and arguments.by_number:
        raise UserError("--ids and --by_number both say which item a row belongs to; give one of them")
    if arguments.folder and not arguments.extractor:
        raise UserError("--folder needs --extractor, the model that encodes its files")
    if (arguments.files is None) != (arguments.files_column is None):
        raise UserError("--files and --files_column belong together")


def _of_vectors(arguments: argparse.Namespace, items: Sequence[str], work: Path, skipped: SkippedRows) -> _Made:
    """Ready-made vectors."""
    from recbole_cadmr.data.prepare.card import source_row
    from recbole_cadmr.data.vector_files.block import Reading
    from recbole_cadmr.data.vector_files.by_item import vectors_of_items
    from recbole_cadmr.data.vector_files.files import blocks_of
    from recbole_cadmr.data.vector_files.folder import files_of_items

    source, column = arguments.vectors, arguments.item_column
    blocks = blocks_of(source, Reading(column, arguments.vector_column, arguments.pool))
    if arguments.ids:
        row_ids = RowIds.by_file(arguments.ids, column)
    else:
        row_ids = RowIds.by_number(items) if arguments.by_number else RowIds.by_order(items)
    features = vectors_of_items(arguments.modality, source, blocks, row_ids, items, work / "given.npy", skipped)
    if not source.is_dir():
        return _Made(features, [source_row(path) for path in (source, arguments.ids) if path])
    files = [*files_of_items(source).values()]
    size = sum(file.stat().st_size for file in files)
    return _Made(features, [f"| `{source.name}` ({len(files):,} files) | {size:,} | `{sha256_of_all(files)}` |"])


def _of_files(arguments: argparse.Namespace, items: Sequence[str], work: Path, skipped: SkippedRows) -> _Made:
    """Pictures or sounds, encoded."""
    from recbole_cadmr.data.prepare.encoding import NOUNS, encoded
    from recbole_cadmr.data.prepare.pictures import SOUNDS, SUFFIXES, find_files
    from recbole_cadmr.data.prepare.tables import read_rows
    from recbole_cadmr.extract.registry import kind_of, refuse_inert
    from recbole_cadmr.extract.vector_store import VectorCache

    model, modality = arguments.extractor, arguments.modality
    kind = kind_of(model)
    refuse_inert(kind, model, {"weights": arguments.weights})
    names = None
    if arguments.files:
        column = arguments.item_column
        rows = read_rows(arguments.files, skipped, [column, arguments.files_column]).drop_duplicates(column)
        names = dict(zip(rows[column], rows[arguments.files_column]))
    suffixes, noun = (SUFFIXES if kind == "image" else SOUNDS), NOUNS[kind].removesuffix("s")
    paths = find_files(arguments.folder, items, skipped, "--folder", names, suffixes, noun)
    how: dict[str, Any] = {name: getattr(arguments, name) for name in ("dtype", "device", "weights")}
    how["cache"] = VectorCache.of_user(arguments.vector_cache)
    if hasattr(arguments, "over"):
        how["over"] = arguments.over
    inputs, steps = [paths.get(item) for item in items], dict[str, str]()
    columns = (arguments.files_column,) if arguments.files_column else ()
    features = encoded(modality, kind, inputs, items, work, model, how, skipped, steps, columns)
    if not features.items:
        raise UserError(f"none of the {len(paths):,} {NOUNS[kind]} in {arguments.folder} can be read")
    note(f"{modality} vectors: {steps[f'{modality} vectors']}")
    size = sum(path.stat().st_size for path in paths.values())
    source = f"| `{arguments.folder.name}` ({len(paths):,} {NOUNS[kind]}) | {size:,} | |"
    return _Made(features, [source], paths if kind == "image" else None)


def _write(found: FinishedSet, made: _Made, k: int, used: set[str], skipped: SkippedRows) -> None:
    """Write the modality into a copy of the data set, and what speaks of it."""
    from recbole_cadmr.data.prepare.card import modality_row
    from recbole_cadmr.data.prepare.page import write_page
    from recbole_cadmr.data.prepare.write import with_graph, write_features

    features, folder = with_graph(made.features, k), found.folder
    for file in found.files(features.name):
        file.unlink(missing_ok=True)  # another name of the data set's file, which must not be written into
    write_features(folder / f"{found.name}.{features.name}", features, found.item_field)
    found = found.with_modality(features.name, features.graph is not None)
    encoders = {name: encoder for name, encoder in read_encoders(folder).items() if name != features.name}
    write_encoders(folder, {**encoders, **({features.name: features.encoder} if features.encoder else {})})
    card = folder / "dataset_card.md"
    if card.is_file():
        row = modality_row(features, used)
        text = with_modality(read_text(card), features.name, row, skipped.lines(), made.sources)
        write_text(card, text)
    if (folder / f"{found.name}.html").is_file():
        write_page(folder, found.name, made.pictures)
