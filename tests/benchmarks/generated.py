"""Generated data sets of any shape, for measurements of time and memory; no result on them tells anything of people.

    python tests/benchmarks/generated.py electronics --output DIR [--users 192403] [--items 63001] ...

Items come in groups; a user has a few groups, from which most of what is chosen comes, by popularity. Feature vectors
are those of the group, under noise. A tenth of a user's interactions each are validation and test.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv

_GROUP = 40  # items of a group
_TASTES = 3  # groups of a user
_LOYALTY = 0.8  # share of what is chosen that comes from them
_BLOCK = 65_536  # rows of features drawn at once


@dataclass(frozen=True)
class Shape:
    """Users, items and interactions of a data set, and how many are drawn for each that is another one."""

    users: int
    items: int
    interactions: int
    drawn: float = 1.2


SHAPES = {
    "baby": Shape(19_445, 7_050, 160_792),
    "sports": Shape(35_598, 18_357, 296_337),
    "electronics": Shape(192_403, 63_001, 1_689_188),
    "middle": Shape(450_000, 180_000, 7_000_000, 1.35),
    "million": Shape(1_000_000, 500_000, 30_000_000, 1.7),
}
WIDTHS = {"text": 384, "image": 1024}


def draw(shape: Shape, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Distinct pairs of user and item, int32 [n] each, by user, of all items; a few more or less than asked for."""
    rng = np.random.default_rng(seed)
    popularity = rng.pareto(1.5, shape.items) + 0.05
    popularity = np.minimum(popularity, np.quantile(popularity, 0.9999))
    upto = np.append(0, popularity.cumsum())
    n_groups = -(-shape.items // _GROUP)
    first = np.arange(n_groups) * _GROUP
    begin, end = upto[first], upto[np.minimum(first + _GROUP, shape.items)]
    by_popularity = rng.random((shape.users, _TASTES)) * upto[-1]
    tastes = np.searchsorted(begin, by_popularity, side="right") - 1
    mean = shape.drawn * (shape.interactions - shape.items) / shape.users
    length = 3 + rng.geometric(1 / (mean - 2), shape.users) - 1
    user = np.repeat(np.arange(shape.users, dtype=np.int64), length)
    group = tastes[user, rng.integers(_TASTES, size=len(user))]
    loyal = rng.random(len(user)) < _LOYALTY
    low, high = np.where(loyal, begin[group], 0.0), np.where(loyal, end[group], upto[-1])
    at = low + rng.random(len(user)) * (high - low)
    item = np.minimum(np.searchsorted(upto, at, side="right") - 1, shape.items - 1)
    everything = rng.integers(shape.users, size=shape.items) * shape.items + np.arange(shape.items)
    pair = np.unique(np.concatenate([user * shape.items + item, everything]))
    return (pair // shape.items).astype(np.int32), (pair % shape.items).astype(np.int32)


def split(user: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
    """Which pairs belong to which part: bool [n] each; every user has a train interaction.

    Args:
        user: [n], ascending.
    """
    rng = np.random.default_rng(seed)
    u = rng.random(len(user))
    u[np.flatnonzero(np.diff(user, prepend=-1))] = 1
    return {"train": u >= 0.2, "valid": u < 0.1, "test": (u >= 0.1) & (u < 0.2)}


def write_features(path: Path, n_items: int, width: int, seed: int = 0) -> None:
    """float32 [n_items, width] as ``.npy``, a block at a time."""
    rng = np.random.default_rng([seed, width])
    centres = rng.standard_normal((-(-n_items // _GROUP), width), dtype=np.float32)
    table = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(n_items, width))
    for start in range(0, n_items, _BLOCK):
        item = np.arange(start, min(start + _BLOCK, n_items))
        table[item] = centres[item // _GROUP] + rng.standard_normal((len(item), width), dtype=np.float32)
    table.flush()


def write_set(folder: Path, shape: Shape, widths: dict[str, int] = WIDTHS) -> None:
    """A data set as atomic files, split, named as its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    name = folder.name
    user, item = draw(shape)
    for part, inside in split(user).items():
        _write(folder / f"{name}.{part}.inter", {"user_id:token": user[inside], "item_id:token": item[inside]})
    chosen = np.unique(item)
    for modality, width in widths.items():
        _write(folder / f"{name}.{modality}", {"item_id:token": np.arange(shape.items)})
        write_features(folder / f"{name}.{modality}.npy", shape.items, width)
    (folder / f"{name}.yaml").write_text(
        f"benchmark_filename: [train, valid, test]\nmask_valid_at_test: false\nmodalities: [{', '.join(widths)}]\n"
    )
    print(f"{len(user):,} interactions of {shape.users:,} users with {len(chosen):,} items (generated) in {folder}")


def _write(path: Path, columns: dict[str, np.ndarray]) -> None:
    with open(path, "wb") as file:
        file.write(("\t".join(columns) + "\n").encode())
        options = pyarrow.csv.WriteOptions(include_header=False, delimiter="\t")
        pyarrow.csv.write_csv(pa.table(columns), file, options)


def main() -> None:
    """Write a data set of a known shape, or of another one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("--output", type=Path, required=True, help="folder that the data set's own is made in")
    for name in ("users", "items", "interactions"):
        parser.add_argument(f"--{name}", type=int, help="in place of the shape's")
    arguments = parser.parse_args()
    known = SHAPES[arguments.shape]
    given = {name: getattr(arguments, name, None) or value for name, value in vars(known).items()}
    write_set(arguments.output / arguments.shape, Shape(**given))


if __name__ == "__main__":
    main()
