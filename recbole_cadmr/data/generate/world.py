"""A synthetic multimodal data set, from its seed to its files."""

from __future__ import annotations

import os
from pathlib import Path

from recbole_cadmr.data.generate.draw import ITEMS, SEED, USERS, draw_world
from recbole_cadmr.data.generate.write import write_world
from recbole_cadmr.data.working_folder import working_folder
from recbole_cadmr.errors import UserError
from recbole_cadmr.files import folder_aside
from recbole_cadmr.memory import free_bytes

_BYTES = 40  # per user and item: how well they fit, noise, and the order of what a user likes


def generate(folder: str | os.PathLike[str], seed: int = SEED, users: int = USERS, items: int = ITEMS) -> Path:
    """Write a data set with known latent tastes into the new folder ``folder``, and return it.

    The data set has the folder's name. The same arguments write the same bytes.

    Args:
        seed: of every random draw, 0 or more.
        users: how many people choose.
        items: how many items they choose from; those that nobody chose are left out.

    Raises:
        UserError: if a number is out of range, or the folder is already there or cannot be written.
    """
    folder = Path(folder)
    for name, value, least in (("seed", seed, 0), ("users", users, 10), ("items", items, 50)):
        if value < least:
            raise UserError(f"{name} must be at least {least}, not {value}")
    needed, free = users * items * _BYTES + (users + items) * 1000, free_bytes()
    if needed > free:
        raise UserError(
            f"{users:,} users and {items:,} items need {needed / 2**30:,.1f} GiB of memory to draw, but "
            f"{free / 2**30:,.1f} are free; give fewer"
        )
    if folder.name in ("", ".."):
        raise UserError(f"{folder} does not name a new folder; the data set is called by the folder's name")
    with working_folder(folder) as work, folder_aside(folder, within=work) as aside:
        world = draw_world(seed, users, items)
        options = f"--output {folder.name} --seed {seed} --users {users} --items {items}"
        write_world(world, aside, folder.name, f"python -m recbole_cadmr generate {options}")
    return folder
