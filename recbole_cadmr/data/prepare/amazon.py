"""The Amazon reviews of 2014 or 2023: reviews, metadata, and the published image features or the pictures."""

from __future__ import annotations

import argparse
from pathlib import Path
from types import ModuleType

from recbole_cadmr.data.prepare import amazon_2014, amazon_2023
from recbole_cadmr.data.prepare.assemble import assemble
from recbole_cadmr.data.prepare.card import Provenance
from recbole_cadmr.data.prepare.downloads import add_place, fetch, raw_folder, release_info
from recbole_cadmr.data.prepare.lines import interaction_table, the_file
from recbole_cadmr.data.prepare.options import add_options, read_options
from recbole_cadmr.data.prepare.skipped_rows import SkippedRows
from recbole_cadmr.errors import UserError

_RELEASES: dict[str, ModuleType] = {"2014": amazon_2014, "2023": amazon_2023}
# What the papers call the categories.
_NAMES = {"Sports_and_Outdoors": "sports", "Clothing_Shoes_and_Jewelry": "clothing", "Baby_Products": "baby_products"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``prepare amazon``."""
    category = "as the publisher spells it: Baby, Sports_and_Outdoors, Clothing_Shoes_and_Jewelry, Electronics, ..."
    parser.add_argument("--category", required=True, help=category)
    parser.add_argument("--release", default="2014", choices=_RELEASES, help="year of the release (default: 2014)")
    parser.add_argument(
        "--images", type=Path, metavar="DIR", help="2023: pictures ITEM.jpg (default: images in --source)"
    )
    add_place(parser)
    add_options(parser)


def run(arguments: argparse.Namespace) -> Path:
    """Write the data set and return its folder."""
    category, release = arguments.category, _RELEASES[arguments.release]
    if not category.replace("_", "").isalnum():
        raise UserError(f"--category is one word such as Sports_and_Outdoors, not {category!r}")
    if arguments.images and arguments.release != "2023":
        raise UserError("--images belongs to --release 2023; that of 2014 comes with image features")
    options = read_options(arguments, _NAMES.get(category, category.lower()))
    folder = raw_folder(arguments, release.RELEASE, category)
    if arguments.download:
        fetch(release.RELEASE, release.KINDS, folder, arguments.base_address, category=category)
    names = [name.format(category) for name in release.FILES]
    reviews, meta = (the_file(folder, f"{name}.gz", name) for name in names)
    skipped = SkippedRows(options.strict)
    read_content, others = release.content(arguments, folder, meta, options, skipped)
    provenance = Provenance(
        f"{release.TITLE} of the category {category}, Amazon review data of {arguments.release}.",
        release_info(release.RELEASE)["licence"],
        [reviews, meta, *others],
    )
    ids, values = release.COLUMNS
    interactions = interaction_table(reviews, skipped, ids, values, options.min_rating is not None)
    return assemble(interactions, read_content, provenance, options, skipped)
