"""The Amazon reviews of 2014 or 2023: reviews, metadata, and the published image features or the pictures."""

from __future__ import annotations

import argparse
from pathlib import Path

from recbole_cadmr.data.prepare import amazon_2014, amazon_2023
from recbole_cadmr.data.prepare.downloads import add_place, raw_folder
from recbole_cadmr.data.prepare.options import add_options
from recbole_cadmr.errors import UserError

_RELEASES = {"2014": amazon_2014.prepare, "2023": amazon_2023.prepare}
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
    category = arguments.category
    if not category.replace("_", "").isalnum():
        raise UserError(f"--category is one word such as Sports_and_Outdoors, not {category!r}")
    if arguments.images and arguments.release != "2023":
        raise UserError("--images belongs to --release 2023; that of 2014 comes with image features")
    folder = raw_folder(arguments, f"amazon-{arguments.release}", category)
    return _RELEASES[arguments.release](arguments, folder, _NAMES.get(category, category.lower()))
