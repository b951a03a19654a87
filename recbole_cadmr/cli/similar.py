"""``similar``: the items most like an item."""

from __future__ import annotations

import argparse

from recbole_cadmr.arguments import whole_number
from recbole_cadmr.cli.collector import uncollected
from recbole_cadmr.cli.evaluate import add_checkpoint
from recbole_cadmr.cli.explain import LONGEST_TITLE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``similar``."""
    add_checkpoint(parser)
    parser.add_argument("--item", required=True, help="the item to compare the others with")
    parser.add_argument("--topk", type=whole_number(1), default=10, help="how many (default 10)")
    parser.add_argument(
        "--by",
        default="model",
        choices=("model", "behaviour", "content"),
        help="what the model says (default), who has both, or features",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Find and print."""
    with uncollected():
        from recbole_cadmr.formatting import markdown_table, plain, short
        from recbole_cadmr.on_screen import fitted, laid_out
        from recbole_cadmr.recommender.load import load

    recommender = load(arguments.checkpoint, arguments.data_path, model=arguments.model)
    frame = recommender.similar_items(arguments.item, arguments.topk, arguments.by)
    if frame.empty:
        print(f"no item is like {arguments.item} by {arguments.by}")
        return 0
    titles = recommender.titles
    title = f", {short(titles[arguments.item], LONGEST_TITLE)}" if arguments.item in titles else ""
    print(fitted(f"{plain(arguments.item + title)}: most like it by {arguments.by}") + "\n")
    columns = {"item": frame["item_id"].map(plain), "score": frame["score"].map("{:.6g}".format)}
    if titles:
        columns["title"] = frame["item_id"].map(lambda item: plain(titles.get(item, "")))
    print(laid_out(markdown_table(frame.assign(**columns)[["rank", *columns]])))
    return 0
