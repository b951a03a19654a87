"""``export-embeddings``: the vectors of users and items, for other programs."""

from __future__ import annotations

import argparse

from recbole_cadmr.cli.evaluate import add_checkpoint
from recbole_cadmr.cli.options import refuse_existing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``export-embeddings``."""
    add_checkpoint(parser)
    parser.add_argument("--output", required=True, metavar="DIR", help="a new folder")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Export, and say what is there."""
    from recbole_cadmr.recommender.load import load

    refuse_existing(arguments.output)
    recommender = load(arguments.checkpoint, arguments.data_path, model=arguments.model)
    card = recommender.export_embeddings(arguments.output)
    print(
        f"{card['model']} of {card['dataset']} in {arguments.output}: vectors of {card['users']:,} users and "
        f"{card['items']:,} items, {card['width']}-D; score = {card['score']}"
    )
    if card["cold_items"]:
        learnt = {True: "from their content", False: "as training began, since the model does not learn them"}
        how = learnt.get(card["cold_items_are_learnt"], "as the export has them")
        print(f"{card['cold_items']:,} items without train interactions have vectors, too: {how}")
    if card["left_out"]:
        print(f"{card['left_out']:,} items that nobody has, and the model says nothing about, are left out")
    return 0
