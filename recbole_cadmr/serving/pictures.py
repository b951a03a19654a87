"""Where the pictures of items are: in a folder, or at addresses that the table of items names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from recbole_cadmr.data.prepare.pictures import find_pictures
from recbole_cadmr.data.prepare.skipped_rows import SkippedRows

# What browsers show; a picture is nothing else, whatever its file holds.
TYPES = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp", ".gif": "image/gif",
         ".bmp": "image/bmp"}  # fmt: skip
_ADDRESS = re.compile(r"https?://[^\s\"'<>\\]+")
PATH = "/pictures/"


@dataclass(frozen=True)
class PictureSource:
    """What the command was told of pictures.

    Attributes:
        folder: of files, named after their items or as the column says.
        column: of the table of items, with names of files or with addresses.
    """

    folder: Path | None = None
    column: str | None = None


@dataclass(frozen=True)
class Pictures:
    """Pictures by item.

    Attributes:
        files: those in the folder.
        addresses: those elsewhere.
    """

    files: Mapping[str, Path] = field(default_factory=dict)
    addresses: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, source: PictureSource, items: Sequence[str], names: Mapping[str, str] | None) -> Pictures:
        """The pictures of ``items``.

        Args:
            names: what the column says of them; None if none was named.

        Raises:
            UserError: if the folder is missing or has none of any item.
        """
        addresses = {item: name for item, name in (names or {}).items() if _ADDRESS.fullmatch(name)}
        files: Mapping[str, Path] = {}
        if source.folder is not None:
            files = find_pictures(source.folder, items, SkippedRows(), "--images", names)
        return cls({item: file for item, file in files.items() if file.suffix.lower() in TYPES}, addresses)

    def address(self, item: str) -> str | None:
        """Where a browser finds the picture of an item."""
        return PATH.removeprefix("/") + quote(item, safe="") if item in self.files else self.addresses.get(item)

    def __bool__(self) -> bool:
        return bool(self.files or self.addresses)
