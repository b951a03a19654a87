"""``recommend``: the top items of users as a table."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_cadmr.arguments import names, not_negative, real, truth, whole_number
from recbole_cadmr.cli.collector import uncollected
from recbole_cadmr.cli.evaluate import add_checkpoint, add_trust
from recbole_cadmr.cli.options import add_ray_address, refuse_existing
from recbole_cadmr.errors import UserError

if TYPE_CHECKING:
    import pandas as pd


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``recommend``."""
    add_checkpoint(parser)
    add_trust(parser)
    parser.add_argument("--topk", type=whole_number(1), help="items per user (default 50, or all if there are fewer)")
    parser.add_argument("--users", metavar="FILE", help="user ids, one per line (default: all users)")
    parser.add_argument("--history", metavar="FILE", help="rows 'user item' of people the model has not seen")
    parser.add_argument(
        "--leave_out",
        help="interactions not recommended again: all (default), train+valid, train, none",
    )
    _add_what_is_new(parser)
    parser.add_argument("--candidates", metavar="FILE", help="the only items that may be recommended, one per line")
    parser.add_argument(
        "--exclude",
        metavar="FILE",
        help="items that nobody is recommended, one per line, or rows user, tab, item",
    )
    parser.add_argument(
        "--diversity",
        type=not_negative,
        default=0.0,
        help="from 0 (default) to below 1: what similarity to the items before counts against the score",
    )
    parser.add_argument(
        "--popular",
        type=truth,
        help="True (default) or False: the most popular items for users of whom nothing is known, marked so",
    )
    parser.add_argument(
        "--with",
        dest="with_columns",
        type=names,
        metavar="A,B",
        help="columns of the data set's table of items behind the others, such as title",
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="user_id, item_id, rank, score, source as csv, tsv, jsonl or parquet, by the end of its name; with "
        "--ray-address a new folder of parquet files",
    )
    parser.add_argument("--to_sql", metavar="URL", help="in place of --output: a database, PostgreSQL or SQLite")
    parser.add_argument("--table", metavar="NAME", help="the table that --to_sql creates: NAME or SCHEMA.NAME")
    parser.add_argument("--overwrite", action="store_true", help="replace the file or table that is there")
    add_ray_address(parser, "recommend there, in blocks of users")
    parser.set_defaults(run=run)


def _add_what_is_new(parser: argparse.ArgumentParser) -> None:
    """Declare the files of what came after training."""
    add, table = parser.add_argument, "as csv, tsv, jsonl or parquet"
    new_items = (
        f"products that came after training, {table}: item_id and title, text, picture or sound (a file), or "
        "MODALITY_vector"
    )
    add("--new_items", type=Path, metavar="FILE", help=new_items)
    add("--new_interactions", type=Path, metavar="FILE", help=f"what came after training, {table}: user_id and item_id")
    add("--quantity_column", help="of --new_interactions; what is not positive, such as a return, is left out")
    add("--rating_column", help="of --new_interactions")
    add("--min_rating", type=real, help="of --new_interactions: leave out what is rated lower")
    add("--user_column", default="user_id", help="of this and of all other tables (default: %(default)s)")
    add("--item_column", default="item_id", help="of all tables (default: %(default)s)")
    add("--title_column", default="title", help="of --new_items (default: %(default)s)")
    add("--text_columns", type=names, metavar="A,B", help="of --new_items (default: those of the data set, else text)")
    add("--picture_column", help="of --new_items (default: that of the data set, else picture)")
    add(
        "--images", type=Path, metavar="DIR", help="pictures of --new_items, as of prepare (default: the file's folder)"
    )
    add("--sound_column", help="of --new_items (default: sound)")
    add("--text_model", help="of --new_items, if it is not where the data set was made")
    add("--weights", metavar="FILE", help="weights of the image model, likewise; of one of transformers the folder")
    add("--audio_model", metavar="DIR", help="folder of the audio model, likewise")
    add("--vector_cache", type=not_negative, metavar="GIB", help="GiB of vectors kept, as of prepare")


