"""A generated data set whose latent tastes are known: the embedded one, and others by seed and size."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from recbole_cadmr.arguments import seed, whole_number
from recbole_cadmr.data.generate.draw import ITEMS, SEED, USERS, draw_world
from recbole_cadmr.data.working_folder import working_folder
from recbole_cadmr.errors import UserError
from recbole_cadmr.files import folder_aside
from recbole_cadmr.memory import free_bytes

_BYTES = 40  # per user and item: how well they fit, noise, and the order of what a user likes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``python -m recbole_cadmr generate``; the defaults make the embedded set."""
    output = "new folder; its name is the data set's, as in dataset/NAME"
    add, default = parser.add_argument, "(default: %(default)s)"
    add("--output", required=True, type=Path, metavar="DIR", help=output)
    add("--seed", type=seed, default=SEED, help=f"of every random draw {default}")
    add("--users", type=whole_number(10), default=USERS, help=f"how many people choose {default}")
    add("--items", type=whole_number(50), default=ITEMS, help=f"how many items they choose from, at most {default}")


def run(arguments: argparse.Namespace) -> Path:
    """Write the data set and return its folder."""
    return generate(arguments.output, arguments.seed, arguments.users, arguments.items)


def generate(folder: str | os.PathLike[str], seed: int = SEED, users: int = USERS, items: int = ITEMS) -> Path:
    """Write a data set with known latent tastes into the new folder ``folder``, and return it.

    The data set has the folder's name. The same arguments write the same bytes. Items that nobody chose are left out.

    Raises:
        UserError: if there is not enough memory, or the folder is already there or cannot be written.
    """
    from recbole_cadmr.data.generate.write import write_world  # heavy: pandas

    folder = Path(folder)
    needed, free = users * items * _BYTES + (users + items) * 1000, free_bytes()
    if needed > free:
        raise UserError(
            f"{users:,} users and {items:,} items need {needed / 2**30:,.1f} GiB of memory to draw, but "
            f"{free / 2**30:,.1f} are free; give fewer"
        )
    if folder.name in ("", ".."):
        raise UserError(f"{folder} does not name a new folder; the data set is called by the folder's name")
    with working_folder(folder) as work, folder_aside(folder, within=work) as aside:
        options = f"--output {folder.name} --seed {seed} --users {users} --items {items}"
        write_world(draw_world(seed, users, items), aside, folder.name, f"python -m recbole_cadmr generate {options}")
    return folder
