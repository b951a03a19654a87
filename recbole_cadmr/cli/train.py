"""``train``: a model on a data set, or an interrupted run."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from recbole_cadmr.arguments import files
from recbole_cadmr.cli.settings import settings_of
from recbole_cadmr.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``train``."""
    parser.epilog = "Every setting of the model, of RecBole and of this package: --name=value."
    parser.add_argument("--model", help="CADMR (default), or a general recommender of RecBole's")
    parser.add_argument("--dataset", help="name of a data set (default: the embedded one, 'synthetic')")
    parser.add_argument("--preset", help="a preset of the model (CADMR: paper)")
    parser.add_argument("--config_files", nargs="+", default=[], help="yaml files of settings, in rising priority")
    parser.add_argument("--output", help="folder of the run (default: a new one under saved/)")
    parser.add_argument("--resume", metavar="DIR", help="resume the interrupted run in DIR")
    parser.add_argument("--data_path", help="folder of the data sets (default: dataset)")
    parser.add_argument("--download", action="store_true", help="get the data set first, if it is not there")
    parser.set_defaults(run=run)


def run(known: argparse.Namespace, rest: Sequence[str]) -> int:
    """Train, or resume."""
    from recbole_cadmr.runs.train import resume, train

    settings = settings_of(rest)
    if known.resume:
        if settings or known.config_files or any((known.model, known.dataset, known.preset, known.output)):
            raise UserError("--resume continues with the settings of the run; only --data_path may be given with it")
        resume(known.resume, known.data_path)
        return 0
    if known.data_path:
        settings["data_path"] = known.data_path
    if known.download:
        from recbole_cadmr.data.prepare.catalog import get

        if not known.dataset:
            raise UserError("--download needs --dataset, the name of the data set to get")
        get(known.dataset, Path(known.data_path or "dataset"))
    train(
        known.model,
        known.dataset,
        preset=known.preset,
        output=known.output,
        config_files=files(known.config_files),
        settings=settings,
    )
    return 0