def _take_in(recommender: Any, arguments: argparse.Namespace) -> None:
    """Give a recommender what came after training, and say what came of it."""
    from recbole_cadmr.data.prepare.skipped_rows import SkippedRows
    from recbole_cadmr.extract.vector_store import USUAL
    from recbole_cadmr.recommender.new_item_files import Columns, not_in, read_new_items, with_content
    from recbole_cadmr.recommender.updates import read_interactions

    if file := arguments.new_items:
        catalogue, skipped = recommender.catalogue, SkippedRows()
        texts = tuple(arguments.text_columns or ())
        names = arguments.item_column, arguments.title_column, texts
        columns = Columns.of(catalogue.encoders, *names, arguments.picture_column, arguments.sound_column)
        read = read_new_items(file, catalogue.modalities, columns, arguments.images, skipped)
        products, known = not_in(catalogue, read)
        products, without = with_content(products)
        if not products["ids"] and not known:
            made_of = f" (the data set's texts were made of {', '.join(own)})" if (own := columns.texts_of_set) else ""
            raise UserError(f"no item of {file} has a text{made_of}, a picture, a sound or a vector")
        there = [picture for picture in products.get("pictures", ()) if picture is not None]
        if absent := next((picture for picture in there if not picture.is_file()), None):
            raise UserError(f"there is no picture {absent}, which {file} names; say by --images where the pictures are")
        cache = USUAL if arguments.vector_cache is None else arguments.vector_cache
        how = {name: getattr(arguments, name) for name in ("text_model", "weights", "audio_model")}
        how["vector_cache"] = cache
        added = recommender.add_items(**products, **how) if products["ids"] else 0
        print(f"{added:,} new items of {file}")
        for line in skipped.lines():
            print(line)
        if known:
            print(f"{known:,} items of {file} are in the catalogue already, and stay as they are there")
        if without:
            print(f"{without:,} items of {file} have no text, picture, sound or vector; they were skipped")
    if file := arguments.new_interactions:
        skipped = SkippedRows()
        rated = arguments.rating_column, arguments.min_rating
        columns_of_rows = arguments.user_column, arguments.item_column, arguments.quantity_column
        update = recommender.update(read_interactions(file, skipped, *columns_of_rows, *rated))
        print(f"{update.new_pairs:,} new interactions of {file}, {update.new_users:,} new users")
        for line in skipped.lines():
            print(line)
        for count, what in (
            (update.known_pairs, "were known"),
            (
                update.held_out,
                "of these are held out by this run, so that no score knows them; train --final uses them",
            ),
            (update.unknown_items, "name items that are not in the catalogue; they were skipped"),
            (update.unknown_users, f"are of users that {recommender.model_name} does not know; they were skipped"),
        ):
            if count:
                print(f"{count:,} rows {what}")


def _refuse_alone(arguments: argparse.Namespace) -> None:
    """Raise :class:`UserError` for options that belong to others, or exclude each other."""
    of_items = ("text_columns", "picture_column", "sound_column", "images", "text_model", "weights", "audio_model")
    for name in (*of_items, "vector_cache"):
        if getattr(arguments, name) is not None and not arguments.new_items:
            raise UserError(f"--{name} belongs to --new_items")
    for name in ("quantity_column", "rating_column", "min_rating"):
        if getattr(arguments, name) is not None and not arguments.new_interactions:
            raise UserError(f"--{name} belongs to --new_interactions")
    if (arguments.rating_column is None) != (arguments.min_rating is None):
        raise UserError("give --rating_column and --min_rating together: what is rated lower is left out")
    if arguments.users and arguments.history:
        raise UserError("give either --users or --history")
    for name in ("leave_out", "popular"):
        if arguments.history and getattr(arguments, name) is not None:
            raise UserError(f"--{name} is for users of the data set; with --history, its items are left out")


def run(arguments: argparse.Namespace) -> int:
    """Recommend and write."""
    with uncollected():
        from recbole_cadmr.recommender import tables
        from recbole_cadmr.recommender.list_files import check_columns, with_columns
        from recbole_cadmr.recommender.load import load

    destination = _destination(arguments)
    _refuse_alone(arguments)
    user, item = arguments.user_column, arguments.item_column
    history = tables.read_histories(arguments.history, user, item) if arguments.history else None
    users = tables.read_users(arguments.users, user) if arguments.users else None
    if users is not None and len(set(users)) < len(users):
        print(f"{len(users) - len(set(users))} of {len(users)} lines of {arguments.users} repeat a user")
        users = list(dict.fromkeys(users))
    how: dict[str, Any] = {
        "topk": arguments.topk,
        "candidates": tables.read_items(arguments.candidates, item) if arguments.candidates else None,
        "exclude": tables.read_exclusions(arguments.exclude, user, item) if arguments.exclude else None,
        "diversity": arguments.diversity,
    }
    if history is None:
        how |= {"leave_out": arguments.leave_out or "all", "popular": arguments.popular is not False}
    if arguments.ray_address:
        return _run_on_cluster(arguments, users, how)
    recommender = load(arguments.checkpoint, arguments.data_path, arguments.trust_checkpoint, arguments.model)
    _take_in(recommender, arguments)
    more = arguments.with_columns or ()
    check_columns(recommender.catalogue.table, more, tables.COLUMNS)
    if history is not None:
        asked = history["user_id"].nunique()
        with _shown(asked):
            frame, unknown = recommender.recommend_from_history(history, **how)
        if unknown:
            print(f"{unknown} of {len(history)} rows name items that are not in the data set; they were skipped")
    else:
        asked = len(recommender.users) if users is None else len(users)
        with _shown(asked):
            frame = recommender.recommend(users, **how)
    frame, without = with_columns(frame, recommender.catalogue.table, more)
    destination(frame)
    for name, count in without.items():
        if count:
            print(f"{count:,} of the {frame['item_id'].nunique():,} items in the lists have no {name}")
    _report(tables.Counts.of(frame, arguments.topk), asked, arguments)
    return 0


