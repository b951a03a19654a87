"""A user's own database: interactions and items by queries, and a folder of pictures."""

from __future__ import annotations

import argparse
from pathlib import Path

from recbole_cadmr.data.prepare.options import add_options, read_options
from recbole_cadmr.data.prepare.pictures import need_folder
from recbole_cadmr.data.prepare.shop_tables import add_columns, assemble_tables, check_columns, needed_of_items
from recbole_cadmr.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``prepare sql``."""
    add = parser.add_argument
    add("--url", required=True, help="of the database, such as sqlite:///shop.db or postgresql://user@host/shop")
    add("--inter", required=True, metavar="SELECT", help="interactions: a query that gives the columns named below")
    add("--items", metavar="SELECT", help="items with their texts, likewise")
    add_columns(parser)
    add_options(parser)
    parser.set_defaults(vectors=None)  # their rows would be in no order


def run(arguments: argparse.Namespace) -> Path:
    """Write the data set and return its folder."""
    from recbole_cadmr.data.database import Database
    from recbole_cadmr.data.prepare.query import Query

    if arguments.name is None:
        raise UserError("give the data set a name with --name")
    options = read_options(arguments, arguments.name)
    check_columns(arguments)
    need_folder(arguments.images, "--images")
    database = Database(arguments.url, "--url")
    inter = Query(database, arguments.inter, "--inter")
    items = Query(database, arguments.items, "--items") if arguments.items else None
    if items is not None:  # before anything long
        items.check(needed_of_items(arguments))
    about = (f"Made from the database {database}.", "Its licence is that of the database.")
    return assemble_tables(arguments, options, [inter], items, *about, [inter, *([items] if items else [])])
