"""The Amazon release of 2023: reviews and metadata as JSON lines, pictures by their addresses."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tqdm import tqdm

from recbole_cadmr.data.download import RemoteFile, download
from recbole_cadmr.data.prepare.content import Content, ContentReader
from recbole_cadmr.data.prepare.lines import first_of_each, json_lines
from recbole_cadmr.data.prepare.options import NONE, Options
from recbole_cadmr.data.prepare.pictures import SUFFIXES, find_pictures, need_folder
from recbole_cadmr.data.prepare.skipped_rows import SkippedRows
from recbole_cadmr.data.prepare.texts import one_line, without_empty
from recbole_cadmr.errors import UserError

RELEASE, KINDS, TITLE = "amazon-2023", ["reviews", "meta"], "Reviews, metadata and pictures"
FILES = ("{}.jsonl", "meta_{}.jsonl")
COLUMNS = (("user_id", "parent_asin"), ("rating", "timestamp"))
_CONNECTIONS = 8


def content(
    arguments: argparse.Namespace, folder: Path, meta: Path, options: Options, skipped: SkippedRows
) -> tuple[ContentReader, list[Path]]:
    """What reads the content of items, and the files it reads beside the metadata: none, as pictures are many."""
    option = "" if arguments.download or not arguments.images else "--images"  # a download fills the folder
    if option:
        need_folder(arguments.images, option)
    images = arguments.images or folder / "images"

    def read_content(items: Sequence[str], work: Path) -> Content:
        titles, texts, addresses = read_meta(meta, set(items), skipped)
        if arguments.download and options.image_model != NONE:
            fetch_pictures(addresses, images, skipped)
        return Content(titles, texts, find_pictures(images, items, skipped, option))

    return read_content, []


def read_meta(
    path: Path, items: set[str], skipped: SkippedRows
) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """Titles, texts (title, store, categories, description) and addresses of the first large picture of ``items``."""
    titles: dict[str, str] = {}
    texts: dict[str, str] = {}
    addresses: dict[str, str] = {}
    for item, record in first_of_each(json_lines(path, skipped), "parent_asin", items, path, skipped):
        titles[item], addresses[item] = one_line(record.get("title")), _large_picture(record.get("images"))
        lists = (entry for key in ("categories", "description") for entry in _list(record.get(key)))
        texts[item] = one_line(titles[item], record.get("store"), *lists)
    return without_empty(titles), without_empty(texts), without_empty(addresses)


def fetch_pictures(addresses: dict[str, str], folder: Path, skipped: SkippedRows) -> None:
    """Download the pictures that are not in ``folder`` yet as ITEM.jpg; one that cannot be fetched is skipped."""
    present = find_pictures(folder, list(addresses), SkippedRows())
    missing = sorted((item, address) for item, address in addresses.items() if item not in present)

    def fetch_one(entry: tuple[str, str]) -> str | None:
        item, address = entry
        try:
            suffix = Path(urlsplit(address).path).suffix.lower()
        except ValueError:
            return f"{item}: {address!r} is not an address"
        if Path(item).name != item:
            return f"{item}: it cannot be the name of a file"
        try:
            download(RemoteFile(f"{item}{suffix if suffix in SUFFIXES else '.jpg'}", address), folder, progress=False)
        except UserError as error:
            return f"{item}: {error}"
        return None

    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        for failure in tqdm(pool.map(fetch_one, missing), total=len(missing), desc="pictures", unit=" pictures"):
            if failure:
                skipped.note("pictures that could not be fetched", failure)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _large_picture(images: object) -> str:
    """The first ``large`` address, of a list of pictures or of a dict of lists; "" if there is none."""
    for image in _list(images.get("large") if isinstance(images, dict) else images):
        address = image.get("large") if isinstance(image, dict) else image
        if isinstance(address, str) and address:
            return address
    return ""