@contextmanager
def _shown(asked: int) -> Iterator[None]:
    """A bar of the users who have their lists within, on a terminal."""
    from recbole_cadmr.progress import bar_of_batches, on_terminal, watched_by

    if not on_terminal(sys.stderr):
        yield  # and nothing is imported for it
        return
    with bar_of_batches(None, total=asked, desc="lists") as bar, watched_by(bar.update):
        yield


def _destination(arguments: argparse.Namespace) -> Callable[[pd.DataFrame], None]:
    """What writes lists to where they belong.

    Raises:
        UserError: if that cannot be, so that nothing is computed for it.
    """
    from recbole_cadmr.recommender.list_files import refuse_output, write_lists

    if (arguments.output is None) == (arguments.to_sql is None):
        raise UserError("give either --output FILE, or --to_sql URL with --table NAME")
    if (arguments.table is None) != (arguments.to_sql is None):
        raise UserError("--to_sql and --table belong together")
    if arguments.ray_address:
        _check_for_cluster(arguments)
    if arguments.to_sql is None:
        if not arguments.ray_address:
            refuse_output(arguments.output, arguments.overwrite)
            _refuse_inputs(arguments)
        return partial(write_lists, path=arguments.output, overwrite=arguments.overwrite)
    from recbole_cadmr.data.database import Database
    from recbole_cadmr.recommender.tables import COLUMNS

    database = Database(arguments.to_sql, "--to_sql", to_write=True)
    database.refuse_table(arguments.table, arguments.overwrite, [*COLUMNS, *(arguments.with_columns or ())])
    return partial(database.write, table=arguments.table, key=("user_id", "rank"), overwrite=arguments.overwrite)


def _refuse_inputs(arguments: argparse.Namespace) -> None:
    """Raise :class:`UserError` if the lists would replace what they are made of."""
    for option in ("users", "history", "candidates", "exclude", "new_items", "new_interactions", "checkpoint"):
        file = getattr(arguments, option)
        there = file is not None and os.path.exists(file) and os.path.exists(arguments.output)
        if there and os.path.samefile(file, arguments.output):
            raise UserError(f"--output and --{option} are both {file}; choose another --output")


def _check_for_cluster(arguments: argparse.Namespace) -> None:
    """Raise :class:`UserError` for what a cluster does not do."""
    for option, value in (
        ("history", arguments.history),
        ("new_items", arguments.new_items),
        ("new_interactions", arguments.new_interactions),
        ("with", arguments.with_columns),
        ("to_sql", arguments.to_sql),
        ("trust_checkpoint", arguments.trust_checkpoint),
    ):
        if value:
            raise UserError(f"--{option} is for this machine; leave out --ray-address")
    if arguments.overwrite:
        raise UserError("--overwrite is for a file, and --ray-address writes a new folder; leave one of them out")
    refuse_existing(arguments.output)


def _run_on_cluster(arguments: argparse.Namespace, users: list[str] | None, how: dict[str, Any]) -> int:
    from recbole_cadmr.execution.recommendations import write_in_parts

    how |= {"data_path": arguments.data_path, "model": arguments.model}
    asked, counts = write_in_parts(arguments.checkpoint, arguments.output, arguments.ray_address, users, **how)
    _report(counts, asked, arguments)
    return 0


def _report(counts: Any, asked: int, arguments: argparse.Namespace) -> None:
    from recbole_cadmr.recommender.tables import USUAL_LENGTH

    if without := asked - counts.users:
        print(f"{without:,} of {asked:,} users get no list: no item is left for them")
    if counts.short:
        length = arguments.topk or USUAL_LENGTH
        print(f"{counts.short:,} of {asked:,} users get fewer than {length} items: no more are left for them")
    if counts.popular:
        print(f"{counts.popular:,} of {asked:,} users, of whom nothing is known, get the most popular items")
    print(f"{counts.rows:,} rows for {counts.users:,} users in {arguments.output or f'the table {arguments.table}'}")
