"""Types of options for argparse, the same for every command: ``type=whole_number(least=1)`` and the like."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence

MOST = 2**31 - 1  # of what is counted
MOST_SEED = 2**32 - 1  # numpy takes no larger one
_MOST_REAL = 1e9  # cores, GiB: beyond any machine
_SHOWN = 40  # characters of an invalid value


def whole_number(least: int = 0, most: int = MOST) -> Callable[[str], int]:
    """A reader of whole numbers from ``least`` to ``most``."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError as error:  # also of thousands of digits
            raise argparse.ArgumentTypeError(f"must be a whole number, not {shown(text)}") from error
        if number < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, not {shown(text)}")
        if number > most:
            raise argparse.ArgumentTypeError(f"must be at most {most}, not {shown(text)}")
        return number

    return read


seed = whole_number(0, MOST_SEED)


def real(text: str) -> float:
    """A real number of a size that any machine can count with."""
    try:
        number = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be a number, not {shown(text)}") from error
    if not abs(number) <= _MOST_REAL:
        raise argparse.ArgumentTypeError(f"must be a number of at most {_MOST_REAL:.0f}, not {shown(text)}")
    return number


def positive(text: str) -> float:
    """A real number above 0."""
    if real(text) <= 0:
        raise argparse.ArgumentTypeError(f"must be above 0, not {shown(text)}")
    return real(text)


def not_negative(text: str) -> float:
    """A real number of at least 0."""
    if real(text) < 0:
        raise argparse.ArgumentTypeError(f"must be at least 0, not {shown(text)}")
    return real(text)


def truth(text: str) -> bool:
    """``True`` or ``False``."""
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"must be True or False, not {shown(text)}")
    return text.lower() == "true"


def names(text: str) -> list[str]:
    """Names between commas, at least one."""
    between = [name.strip() for name in text.split(",") if name.strip()]
    if not between:
        raise argparse.ArgumentTypeError(f"must hold names separated by commas, not {shown(text)}")
    return between


def whole_numbers(least: int = 0) -> Callable[[str], list[int]]:
    """A reader of whole numbers between commas, at least one."""
    read = whole_number(least)
    return lambda text: [read(part) for part in names(text)]


def files(groups: Sequence[str]) -> list[str]:
    """Names of files, several of which may be in one argument, as in RecBole."""
    return [file for group in groups for file in ([group] if os.path.exists(group) else group.split())]


def shown(text: str) -> str:
    """An invalid value as a message quotes it."""
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")
