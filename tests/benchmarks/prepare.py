"""A generated raw set of Electronics size through ``prepare amazon``: seconds and peak memory.

    python tests/benchmarks/prepare.py [--reviews 1689188] [--items 63001]

The set is generated in the exact formats of the 2014 release (reviews, metadata of eight times as many items, image
features of twice as many); the goal on two cores is 10 minutes and 4 GB. Text vectors are left out: their time is that
of the text model, see ``extract.py``. Beside it, how long it takes just to read the raw files and to parse the reviews.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

MEASURE = """
import sys, time
from recbole_cadmr.cli.main import main
from recbole_cadmr.runs.result import peak_memory
source, data_path = sys.argv[1:]
before, start = peak_memory(), time.perf_counter()
status = main(["prepare", "amazon", "--category", "Electronics", "--source", source, "--data_path", data_path,
               "--text_model", "none"])
print(status, time.perf_counter() - start, peak_memory() / 2**20)
"""


def main() -> None:
    """Generate, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reviews", type=int, default=1_689_188)
    parser.add_argument("--items", type=int, default=63_001)
    sizes = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw"
        raw.mkdir()
        write_raw(raw, sizes.reviews, sizes.items)
        total = sum(path.stat().st_size for path in raw.iterdir())
        print(f"{sizes.reviews:,} reviews, {sizes.items:,} items, {total / 2**30:.1f} GiB of raw files (generated)\n")
        floor, parsed = read_everything(raw), parse_reviews(raw)
        command = [sys.executable, "-c", MEASURE, str(raw), str(Path(folder) / "dataset")]
        output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1]
        status, seconds, memory = map(float, output.split())
        print((Path(folder) / "dataset" / "electronics" / "dataset_card.md").read_text().partition("## Sources")[0])
        for label, value in (
            ("reading every byte of the raw files", floor),
            ("json.loads of every review", parsed),
            (f"prepare amazon, exit status {status:.0f}", seconds),
        ):
            print(f"{label:<40}{value:>8.1f} s  {value / seconds:>6.2f}")
        print(f"{'peak memory':<40}{memory:>8.0f} MiB")


def write_raw(folder: Path, n_reviews: int, n_items: int) -> None:
    """Users and items by a power law, each item at least five times; ids as the publisher has them."""
    rng = np.random.default_rng(0)
    n_users = n_reviews // 9
    users = np.concatenate([np.repeat(np.arange(n_users), 6), rng.integers(n_users, size=n_reviews - 6 * n_users)])
    weights = 1 / np.arange(10, n_items + 10) ** 0.7
    items = rng.choice(n_items, n_reviews, p=weights / weights.sum())
    text = "It works as it should and the battery lasts for days; I would buy it again. " * 7
    with gzip.open(folder / "reviews_Electronics_5.json.gz", "wt", compresslevel=1) as file:
        for number, (user, item) in enumerate(zip(users.tolist(), items.tolist())):
            stamp = 1_300_000_000 + number * 60
            record = {"reviewerID": f"A{user:013d}", "asin": f"B{item:09d}", "reviewerName": "Ann", "helpful": [0, 0],
                      "reviewText": text, "overall": 5.0, "summary": "good", "unixReviewTime": stamp}  # fmt: skip
            file.write(json.dumps(record) + "\n")
    with gzip.open(folder / "meta_Electronics.json.gz", "wt", compresslevel=1) as file:
        for item in range(8 * n_items):
            record = {"asin": f"B{item:09d}", "title": f"Device number {item}", "brand": "Brand", "description": text,
                      "related": {"also_bought": [f"B{(item + k) % n_items:09d}" for k in range(40)]},
                      "categories": [["Electronics", "Cables"]]}  # fmt: skip
            file.write(f"{record!r}\n")
    with open(folder / "image_features_Electronics.b", "wb") as file:
        for item in range(2 * n_items):
            file.write(f"B{item:09d}".encode() + rng.random(4096, dtype=np.float32).tobytes())


def read_everything(folder: Path) -> float:
    """Seconds to read the raw files."""
    start = time.perf_counter()
    for path in folder.iterdir():
        with open(path, "rb") as file:
            while file.read(1 << 20):
                pass
    return time.perf_counter() - start


def parse_reviews(folder: Path) -> float:
    """Seconds to unpack and parse the reviews with the standard library."""
    start = time.perf_counter()
    with gzip.open(folder / "reviews_Electronics_5.json.gz", "rb") as file:
        for line in file:
            json.loads(line)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
