"""Argparse whose mistakes are one sentence, and whose commands declare their options when they are used."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NoReturn

from recbole_cadmr.cli.settings import settings_of
from recbole_cadmr.errors import UserError, did_you_mean

Declare = Callable[[argparse.ArgumentParser], None]


class ArgumentParser(argparse.ArgumentParser):
    """A parser that declares its options when it is first used, as some commands import much for that.

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
            near = did_you_mean(rest[0].partition("=")[0], self._option_string_actions)
            raise UserError(f"there is no option '{rest[0]}'{near}")
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
