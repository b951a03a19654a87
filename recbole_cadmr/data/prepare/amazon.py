"""The Amazon reviews of 2014 or 2023: reviews, metadata, and the published image features or the pictures.

The release of 2014 has 5-core reviews as JSON lines, metadata as Python literals and image features as records; that of
2023 has reviews and metadata as JSON lines, and pictures by their addresses.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from recbole_cadmr.data.download import RemoteFile, UnreachableError, download
from recbole_cadmr.data.prepare.assemble import assemble
from recbole_cadmr.data.prepare.content import Content, Features
from recbole_cadmr.data.prepare.downloads import add_place, fetch, raw_folder, release_info
from recbole_cadmr.data.prepare.lines import first_of_each, interaction_table, json_lines, lines_of, the_file
from recbole_cadmr.data.prepare.options import NONE, add_options, read_options
from recbole_cadmr.data.prepare.pictures import SUFFIXES, find_pictures, need_folder
from recbole_cadmr.data.prepare.skipped_rows import SkippedRows
from recbole_cadmr.data.prepare.texts import flat, one_line, without_empty
from recbole_cadmr.errors import UserError
from recbole_cadmr.files import write_rows
from recbole_cadmr.progress import bar

# Of each release the keys of a review: user and item, rating and time.
_KEYS = {
    "2014": (("reviewerID", "asin"), ("overall", "unixReviewTime")),
    "2023": (("user_id", "parent_asin"), ("rating", "timestamp")),
}
# What the papers call the categories.
_NAMES = {"Sports_and_Outdoors": "sports", "Clothing_Shoes_and_Jewelry": "clothing", "Baby_Products": "baby_products"}
_WIDTH = 4096
_RECORD = np.dtype([("item", "S10"), ("vector", "<f4", _WIDTH)])
# How nearly every line of the metadata of 2014 begins: enough to find its item without parsing the rest.
_ITEM = re.compile(r"""\{\s*['"]asin['"]:\s*['"]([^'"\\]+)['"]""")
_CONNECTIONS = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``prepare amazon``."""
    category = "as the publisher spells it: Baby, Sports_and_Outdoors, Clothing_Shoes_and_Jewelry, Electronics, ..."
    add, images = parser.add_argument, "2023: pictures ITEM.jpg (default: images in --source)"
    add("--category", required=True, help=category)
    add("--release", default="2014", choices=_KEYS, help="year of the release (default: 2014)")
    add("--images", type=Path, metavar="DIR", help=images)
    add_place(parser)
    add_options(parser)


def run(arguments: argparse.Namespace) -> Path:
    """Write the data set and return its folder."""
    category, is_old = arguments.category, arguments.release == "2014"
    if not category.replace("_", "").isalnum():
        raise UserError(f"--category is one word such as Sports_and_Outdoors, not {category!r}")
    if arguments.images and is_old:
        raise UserError("--images belongs to --release 2023; that of 2014 comes with image features")
    options = read_options(arguments, _NAMES.get(category, category.lower()))
    release = f"amazon-{arguments.release}"
    folder, info = raw_folder(arguments, release, category), release_info(release)
    if arguments.download:
        fetch(release, info["files"], folder, arguments.base_address, category=category)
    names = {kind: Path(file["path"].format(category=category)).name for kind, file in info["files"].items()}
    reviews, meta = (the_file(folder, names[kind], names[kind].removesuffix(".gz")) for kind in ("reviews", "meta"))
    skipped = SkippedRows(options.strict)
    published = [folder / names["image"]] if is_old and (folder / names["image"]).is_file() else []
    if is_old and not published:
        skipped.note(f"no image features: {names['image']} is not there")
    option = "" if arguments.download or not arguments.images else "--images"  # a download fills the folder
    need_folder(arguments.images if option else None, option)

    def read_content(items: Sequence[str], work: Path) -> Content:
        titles, texts, addresses = read_meta(meta, arguments.release, set(items), skipped)
        if is_old:
            features = [read_image_features(file, items, work / "image", skipped) for file in published]
            return Content(titles, texts, {}, features)
        images = arguments.images or folder / "images"
        if arguments.download and options.image_model != NONE:
            fetch_pictures(addresses, images, skipped)
        return Content(titles, texts, find_pictures(images, items, skipped, option))

    look = "image features" if is_old else "pictures"

    def catalogue() -> Iterator[str]:
        return read_ids(meta, arguments.release)

    title = f"Reviews, metadata and {look} of the category {category}, Amazon review data of {arguments.release}."
    interactions = interaction_table(reviews, skipped, *_KEYS[arguments.release], options.min_rating is not None)
    about = (title, info["licence"], [reviews, meta, *published])
    return assemble(interactions, read_content, options, skipped, *about, catalogue)


def read_meta(
    path: Path, release: str, items: set[str], skipped: SkippedRows
) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """Titles, texts (title, brand or store, categories, description) and addresses of the first large picture.

    Those of ``items``; an item's first line counts.
    """
    titles: dict[str, str] = {}
    texts: dict[str, str] = {}
    addresses: dict[str, str] = {}
    records = _literals(path, items, skipped) if release == "2014" else json_lines(path, skipped)
    for item, record in first_of_each(records, _KEYS[release][0][1], items, path, skipped):
        titles[item] = title = one_line(record.get("title"))
        if release == "2014":
            categories = dict.fromkeys(entry for entry in flat(record.get("categories")) if isinstance(entry, str))
            texts[item] = one_line(title, record.get("brand"), *categories, record.get("description"))
        else:
            lists = (entry for key in ("categories", "description") for entry in _list(record.get(key)))
            texts[item] = one_line(title, record.get("store"), *lists)
            addresses[item] = _large_picture(record.get("images"))
    return without_empty(titles), without_empty(texts), without_empty(addresses)


def read_ids(path: Path, release: str) -> Iterator[str]:
    """The ids of all products of the metadata."""
    key, unnoted = _KEYS[release][0][1], SkippedRows()  # what is skipped is noted when the texts are read
    records = _literals(path, set(), unnoted) if release == "2014" else json_lines(path, unnoted)
    ids = (record.get(key) for _, record in records if record)
    return (item for item in ids if isinstance(item, str))


def _literals(path: Path, items: set[str], skipped: SkippedRows) -> Iterator[tuple[int, dict[str, Any] | None]]:
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
    """Vectors of ``items`` from records of a 10-byte item id and 4,096 little-endian float32, copied one by one.

    Raises:
        UserError: if the file is truncated.
    """
    size = path.stat().st_size
    if not size or size % _RECORD.itemsize:
        raise UserError(f"{path} is truncated: {size:,} bytes are not a whole number of records; get it again")
    records, wanted = np.memmap(path, _RECORD, "r"), set(items)
    place: dict[str, int] = {}
    for row, name in enumerate(records["item"]):
        item = name.rstrip(b"\0 ").decode("utf-8", "replace")
        if item in wanted:
            skipped.note("repeated items in the image features", item, n=int(item in place))
            place.setdefault(item, row)
    sound: list[int] = []

    def vectors() -> Iterator[np.ndarray]:
        for index, (item, row) in enumerate(bar(place.items(), desc=path.name, unit=" items")):
            vector = records["vector"][row]
            if not np.isfinite(vector).all():
                skipped.note("image features with NaN or infinite numbers", item)
            elif not vector.any():
                skipped.note("image features of zeros", item)
            else:
                sound.append(index)
            yield vector

    target, named = work / "published.npy", list(place)
    write_rows(target, "<f4", (len(named), _WIDTH), vectors())
    skipped.note("items without image features", n=len(items) - len(sound))
    made_by = "published with the data: 4,096-D of a Caffe network (McAuley et al., 2015)"
    return Features("image", [named[index] for index in sound], target, np.array(sound, int), made_by=made_by)


def fetch_pictures(addresses: dict[str, str], folder: Path, skipped: SkippedRows) -> None:
    """Download the pictures that are not in ``folder`` yet as ITEM.jpg; one that cannot be fetched is skipped.

    Raises:
        UserError: if no server answers any longer.
    """
    present = find_pictures(folder, list(addresses), SkippedRows())
    missing = sorted((item, address) for item, address in addresses.items() if item not in present)

    unanswered = 0  # in a row

    def fetch_one(entry: tuple[str, str]) -> str | None:
        nonlocal unanswered
        item, address = entry
        try:
            suffix = Path(urlsplit(address).path).suffix.lower()
        except ValueError:
            return f"{item}: {address!r} is not an address"
        if Path(item).name != item:
            return f"{item}: it cannot be the name of a file"
        try:
            download(RemoteFile(f"{item}{suffix if suffix in SUFFIXES else '.jpg'}", address), folder, progress=False)
        except UnreachableError as error:
            unanswered += 1
            return f"{item}: {error}"
        except UserError as error:
            unanswered = 0
            return f"{item}: {error}"
        unanswered = 0
        return None

    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        for failure in bar(pool.map(fetch_one, missing), total=len(missing), desc="pictures", unit=" pictures"):
            if failure:
                skipped.note("pictures that could not be fetched", failure)
            if unanswered >= _CONNECTIONS:
                pool.shutdown(cancel_futures=True)
                raise UserError(
                    f"the servers of the pictures do not answer; the same command goes on with those that are missing; "
                    f"or put them into {folder.absolute()} as ITEM.jpg by hand, or give --image_model none"
                )


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _large_picture(images: object) -> str:
    """The first ``large`` address, of a list of pictures or of a dict of lists; "" if there is none."""
    for image in _list(images.get("large") if isinstance(images, dict) else images):
        address = image.get("large") if isinstance(image, dict) else image
        if isinstance(address, str) and address:
            return address
    return ""
