"""``evaluate``: score a checkpoint again, or read the test part that a run left unread."""

from __future__ import annotations

import argparse
from pathlib import Path

from recbole_cadmr.arguments import names, truth, whole_numbers
from recbole_cadmr.cli.options import OWN_MODEL, refuse_existing
from recbole_cadmr.errors import UserError


def add_checkpoint(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """Declare the checkpoint and the place of its data."""
    parser.add_argument("--checkpoint", required=required, metavar="FILE", help="model.pt of a run")
    parser.add_argument("--data_path", help="folder of the data sets, if moved since training")
    parser.add_argument("--model", metavar="CLASS", help=f"{OWN_MODEL}, which no checkpoint imports by itself")


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Declare that checkpoints of RecBole's own are read."""
    what = "read a checkpoint of RecBole's, too: a pickle, which can run code"
    parser.add_argument("--trust_checkpoint", "--trust-checkpoint", action="store_true", help=what)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``evaluate``."""
    add_checkpoint(parser, required=False)
    add_trust(parser)
    parser.add_argument("--run", metavar="DIR", dest="folder", help="read the test part that a run left unread, once")
    parser.add_argument("--part", default="test", help="valid or test (default)")
    parser.add_argument("--metrics", type=names, help="as in Recall,NDCG (default: those of the run)")
    parser.add_argument("--topk", type=whole_numbers(1), help="as in 10,20 (default: those of the run)")
    parser.add_argument("--mask_valid_at_test", type=truth, help="True or False (default: as in the run)")
    parser.add_argument(
        "--users", metavar="FILE", help="average over these users only: one id per line, or a table's column"
    )
    parser.add_argument("--user_column", help="name of that column (default user_id)")
    parser.add_argument("--output", metavar="FILE", help="write the result as JSON, too")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure and print."""
    from recbole_cadmr.files import write_json
    from recbole_cadmr.recommender.tables import USER, read_users
    from recbole_cadmr.runs.evaluate import evaluate, read_test
    from recbole_cadmr.runs.result import metric_table

    refuse_existing(arguments.output)
    if bool(arguments.folder) == bool(arguments.checkpoint):
        raise UserError("give either --checkpoint FILE or --run DIR")
    if arguments.folder:
        others = (arguments.metrics, arguments.topk, arguments.mask_valid_at_test, arguments.output, arguments.users)
        if any(value is not None for value in others) or arguments.part != "test" or arguments.trust_checkpoint:
            raise UserError("--run computes the metrics of the run; only --data_path and --model may be given with it")
        measured = read_test(arguments.folder, arguments.data_path, arguments.model)
        print(metric_table({f"test of {arguments.folder}": measured}))
        return 0
    if arguments.user_column and not arguments.users:
        raise UserError("--user_column names a column of --users FILE; give that, too")
    result = evaluate(
        arguments.checkpoint,
        part=arguments.part,
        metrics=arguments.metrics,
        topk=arguments.topk,
        mask_valid_at_test=arguments.mask_valid_at_test,
        users=read_users(arguments.users, arguments.user_column or USER) if arguments.users else None,
        data_path=arguments.data_path,
        trust_checkpoint=arguments.trust_checkpoint,
        model=arguments.model,
    )
    left_out = (
        "train and validation" if result["protocol"]["mask_valid_at_test"] and arguments.part == "test" else "train"
    )
    title = f"{result['model']} on {result['dataset']}, {arguments.part}, {left_out} items left out"
    if "users" in result:
        title += f", {result['users']['measured']:,} of the {result['users']['given']:,} users"
    print(metric_table({title: result["result"]}))
    if "note" in result:
        print(result["note"])
    if arguments.output:
        write_json(Path(arguments.output), result)
    return 0
