"""A world as atomic files: interactions, titles, a modality's ids and rows, the known factors, settings, a card."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recbole_cadmr.data.atomic import write_atomic
from recbole_cadmr.data.generate.draw import FACTORS, World

# Values are kept in steps of 1/256: the last bits of a sine or logarithm, which differ between machines, are gone.
STEP = 256

_SETTINGS = """\
# How this data set is meant to be read; applied over the package's settings and under config files.
benchmark_filename: [train, valid, test]
mask_valid_at_test: false
modalities: [text, image]
data_note: generated data
"""


def write_world(world: World, folder: Path, name: str, command: str) -> None:
    """Write ``world`` as the data set ``name`` into the existing ``folder``; ``command`` is quoted on its card."""
    users = [f"u{user:04d}" for user in range(1 + max(int(rows[:, 0].max()) for rows in world.parts.values()))]
    items = [f"i{item:04d}" for item in range(len(world.titles))]
    for part, rows in world.parts.items():
        pairs = [f"{users[user]}\t{items[item]}" for user, item in rows]
        write_atomic(folder / f"{name}.{part}.inter", ("user_id:token", "item_id:token"), pairs)
    titled = [f"{item}\t{title}" for item, title in zip(items, world.titles, strict=True)]
    write_atomic(folder / f"{name}.item", ("item_id:token", "title:token_seq"), titled)
    everything = np.arange(len(items))
    # Pictures come in an order of their own, so that a reader that aligns rows by position is found out.
    for modality, features, rows in (
        ("text", world.text, everything),
        ("image", world.image, everything[world.pictured][::-1]),
        ("factors", world.factors, everything),
    ):
        write_atomic(folder / f"{name}.{modality}", ("item_id:token",), (items[row] for row in rows))
        np.save(folder / f"{name}.{modality}.npy", quantised(features[rows]), allow_pickle=False)
    (folder / f"{name}.yaml").write_text(_SETTINGS, encoding="utf-8", newline="\n")
    (folder / "dataset_card.md").write_text(_card(world, name, command), encoding="utf-8", newline="\n")


def quantised(values: np.ndarray) -> np.ndarray:
    """``values`` in whole steps of 1 / ``STEP``, as float32."""
    return (np.rint(values * STEP) / STEP).astype(np.float32)


def _card(world: World, name: str, command: str) -> str:
    counts = {part: len(rows) for part, rows in world.parts.items()}
    users = np.unique(world.parts["train"][:, 0]).size
    without_train = len(world.titles) - np.unique(world.parts["train"][:, 1]).size
    return f"""\
# Data set `{name}`

**Generated.** No person or product stands behind it. Made by

    {command}

which writes the same bytes again. How the world is drawn: `recbole_cadmr/data/generate/draw.py`.

| | |
|---|---|
| users | {users:,} |
| items | {len(world.titles):,} |
| train / validation / test interactions | {counts["train"]:,} / {counts["valid"]:,} / {counts["test"]:,} |
| split | drawn with the data |
| density of the train part | {counts["train"] / users / len(world.titles):.2%} |
| items in no train interaction | {without_train}, of which {world.cold.sum()} were drawn as new ones |
| items without a picture | {(~world.pictured).sum()} |
| width of text / image features | {world.text.shape[1]} / {world.image.shape[1]} |

## What is known about it

Every item has {len(FACTORS)} independent factors with two peaks each. `{name}.factors.npy` holds them, one row
an item in the order of `{name}.factors`, in the columns
{", ".join(f"`{factor}`" for factor in FACTORS)}.
Text shows the shared and the text factors, image shows the shared and the image factors, each through a random
linear map and under noise; titles are words for the factors that the text shows, some left out. Every user has two
tastes, each a place in the space of all factors; items are chosen by how near they are to a taste and by how
popular they are.

## Files

| file | content |
|---|---|
| `{name}.train.inter`, `.valid.inter`, `.test.inter` | interactions, already split |
| `{name}.item` | titles |
| `{name}.text`, `{name}.image` | ids of the items that have the modality |
| `{name}.text.npy`, `{name}.image.npy` | their features, float32, rows in the order of the ids |
| `{name}.factors`, `{name}.factors.npy` | the known factors, for tests; not a modality to train on |
| `{name}.yaml` | how the set is meant to be read |
"""
