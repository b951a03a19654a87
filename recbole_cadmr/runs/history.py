"""``history.jsonl`` of a run: its validations, one a line, each appended when it happens."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from recbole_cadmr.errors import UserError
from recbole_cadmr.files import json_text, write_text
from recbole_cadmr.schema import read_json_lines
from recbole_cadmr.training.callbacks import Training, TrainingCallback
from recbole_cadmr.training.contents import Validation


class HistoryWriter(TrainingCallback):
    """Appends every validation to ``file``."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def on_validation(self, trainer: Training, validation: Validation) -> None:
        """Append it; what :func:`read_history` returns is ``trainer.history`` from here on."""
        try:
            with open(self.file, "a", encoding="utf-8") as file:
                file.write(_line(validation))
                file.flush()
                os.fsync(file.fileno())  # before the resume.pt that counts it
        except OSError as error:
            raise UserError(f"cannot write {self.file}: {error.strerror}") from error


def read_history(file: Path) -> list[Validation]:
    """The validations of a run so far, none if there is no file; a last line that a kill left unfinished is ignored.

    Raises:
        UserError: if the file cannot be read, or a line is not a validation.
    """
    return read_json_lines(file, Validation) if file.exists() else []


def rewrite_history(file: Path, history: Sequence[Validation]) -> None:
    """Let ``file`` hold ``history`` and nothing else."""
    write_text(file, "".join(map(_line, history)))


def _line(validation: Validation) -> str:
    return json_text(validation) + "\n"
