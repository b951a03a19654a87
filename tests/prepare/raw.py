"""Small raw files in the exact formats of their publishers."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np

# Every user has every one of five items, but for u5, who has five of six: a 5-core with a tail.
USERS = [f"A{number}" for number in range(5)]
ITEMS = [f"B{number:09d}" for number in range(5)]
TITLES = ["Soft baby blanket", "Warm infant quilt", "Steel screwdriver set", "Car engine oil", "Wooden toy train"]


def review(user: str, item: str, number: int) -> dict[str, object]:
    return {
        "reviewerID": user,
        "asin": item,
        "reviewerName": "Ann O'Nym",
        "helpful": [0, 0],
        "reviewText": 'said "good"\n',
        "overall": 5.0,
        "summary": "ok",
        "unixReviewTime": 1_400_000_000 + number * 86_400,
        "reviewTime": "05 13, 2014",
    }


def write_amazon_2014(folder: Path, extra_reviews: list[bytes] = (), extra_meta: list[bytes] = ()) -> Path:
    """Reviews of ``USERS`` on ``ITEMS``, metadata of all but the last item, image features of all but the first."""
    folder.mkdir(parents=True, exist_ok=True)
    reviews = [review(user, item, 5 * i + j) for i, user in enumerate(USERS) for j, item in enumerate(ITEMS)]
    lines = [json.dumps(entry).encode() for entry in reviews]
    (folder / "reviews_Baby_5.json.gz").write_bytes(gzip.compress(b"\n".join([*lines, *extra_reviews]) + b"\n"))
    meta = [
        repr(
            {
                "asin": item,
                "related": {"also_bought": ["X"]},
                "title": title,
                "price": 9.99,
                "salesRank": {"Baby": 1},
                "imUrl": "http://example.org/x.jpg",
                "brand": "O'Brand",
                "categories": [["Baby", "Home"], ["Baby"]],
                "description": "It's\tfine",
            }
        ).encode()
        for item, title in zip(ITEMS[:-1], TITLES)
    ]
    (folder / "meta_Baby.json.gz").write_bytes(gzip.compress(b"\n".join([*meta, *extra_meta]) + b"\n"))
    write_image_features(folder / "image_features_Baby.b", ITEMS[:0:-1])
    return folder


def vector_of(item: str) -> np.ndarray:
    return np.linspace(0, 1, 4096, dtype="<f4") * (1 + ITEMS.index(item) if item in ITEMS else -1)


def write_image_features(path: Path, items: list[str]) -> None:
    path.write_bytes(b"".join(item.encode() + vector_of(item).tobytes() for item in items))
