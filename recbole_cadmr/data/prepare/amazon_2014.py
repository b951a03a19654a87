"""The Amazon release of 2014: 5-core reviews as JSON lines, metadata as Python literals, image features as records."""

from __future__ import annotations

import argparse
import ast
import json
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from recbole_cadmr.data.prepare.content import Content, ContentReader, Features
from recbole_cadmr.data.prepare.lines import first_of_each, lines_of
from recbole_cadmr.data.prepare.options import Options
from recbole_cadmr.data.prepare.skipped_rows import SkippedRows
from recbole_cadmr.data.prepare.texts import flat, one_line, without_empty
from recbole_cadmr.errors import UserError
from recbole_cadmr.files import write_rows

RELEASE, KINDS, TITLE = "amazon-2014", ["reviews", "meta", "image"], "Reviews, metadata and image features"
FILES = ("reviews_{}_5.json", "meta_{}.json")
COLUMNS = (("reviewerID", "asin"), ("overall", "unixReviewTime"))
WIDTH = 4096
_RECORD = np.dtype([("item", "S10"), ("vector", "<f4", WIDTH)])
# How nearly every line of the metadata begins: enough to find its item without parsing the rest.
_ITEM = re.compile(r"""\{\s*['"]asin['"]:\s*['"]([^'"\\]+)['"]""")


def content(
    arguments: argparse.Namespace, folder: Path, meta: Path, options: Options, skipped: SkippedRows
) -> tuple[ContentReader, list[Path]]:
    """What reads the content of items, and the files it reads beside the metadata."""
    image = folder / f"image_features_{arguments.category}.b"
    if not image.is_file():
        skipped.note(f"no image features: {image.name} is not there")

    def read_content(items: Sequence[str], work: Path) -> Content:
        titles, texts = read_meta(meta, set(items), skipped)
        features = [read_image_features(image, items, work / "image", skipped)] if image.is_file() else []
        return Content(titles, texts, {}, features)

    return read_content, [image] if image.is_file() else []


def read_meta(path: Path, items: set[str], skipped: SkippedRows) -> tuple[dict[str, str], dict[str, str]]:
    """Titles and texts (title, brand, categories, description) of ``items``, from a Python literal a line.

    Lines of other items are not parsed. An item's first line counts.
    """
    titles: dict[str, str] = {}
    texts: dict[str, str] = {}
    for item, record in first_of_each(_items(path, items, skipped), "asin", items, path, skipped):
        titles[item] = title = one_line(record.get("title"))
        categories = dict.fromkeys(entry for entry in flat(record.get("categories")) if isinstance(entry, str))
        texts[item] = one_line(title, record.get("brand"), *categories, record.get("description"))
    return without_empty(titles), without_empty(texts)


def _items(path: Path, items: set[str], skipped: SkippedRows) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """The lines of the metadata; of other items only their ids."""
    for number, line in lines_of(path, skipped):
        start = _ITEM.match(line)
        if start and start[1] not in items:
            yield number, {"asin": start[1]}
        else:
            record = parse_literal(line)
            if record and type(record.get("asin")) is int:
                record["asin"] = str(record["asin"])
            yield number, record


def parse_literal(line: str) -> dict[str, Any] | None:
    """A dict from a Python literal or JSON, None if it is neither; nothing is executed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the data contain escapes that Python does not know
            record = ast.literal_eval(line.strip())
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):  # TypeError: a list as a key
        try:
            record = json.loads(line, parse_int=str, parse_float=str, parse_constant=str)
        except (ValueError, RecursionError):
            return None
    return record if isinstance(record, dict) else None


def read_image_features(path: Path, items: Sequence[str], work: Path, skipped: SkippedRows) -> Features:
    """Vectors of ``items`` from records of a 10-byte item id and 4,096 little-endian float32, copied block by block.

    Raises:
        UserError: if the file is truncated.
    """
    n, rest = divmod(path.stat().st_size, _RECORD.itemsize)
    if rest or not n:
        raise UserError(
            f"{path} is truncated: {path.stat().st_size:,} bytes are not a whole number of records; get it again"
        )
    wanted = set(items)
    place: dict[str, int] = {}
    with open(path, "rb", buffering=0) as file:
        for row in range(n):
            file.seek(row * _RECORD.itemsize)
            item = file.read(10).rstrip(b"\0 ").decode("utf-8", "replace")
            if item in wanted:
                skipped.note("repeated items in the image features", item, n=int(item in place))
                place.setdefault(item, row)
    rows = sorted(place.items(), key=lambda entry: entry[1])
    sound: list[int] = []

    def vectors() -> Iterator[np.ndarray]:
        with open(path, "rb") as file:
            for index, (item, row) in enumerate(tqdm(rows, desc=path.name, unit=" items", mininterval=0.5)):
                file.seek(row * _RECORD.itemsize)
                (record,) = np.fromfile(file, _RECORD, 1)
                if not np.isfinite(record["vector"]).all():
                    skipped.note("image features with NaN or infinite numbers", item)
                elif not record["vector"].any():
                    skipped.note("image features of zeros", item)
                else:
                    sound.append(index)
                yield record["vector"]

    target = work / "published.npy"
    write_rows(target, "<f4", (len(rows), WIDTH), vectors())
    skipped.note("items without image features", n=len(items) - len(sound))
    made_by = "published with the data: 4,096-D of a Caffe network (McAuley et al., 2015)"
    return Features("image", [rows[index][0] for index in sound], target, np.array(sound, int), made_by=made_by)
