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
        model: what loads it: a name, or the folder of a text model.
        card: what the data set's card says of it; it tells encoders of other weights apart.
        weights: the file that the weights of an image model came from; "" for torchvision's own.
        dtype: of the vectors.
    """

    kind: Literal["text", "image"]
    model: str
    card: dict[str, str]
    weights: str = ""
    dtype: Literal["float16", "float32"] = "float32"


def write_encoders(folder: Path, encoders: Mapping[str, Encoder]) -> None:
    """Write the encoders of a data set's modalities, if there are any."""
    if encoders:
        write_json(folder / FILE, {name: msgspec.to_builtins(encoder) for name, encoder in encoders.items()})


def read_encoders(folder: Path) -> dict[str, Encoder]:
    """The encoders by modality; {} of a data set that does not say.

    Raises:
        UserError: if the file holds something else.
    """
    path = folder / FILE
    kind: Any = dict[str, Encoder]
    return read_json(path, kind) if path.is_file() else {}
