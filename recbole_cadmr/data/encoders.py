"""What made the vectors of a data set, as a file that a program reads: ``encoders.json`` beside them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from recbole_cadmr.files import write_json
from recbole_cadmr.schema import read_json

FILE = "encoders.json"


class Encoder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What made the vectors of a modality.

    Attributes:
        kind: what it reads.
        model: the name by which its library knows it, or the last name of a folder.
        card: what the data set's card says of it; it tells encoders of other weights apart.
        weights: the last name of the file or folder that the weights came from; "" for what the library has by name.
        dtype: of the vectors.
        columns: what the vectors were made of is called so in the source: the columns of texts, or the one that names
            pictures; () if that is not known.

    Earlier versions wrote whole paths for last names; :meth:`named` is without.
    """

    kind: Literal["text", "image", "audio"]
    model: str
    card: dict[str, str]
    weights: str = ""
    dtype: Literal["float16", "float32"] = "float32"
    columns: tuple[str, ...] = ()

    @property
    def is_local(self) -> bool:
        """Whether it came from a file or a folder of the machine where the vectors were made."""
        return bool(self.weights) or Path(self.model).is_absolute()

    @property
    def former_place(self) -> Path | None:
        """Where it lay, if an earlier version wrote that."""
        path = Path(self.weights or self.model)
        return path if path.is_absolute() else None

    def named(self) -> Encoder:
        """The same without paths, which say how somebody's machine is arranged."""
        if self.former_place is None:
            return self
        model, name = (Path(path).name for path in (self.model, self.weights or self.model))
        return msgspec.structs.replace(self, model=model, weights=name)


def write_encoders(folder: Path, encoders: Mapping[str, Encoder]) -> None:
    """Write the encoders of a data set's modalities; without any there is no file."""
    if not encoders:
        (folder / FILE).unlink(missing_ok=True)
    else:
        write_json(folder / FILE, {name: msgspec.to_builtins(encoder) for name, encoder in encoders.items()})


def read_encoders(folder: Path) -> dict[str, Encoder]:
    """The encoders by modality; {} of a data set that does not say.

    Raises:
        UserError: if the file holds something else.
    """
    path = folder / FILE
    kind: Any = dict[str, Encoder]
    return read_json(path, kind) if path.is_file() else {}
