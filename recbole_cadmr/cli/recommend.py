"""``recommend``: the top items of users as a table."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from recbole_cadmr.arguments import names, not_negative, truth, whole_number
from recbole_cadmr.cli.evaluate import add_checkpoint
from recbole_cadmr.cli.options import add_ray_address, refuse_existing
from recbole_cadmr.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``recommend``."""
    add_checkpoint(parser)
    parser.add_argument("--topk", type=whole_number(1), default=50, help="items a user (default 50)")
    parser.add_argument("--users", metavar="FILE", help="user ids, one a line (default: all users)")
    parser.add_argument("--history", metavar="FILE", help="rows 'user item' of people the model has not seen")
    parser.add_argument(
        "--leave_out",
        help="interactions not recommended again: all (default), train+valid, train, none",
    )
    parser.add_argument(
        "--new_items",
        type=Path,
        metavar="FILE",
        help="products that came after training, as csv, tsv, jsonl or parquet: item_id and title, text, picture (a "
        "file) or MODALITY_vector",
    )
    parser.add_argument("--text_model", help="of --new_items, if no longer where the data set was made")
    parser.add_argument("--weights", metavar="FILE", help="of the image model, alike")
    parser.add_argument("--candidates", metavar="FILE", help="the only items that may be recommended, one a line")
    parser.add_argument(
        "--exclude",
        metavar="FILE",
        help="items nobody is recommended, one a line, or rows user, tab, item",
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
        required=True,
        metavar="FILE",
        help="user_id, item_id, rank, score, source as csv, tsv, jsonl or parquet, by the end of its name; with "
        "--ray-address a new folder of parquet files",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")
    add_ray_address(parser, "recommend there, in blocks of users")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Recommend and write."""
    from recbole_cadmr.recommender import tables
    from recbole_cadmr.recommender.list_files import check_columns, refuse_output, with_columns, write_lists
    from recbole_cadmr.recommender.recommender import load

    if arguments.ray_address:
        _check_for_cluster(arguments)
    else:
        refuse_output(arguments.output, arguments.overwrite)
    if not arguments.new_items and (arguments.text_model or arguments.weights):
        raise UserError("--text_model and --weights belong to --new_items")
    if arguments.users and arguments.history:
        raise UserError("give either --users or --history")
    for name in ("leave_out", "popular"):
        if arguments.history and getattr(arguments, name) is not None:
            raise UserError(f"--{name} is for users of the data set; with --history, its items are left out")
    history = tables.read_histories(arguments.history) if arguments.history else None
    users = tables.read_users(arguments.users) if arguments.users else None
    if users is not None and len(set(users)) < len(users):
        print(f"{len(users) - len(set(users))} of {len(users)} lines of {arguments.users} repeat a user")
        users = list(dict.fromkeys(users))
    how: dict[str, Any] = {
        "topk": arguments.topk,
        "candidates": tables.read_items(arguments.candidates) if arguments.candidates else None,
        "exclude": tables.read_exclusions(arguments.exclude) if arguments.exclude else None,
        "diversity": arguments.diversity,
    }
    if history is None:
        how |= {"leave_out": arguments.leave_out or "all", "popular": arguments.popular is not False}
    if arguments.ray_address:
        return _run_on_cluster(arguments, users, how)
    recommender = load(arguments.checkpoint, arguments.data_path)
    if arguments.new_items:
        from recbole_cadmr.recommender.new_items import read_new_items

        products = read_new_items(arguments.new_items, recommender.catalogue.modalities)
        places = {"text_model": arguments.text_model, "weights": arguments.weights}
        print(f"{recommender.add_items(**products, **places):,} new items of {arguments.new_items}")
    more = arguments.with_columns or ()
    check_columns(recommender.catalogue.table, more, tables.COLUMNS)
    if history is not None:
        frame, unknown = recommender.recommend_from_history(history, **how)
        if unknown:
            print(f"{unknown} of {len(history)} rows name items that are not in the data set; they were skipped")
        asked = history["user_id"].nunique()
    else:
        frame = recommender.recommend(users, **how)
        asked = len(recommender.users) if users is None else len(users)
    frame, without = with_columns(frame, recommender.catalogue.table, more)
    write_lists(frame, arguments.output, arguments.overwrite)
    for name, count in without.items():
        if count:
            print(f"{count:,} of the {frame['item_id'].nunique():,} items in the lists have no {name}")
    _report(tables.Counts.of(frame, arguments.topk), asked, arguments)
    return 0


def _check_for_cluster(arguments: argparse.Namespace) -> None:
    """Raise :class:`UserError` for what a cluster does not do."""
    refuse_existing(arguments.output)
    for option, value in (
        ("history", arguments.history),
        ("new_items", arguments.new_items),
        ("with", arguments.with_columns),
    ):
        if value:
            raise UserError(f"--{option} is for this machine; leave out --ray-address")
    if arguments.overwrite:
        raise UserError("--overwrite is for a file, and --ray-address writes a new folder; leave one of them out")


def _run_on_cluster(arguments: argparse.Namespace, users: list[str] | None, how: dict[str, Any]) -> int:
    from recbole_cadmr.execution.recommendations import write_in_parts

    how["data_path"] = arguments.data_path
    asked, counts = write_in_parts(arguments.checkpoint, arguments.output, arguments.ray_address, users, **how)
    _report(counts, asked, arguments)
    return 0


def _report(counts: Any, asked: int, arguments: argparse.Namespace) -> None:
    if without := asked - counts.users:
        print(f"{without:,} of {asked:,} users get no list: no item is left for them")
    if counts.short:
        print(f"{counts.short:,} of {asked:,} users get fewer than {arguments.topk} items: no more are left for them")
    if counts.popular:
        print(f"{counts.popular:,} of {asked:,} users, of whom nothing is known, get the most popular items")
    print(f"{counts.rows:,} rows for {counts.users:,} users in {arguments.output}")
