"""``evaluate``: score a checkpoint again, or read the test part that a run left unread."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from recbole_cadmr.arguments import names, truth, whole_numbers
from recbole_cadmr.cli.settings import refuse_existing
from recbole_cadmr.errors import UserError


def add_checkpoint(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """Declare the checkpoint and the place of its data."""
    parser.add_argument("--checkpoint", required=required, metavar="FILE", help="model.pt of a run")
    parser.add_argument("--data_path", help="folder of the data sets, if moved since training")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``evaluate``."""
    add_checkpoint(parser, required=False)
    parser.add_argument("--run", metavar="DIR", dest="folder", help="read the test part that a run left unread, once")
    parser.add_argument("--part", default="test", help="valid or test (default)")
    parser.add_argument("--metrics", type=names, help="as in Recall,NDCG (default: those of the run)")
    parser.add_argument("--topk", type=whole_numbers(1), help="as in 10,20 (default: those of the run)")
    parser.add_argument("--mask_valid_at_test", type=truth, help="True or False (default: as in the run)")
    parser.add_argument("--output", metavar="FILE", help="write the result as JSON, too")
    parser.set_defaults(run=run)


def run(known: argparse.Namespace, rest: Sequence[str]) -> int:
    """Measure and print."""
    from recbole_cadmr.files import write_json
    from recbole_cadmr.runs.evaluate import evaluate, read_test
    from recbole_cadmr.runs.result import metric_table

    refuse_existing(known.output)
    if bool(known.folder) == bool(known.checkpoint):
        raise UserError("give either --checkpoint FILE or --run DIR")
    if known.folder:
        others = (known.metrics, known.topk, known.mask_valid_at_test, known.output)
        if any(value is not None for value in others) or known.part != "test":
            raise UserError("--run computes the metrics of the run; only --data_path may be given with it")
        print(metric_table({f"test of {known.folder}": read_test(known.folder, known.data_path)}))
        return 0
    result = evaluate(
        known.checkpoint,
        part=known.part,
        metrics=known.metrics,
        topk=known.topk,
        mask_valid_at_test=known.mask_valid_at_test,
        data_path=known.data_path,
    )
    left_out = "train and validation" if result["protocol"]["mask_valid_at_test"] and known.part == "test" else "train"
    title = f"{result['model']} on {result['dataset']}, {known.part}, {left_out} items left out"
    print(metric_table({title: result["result"]}))
    if known.output:
        write_json(Path(known.output), result)
    return 0
