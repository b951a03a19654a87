"""Where encoders lie on this machine, noted in the user's cache folder: data sets and exports hold names and hashes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from recbole_cadmr.errors import UserError
from recbole_cadmr.files import cache_folder, write_json
from recbole_cadmr.schema import read_json

WEIGHTS_HASH, UNKNOWN = "SHA-256 of its weights", "unknown"  # in the card of a text model
FILES_HASH = "SHA-256 of its files"  # in that of a model of transformers


class _Note(msgspec.Struct):
    """Where an encoder lay, of the kind and the identity that stand there for people."""

    place: str


def identity(kind: str, card: Mapping[str, str]) -> dict[str, str]:
    """What a card says of an encoder: of a folder whose files are known, not its name."""
    is_known = FILES_HASH in card or (kind == "text" and card.get(WEIGHTS_HASH, UNKNOWN) != UNKNOWN)
    return {name: value for name, value in card.items() if not (is_known and name == "model")}


def note(kind: str, card: Mapping[str, str], place: Path) -> None:
    """Note that the encoder of this card lies at ``place``; in a home that cannot be written, nothing is."""
    about = {"kind": kind, "encoder": _of_all_types(kind, card), "place": str(place.absolute())}
    with suppress(UserError):
        write_json(_file(kind, card), about)


def noted(kind: str, card: Mapping[str, str]) -> Path | None:
    """Where the encoder of this card lay last; None if that is not known, or nothing is there any more.

    Who loads it has to compare its card: anything may lie there by now.
    """
    with suppress(UserError):
        place = Path(read_json(_file(kind, card), _Note).place)
        return place if place.exists() else None
    return None


def _of_all_types(kind: str, card: Mapping[str, str]) -> dict[str, str]:
    """An encoder whatever the type of numbers that its vectors are kept in."""
    return {name: value for name, value in identity(kind, card).items() if name != "type"}


def _file(kind: str, card: Mapping[str, str]) -> Path:
    about = json.dumps([kind, _of_all_types(kind, card)], sort_keys=True)
    return cache_folder() / "encoders" / f"{hashlib.sha256(about.encode()).hexdigest()}.json"
