"""Small copies of pictures, to stand in a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

from recbole_cadmr.extract.picture import read_picture

_SIDE, _QUALITY = 96, 70  # pixels of the longer side, twice what is shown, for dense screens; of JPEG
_MOST = 2**18  # characters of all of them


def thumbnails(pictures: Mapping[str, Path], items: Iterable[str]) -> dict[str, str]:
    """The pictures of ``items`` as addresses that hold them (``data:``); those of damaged files are left out.

    All together they are no longer than 256 KiB: then the last ones are left out.
    """
    addresses: dict[str, str] = {}
    length = 0
    for item in dict.fromkeys(items):
        if item not in pictures:
            continue
        try:
            picture = read_picture(pictures[item])
        except Exception:  # the encoder has counted it as damaged
            continue
        picture.thumbnail((_SIDE, _SIDE))
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=_QUALITY, optimize=True)
        address = f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
        length += len(address)
        if length > _MOST:
            break
        addresses[item] = address
    return addresses
