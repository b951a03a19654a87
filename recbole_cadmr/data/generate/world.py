"""A synthetic multimodal data set, from its seed to its files."""

from __future__ import annotations

import os
from pathlib import Path

from recbole_cadmr.data.generate.draw import draw_world
from recbole_cadmr.data.generate.write import write_world
from recbole_cadmr.data.working_folder import working_folder
from recbole_cadmr.errors import UserError
from recbole_cadmr.files import folder_aside

# What the embedded set was made with.
SEED, USERS, ITEMS = 2412, 1500, 800


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
    if folder.name in ("", ".."):
        raise UserError(f"{folder} does not name a new folder; the data set is called by the folder's name")
    with working_folder(folder) as work, folder_aside(folder, within=work) as aside:
        world = draw_world(seed, users, items)
        options = f"--output {folder.name} --seed {seed} --users {users} --items {items}"
        write_world(world, aside, folder.name, f"python -m recbole_cadmr generate {options}")
    return folder
