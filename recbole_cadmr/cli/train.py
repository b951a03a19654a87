"""``train``: a model on a data set, or an interrupted run."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_cadmr.arguments import files, whole_number
from recbole_cadmr.cli.options import (
    add_mmrec_config,
    add_ray_address,
    add_subject,
    begun_with,
    read_mmrec_config,
    refuse_beside,
    refuse_beside_resume,
    refuse_named_model,
)
from recbole_cadmr.errors import UserError

if TYPE_CHECKING:
    from recbole_cadmr.config.mmrec import Translation
    from recbole_cadmr.training.callbacks import TrainingCallback

_OF_A_NEW_RUN = ("dataset", "preset", "config_files", "mmrec_config", "download")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``train``."""
    parser.epilog = "Every setting of the model, of RecBole and of this package: --name=value."
    add_subject(parser)
    add_mmrec_config(parser)
    parser.add_argument("--output", help="folder of the run (default: a new one under saved/)")
    parser.add_argument("--resume", metavar="DIR", help="resume the interrupted run in DIR")
    parser.add_argument(
        "--final", metavar="DIR", help="train the finished run in DIR again on all interactions, measured on none"
    )
    parser.add_argument("--download", action="store_true", help="get the data set first, if it is not there")
    parser.add_argument(
        "--nproc",
        type=whole_number(1, 1024),
        default=1,
        metavar="N",
        help="processes that share each batch and evaluation",
    )
    parser.add_argument("--verbose", action="store_true", help="show each loss and the diagnostics of every epoch")
    add_ray_address(
        parser, "fit the closed form of a large catalogue there, in blocks of items; with --nproc, its processes"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Train, or resume."""
    with ExitStack() as stack:
        callbacks: list[TrainingCallback] = []
        if arguments.nproc > 1 and arguments.ray_address:
            from recbole_cadmr.execution.ray_data_parallel import processes_on

            stack.enter_context(processes_on(arguments.ray_address, arguments.nproc))
        elif arguments.nproc > 1:
            from recbole_cadmr.execution.data_parallel import processes

            stack.enter_context(processes(arguments.nproc))
        elif arguments.ray_address:
            from recbole_cadmr.execution.ray_blocks import over_cluster
            from recbole_cadmr.training.closed_form_blocks import FitOver

            callbacks.append(FitOver(stack.enter_context(over_cluster(arguments.ray_address, use_gpu=False))))
        return _run(arguments, *callbacks)


def _run(arguments: argparse.Namespace, *callbacks: TrainingCallback) -> int:
    from recbole_cadmr.runs.train import resume, train

    how: dict[str, Any] = {"callbacks": callbacks, "verbose": arguments.verbose}
    if arguments.resume:
        refuse_beside_resume(arguments, *_OF_A_NEW_RUN, "output", "final")
        resume(arguments.resume, arguments.data_path, model=arguments.model, **how)
        return 0
    if arguments.final:
        from recbole_cadmr.runs.final import train_final

        refuse_named_model(why := "--final trains with the settings of that run", arguments.model)
        refuse_beside(why, arguments, *_OF_A_NEW_RUN)
        train_final(
            arguments.final,
            output=arguments.output,
            data_path=arguments.data_path,
            settings=arguments.settings,
            model=arguments.model,
            **how,
        )
        return 0
    if arguments.download:
        from recbole_cadmr.data.prepare.catalog import get

        if not arguments.dataset:
            raise UserError("--download needs --dataset, the name of the data set to get")
        get(arguments.dataset, Path(arguments.data_path or "dataset"))
    model, settings = arguments.model, begun_with(arguments)
    if (found := read_mmrec_config(arguments)) is not None:
        model, settings = _of_mmrec(found, arguments)
    train(
        model,
        arguments.dataset,
        preset=arguments.preset,
        output=arguments.output,
        config_files=files(arguments.config_files),
        settings=settings,
        **how,
    )
    return 0


def _of_mmrec(found: Translation, arguments: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """The model, and its settings: those of MMRec's files below the ones that are given beside. Prints its notes."""
    from recbole_cadmr.config.config import Config
    from recbole_cadmr.config.mmrec import single_values

    given = begun_with(arguments)
    if found.space:
        preset = {} if arguments.preset is None else {"preset": arguments.preset}
        found = single_values(found, given, Config(found.model, settings=preset).final_config_dict)
    print("\n".join(found.notes))
    return found.model, {**found.settings, **given}
