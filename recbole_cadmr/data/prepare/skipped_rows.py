"""What was skipped while reading user-supplied files, counted and shown."""

from __future__ import annotations

from recbole_cadmr.data.prepare.content import Source
from recbole_cadmr.errors import UserError

_SHOWN = 3  # examples kept of each kind
_LONGEST = 300  # characters of an example


class SkippedRows:
    """Counts of lines, rows and items that could not be used.

    Args:
        strict: stop at the first malformed line instead.
    """

    def __init__(self, strict: bool = False) -> None:
        self.strict = strict
        self.counts: dict[str, int] = {}
        self._examples: dict[str, list[str]] = {}
        self._remarks: list[str] = []

    def malformed(self, path: Source, line: int | str, reason: str) -> None:
        """Skip a malformed line, given by its number, or in words where that is not known.

        Raises:
            UserError: in strict mode.
        """
        where = f"line {line}" if isinstance(line, int) else _short(line)
        if self.strict:
            raise UserError(f"{path} {where} is malformed: {reason}")
        self.note(f"malformed lines of {path.name}", f"{where}: {reason}")

    def note(self, kind: str, example: str = "", n: int = 1) -> None:
        """Count ``n`` more of a kind; the first examples are kept."""
        if not n:
            return
        self.counts[kind] = self.counts.get(kind, 0) + n
        examples = self._examples.setdefault(kind, [])
        if example and len(examples) < _SHOWN:
            examples.append(_short(example))

    def remark(self, sentence: str) -> None:
        """Keep a note that is not a count."""
        self._remarks.append(sentence)

    def lines(self) -> list[str]:
        """One line per kind, with its first examples; then the remarks."""
        lines = []
        for kind, count in self.counts.items():
            shown = "; ".join(self._examples[kind] + ["..."] * (count > _SHOWN))
            lines.append(f"{kind}: {count:,}" + (f" ({shown})" if self._examples[kind] else ""))
        return lines + self._remarks


def _short(example: str) -> str:
    """An example as one line that any file can hold, of readable length."""
    line = " ".join(example[: 2 * _LONGEST].split()).encode("utf-8", "backslashreplace").decode()
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]} ..."
