"""The parser of the whole command line: one module a command, each with ``add_arguments(parser)`` and ``run``."""

from __future__ import annotations

from recbole_cadmr import __version__
from recbole_cadmr.cli import (
    benchmark,
    doctor,
    evaluate,
    explain,
    export,
    export_embeddings,
    models,
    prepare,
    recommend,
    serve,
    similar,
    study,
    table,
    train,
    tune,
)
from recbole_cadmr.cli.options import ArgumentParser, add_command

_COMMANDS = {
    "train": (train.add_arguments, "train a model and evaluate it"),
    "evaluate": (evaluate.add_arguments, "score a checkpoint with other metrics, masking or part"),
    "recommend": (recommend.add_arguments, "write the top items of users, or of people given by their history"),
    "explain": (explain.add_arguments, "what the score of an item is made of"),
    "export": (export.add_arguments, "write a folder that recommends without checkpoint and data set"),
    "export-embeddings": (export_embeddings.add_arguments, "write the vectors of users and items, npy and parquet"),
    "similar": (similar.add_arguments, "the items most like an item"),
    "serve": (serve.add_arguments, "answer over HTTP, with a page to look at"),
    "benchmark": (benchmark.add_arguments, "many models on many data sets over several seeds, side by side"),
    "study": (study.add_arguments, "what parts of a model, or of a protocol, are worth"),
    "tune": (tune.add_arguments, "search settings on validation with Ray Tune"),
    "table": (table.add_arguments, "finished runs side by side, as markdown"),
    "prepare": (prepare.add_sources, "turn other layouts into a data set"),
    "generate": (prepare.add_generate, "make a synthetic data set like the embedded one"),
    "models": (models.add_models, "the models there are: what each reads, cold items, its paper"),
    "presets": (models.add_presets, "the presets of the models, and what each changes"),
    "doctor": (doctor.add_arguments, "versions, known incompatibilities, devices, data sets"),
}


def build_parser() -> ArgumentParser:
    """The parser of all commands; each sets ``run(arguments) -> exit status``."""
    parser = ArgumentParser(prog="recbole-cadmr", description="Multimodal recommendation in RecBole.")
    parser.add_argument("--version", action="version", version=__version__, help="show the version and exit")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (add_arguments, summary) in _COMMANDS.items():
        add_command(
            commands, name, summary, add_arguments, takes_settings=name in ("train", "benchmark", "study", "tune")
        )
    return parser
