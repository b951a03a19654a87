"""What commands share: a parser, settings given as ``--name=value``, and outputs that overwrite nothing."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from recbole_cadmr.arguments import files
from recbole_cadmr.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from recbole_cadmr.config.mmrec import Translation

Declare = Callable[[argparse.ArgumentParser], None]
OWN_MODEL = "of a model of your own its class, as FILE.py:CLASS or package.module:CLASS"


class ArgumentParser(argparse.ArgumentParser):
    """Mistakes are one sentence; options are declared when it is first used: some commands import much for that.

    Attributes:
        declare: adds the options; None once it has.
        takes_settings: whether what is left over are ``settings``.
    """

    declare: Declare | None = None
    takes_settings = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Arguments by name.

        Raises:
            UserError: if anything is left over of a command that takes no settings.
        """
        declare, self.declare = self.declare, None
        if declare is not None:
            declare(self)
        known, rest = super().parse_known_args(args, namespace)
        if self.takes_settings:
            known.settings = settings_of(rest)
        elif rest:
            name = re.sub("://.*", "://...", rest[0])  # which may hold a password
            near = did_you_mean(name.partition("=")[0], self._option_string_actions)
            raise UserError(f"there is no option '{name}'{near}")
        return known, []

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong as a :class:`UserError`."""
        # What is wrong with a value reads as a sentence: "--topk must be ...".
        message = message.removeprefix("argument ").replace(": must ", " must ", 1)
        raise UserError(f"{message}; see '{self.prog} --help'")


def add_command(
    commands: argparse._SubParsersAction[Any], name: str, summary: str, declare: Declare, takes_settings: bool = False
) -> None:
    """Add a command whose options ``declare`` adds to its parser."""
    # Abbreviated options would swallow settings: --data for --data_path, --out for --output.
    child = commands.add_parser(name, help=summary, description=summary, allow_abbrev=False)
    child.declare, child.takes_settings = declare, takes_settings


def settings_of(arguments: Sequence[str]) -> dict[str, Any]:
    """Settings from ``--name=value`` or ``--name value``.

    Raises:
        UserError: on anything else, and on a setting given twice.
    """
    from recbole_cadmr.config.yaml_text import parse_value

    settings: dict[str, Any] = {}
    waiting = list(arguments)
    while waiting:
        argument = waiting.pop(0)
        name, equals, value = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or not name:
            raise UserError(f"cannot read '{argument}'; settings are given as --name=value")
        if not equals:
            if not waiting or waiting[0].startswith("--"):
                raise UserError(f"--{name} has no value; give it as --{name}=value")
            value = waiting.pop(0)
        if name in settings:
            raise UserError(f"--{name} is given twice")
        settings[name] = parse_value(value)
    return settings


def add_subject(parser: argparse.ArgumentParser) -> None:
    """Declare what is trained, on which data."""
    add = parser.add_argument
    add("--model", help=f"CADMR (default), another that `models` lists; {OWN_MODEL}")
    add("--dataset", help="name of a data set (default: the embedded one, 'synthetic')")
    add("--preset", help="a preset of the model (CADMR: paper)")
    add("--config_files", nargs="+", default=[], help="yaml files of settings, of which later ones have priority")
    add("--data_path", metavar="DIR", help="folder of the data sets (default: dataset)")


def add_mmrec_config(
    parser: argparse.ArgumentParser, order: str = "later ones have priority, then --config_files"
) -> None:
    """Declare settings files of the MMRec toolbox."""
    what = f"yaml files of the MMRec toolbox, {order}: its settings by the names here"
    parser.add_argument("--mmrec_config", "--mmrec-config", nargs="+", default=[], metavar="FILE", help=what)


def read_mmrec_config(arguments: argparse.Namespace) -> Translation | None:
    """What ``--mmrec_config`` says, but for what ``--config_files`` say otherwise; None if it is not given.

    Raises:
        UserError: as of :func:`recbole_cadmr.config.mmrec.translated`.
    """
    if not arguments.mmrec_config:
        return None
    from recbole_cadmr.config.mmrec import Translation, translated

    others = settings_in(files(arguments.config_files))
    found = translated(files(arguments.mmrec_config), arguments.model or others.get("model"))
    settings, space = (
        {name: value for name, value in part.items() if name not in others} for part in (found.settings, found.space)
    )
    return Translation(found.model, settings, space, found.notes)


def add_ray_address(parser: argparse.ArgumentParser, purpose: str) -> None:
    """Declare the cluster that does the work of a command."""
    where = f"a Ray cluster, or 'local': {purpose}"
    parser.add_argument("--ray-address", "--ray_address", metavar="ADDRESS", help=where)


def begun_with(arguments: argparse.Namespace) -> dict[str, Any]:
    """The settings of what is begun, the place of its data among them."""
    return {**arguments.settings, **({"data_path": arguments.data_path} if arguments.data_path else {})}


def refuse_beside_resume(arguments: argparse.Namespace, *names: str) -> None:
    """Raise :class:`UserError` for options and settings that what is resumed has already."""
    why = "--resume continues with the options that it was started with"
    refuse_named_model(why, getattr(arguments, "model", None))
    refuse_beside(why, arguments, *names, *arguments.settings)


def refuse_named_model(why: str, model: str | None) -> None:
    """Raise :class:`UserError` for a model named where it is known; a class of the user's own has to be named."""
    from recbole_cadmr.models.own import is_reference

    if model is not None and not is_reference(model):
        raise UserError(f"{why}; leave out {model}")


def refuse_beside(why: str, arguments: argparse.Namespace, *names: str) -> None:
    """Raise :class:`UserError` for any of the options and settings ``names`` that is given, as ``why`` says."""
    repeated = [f"--{name}" for name in names if getattr(arguments, name, True)]
    if repeated:
        raise UserError(f"{why}; leave out {repeated[0]}")


def settings_in(files: Sequence[str]) -> dict[str, Any]:
    """The settings in yaml files, in rising priority."""
    from recbole_cadmr.config.yaml_text import read_yaml

    return {name: value for file in files for name, value in read_yaml(Path(file)).items()}


def refuse_existing(path: str | None) -> None:
    """Raise :class:`UserError` if the file to be written is there already, or cannot be."""
    if path is None:
        return
    try:
        os.lstat(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error
    raise UserError(f"{path} is already there; choose another --output")
