"""``explain``: what the score of an item is made of."""

from __future__ import annotations

import argparse

from recbole_cadmr.arguments import whole_number
from recbole_cadmr.cli.collector import uncollected
from recbole_cadmr.cli.evaluate import add_checkpoint
from recbole_cadmr.errors import UserError

LONGEST_TITLE = 80  # characters on the screen


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``explain``."""
    add_checkpoint(parser)
    parser.add_argument("--item", required=True, help="the item to explain")
    parser.add_argument("--user", help="the user for whom its score is explained")
    parser.add_argument("--history", nargs="+", metavar="ITEM", help="in place of --user: what somebody has chosen")
    parser.add_argument("--topk", type=whole_number(1), default=10, help="chosen items that are shown (default 10)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Explain and print."""
    with uncollected():
        from recbole_cadmr.formatting import markdown_table, plain, short
        from recbole_cadmr.on_screen import fitted, laid_out
        from recbole_cadmr.recommender.load import load

    if (arguments.user is None) == (arguments.history is None):
        raise UserError("give either --user or --history")
    recommender = load(arguments.checkpoint, arguments.data_path, model=arguments.model)
    explanation = recommender.explain(arguments.user, arguments.history, item=arguments.item)
    if explanation.unknown:
        print(f"{explanation.unknown} of {len(arguments.history)} items of --history are not in the catalogue")
    titles = recommender.titles

    def named(item: str) -> str:
        return plain(f"{item}, {short(titles[item], LONGEST_TITLE)}" if item in titles else item)

    whom = "this history" if arguments.user is None else arguments.user
    heading = f"{named(explanation.item)}: {explanation.score:.6g} for {whom} by {recommender.model_name}"
    print(fitted(heading) + "\n")
    by_path, by_item = explanation.large_paths(), explanation.by_chosen_item()
    print(laid_out(markdown_table(by_path.assign(contribution=by_path["contribution"].map("{:.6g}".format)))))
    if len(by_item):
        shown = by_item.head(arguments.topk)
        texts = {
            "chosen item": shown["chosen_item"].map(named),
            "contribution": shown["contribution"].map("{:.6g}".format),
        }
        print("\n" + laid_out(markdown_table(shown.assign(**texts)[list(texts)])))
        if len(shown) < len(by_item):
            rest = by_item["contribution"].iloc[len(shown) :].sum()
            print(f"\nand {len(by_item) - len(shown)} further ones, {rest:.6g} together")
    return 0
