"""``recommend``: the top items of users as a table."""

from __future__ import annotations

import argparse

from recbole_cadmr.arguments import whole_number
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
        help="interactions not recommended again: train (default), train+valid, all, none",
    )
    parser.add_argument(
        "--output",
        required=True,
        metavar="FILE",
        help="tab-separated user_id, item_id, rank, score; with --ray-address a new folder of parquet files",
    )
    add_ray_address(parser, "recommend there, in blocks of users")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Recommend and write."""
    from recbole_cadmr.recommender import tables
    from recbole_cadmr.recommender.recommender import load

    refuse_existing(arguments.output)
    if arguments.users and arguments.history:
        raise UserError("give either --users or --history")
    if arguments.history and arguments.leave_out:
        raise UserError("--leave_out is for users of the data set; with --history, its items are left out")
    history = tables.read_histories(arguments.history) if arguments.history else None
    users = tables.read_users(arguments.users) if arguments.users else None
    if users is not None and len(set(users)) < len(users):
        print(f"{len(users) - len(set(users))} of {len(users)} lines of {arguments.users} repeat a user")
        users = list(dict.fromkeys(users))
    if arguments.ray_address:
        if history is not None:
            raise UserError("--history is for this machine; leave out --ray-address")
        return _run_on_cluster(arguments, users)
    recommender = load(arguments.checkpoint, arguments.data_path)
    if history is not None:
        frame, unknown = recommender.recommend_from_history(history, arguments.topk)
        if unknown:
            print(f"{unknown} of {len(history)} rows name items that are not in the data set; they were skipped")
        asked = history["user_id"].nunique()
    else:
        frame = recommender.recommend(users, arguments.topk, arguments.leave_out or "train")
        asked = len(recommender.users) if users is None else len(users)
    tables.write_recommendations(frame, arguments.output)
    _report(asked, frame["user_id"].nunique(), len(frame), arguments.output)
    return 0


def _run_on_cluster(arguments: argparse.Namespace, users: list[str] | None) -> int:
    from recbole_cadmr.execution.recommendations import write_in_parts

    how = {"topk": arguments.topk, "leave_out": arguments.leave_out or "train", "data_path": arguments.data_path}
    counts = write_in_parts(arguments.checkpoint, arguments.output, arguments.ray_address, users, **how)
    _report(*counts, arguments.output)
    return 0


def _report(asked: int, served: int, rows: int, output: str) -> None:
    if without := asked - served:
        print(f"{without} of {asked} users get no list: nothing is known about them, or no item is left")
    print(f"{rows:,} rows for {served:,} users in {output}")
