"""RecBole's files of search spaces, ``NAME.hyper``: a line a setting, as ``learning_rate choice [0.001, 0.01]``.

RecBole evaluates what stands there; here it is read as literals, so that nothing in it runs.
"""

from __future__ import annotations

import ast
import math
from pathlib import Path
from typing import Any

from recbole_cadmr.config.yaml_text import shown
from recbole_cadmr.errors import UserError, did_you_mean
from recbole_cadmr.files import refuse_device

ENDING = ".hyper"
_KINDS = ("choice", "uniform", "loguniform", "quniform")
_LONGEST = 10_000  # letters of a line
_MOST_STEPS = 10_000  # values of a quniform


def read_hyper_file(file: Path) -> dict[str, Any]:
    """The content of the yaml file that says the same, for ``parse_space``.

    ``choice [..]`` is a list of choices, in which a text that is a literal stands for it, as in RecBole;
    ``uniform low,high`` a range; ``loguniform low,high`` one from e to the power of low to e to the power of high;
    ``quniform low,high,q`` the multiples of q in it. Empty lines and lines that begin with ``#`` are passed over.

    Raises:
        UserError: if the file cannot be read, or a line says something else; it names the line.
    """
    refuse_device(str(file))
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise UserError(f"there is no file {file}") from error
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {file}: {getattr(error, 'strerror', None) or error}") from error
    space: dict[str, Any] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        where = f"{file} line {number}"
        name, entry = _line(line, where)
        if name in space:
            raise UserError(f"{where} names {name} again")
        space[name] = entry
    return space


def _line(line: str, where: str) -> tuple[str, Any]:
    words = line.split(maxsplit=2)
    if len(words) < 3 or len(line) > _LONGEST:
        raise UserError(f"{where} must be a setting, a kind and its values, as in 'dropout choice [0.1, 0.2]'")
    name, kind, values = words
    if kind not in _KINDS:
        raise UserError(
            f"{where}: there is no kind {shown(kind)}{did_you_mean(kind, _KINDS)}; there are {', '.join(_KINDS)}"
        )
    if kind == "choice":
        return name, _choices(values, where)
    numbers = _numbers(values, 3 if kind == "quniform" else 2, f"{where}: {kind}")
    if kind == "quniform":
        return name, _steps(where, *numbers)
    if kind == "loguniform":
        numbers = [math.exp(min(number, 100.0)) for number in numbers]  # a greater one is refused by its size
    return name, {kind: numbers}


def _choices(text: str, where: str) -> list[Any]:
    values = _literal(text)
    if not isinstance(values, (list, tuple)) or not values:
        raise UserError(
            f"{where}: choice must have a list of values, as in [0.1, 0.2] or ['a', 'b'], not {shown(text)}"
        )
    choices = [_plain(_literal(value, value) if isinstance(value, str) else value) for value in values]
    if any(choice is NotImplemented for choice in choices):
        raise UserError(
            f"{where}: a choice must be a number, a word, True, False, None or a list of these, not {shown(text)}"
        )
    return choices


def _literal(text: str, otherwise: Any = None) -> Any:
    """What Python reads a text as; ``otherwise`` if it is no literal."""
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return otherwise


def _plain(value: Any) -> Any:
    """A literal with lists for tuples; NotImplemented for what no setting can be."""
    if isinstance(value, (list, tuple)):
        entries = [_plain(entry) for entry in value]
        return NotImplemented if any(entry is NotImplemented for entry in entries) else entries
    return value if value is None or isinstance(value, (bool, int, float, str)) else NotImplemented


def _numbers(text: str, n: int, what: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != n or not all(map(math.isfinite, numbers)):
        wanted = "low,high,step" if n == 3 else "low,high"
        raise UserError(f"{what} must have {n} numbers, {wanted}, not {shown(text)}")
    return numbers


def _steps(where: str, low: float, high: float, step: float) -> list[Any]:
    """The multiples of ``step`` nearest to the numbers from low to high; whole numbers as such."""
    if not (step > 0 and low <= high):
        raise UserError(
            f"{where}: quniform needs the lower end first, and a step above 0, not {low:g},{high:g},{step:g}"
        )
    first, last = round(low / step), round(high / step)
    if last - first >= _MOST_STEPS:
        raise UserError(f"{where}: quniform has {last - first + 1:,} values, more than {_MOST_STEPS:,}; take uniform")
    values = [round(n * step, 12) for n in range(first, last + 1)]
    return [int(value) for value in values] if all(value.is_integer() for value in values) else values
