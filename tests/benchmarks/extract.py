"""A thousand titles through SBERT: this package's way side by side with a plain ``encode``, and the night after.

    python tests/benchmarks/extract.py [--titles 1000]

The model is all-MiniLM-L6-v2 as the test extra carries it; the goal on two cores is 8 s.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from recbole_cadmr.data.generate.draw import NOUNS, WORDS
from recbole_cadmr.extract.text import extract_text
from recbole_cadmr.extract.vector_store import VectorCache
from tests.extract.networks import minilm


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--titles", type=int, default=1000)
    n = parser.parse_args().titles
    from sentence_transformers import SentenceTransformer

    rng = np.random.default_rng(0)
    words = [word for row in WORDS for word in row] + list(NOUNS)
    titles = [" ".join(rng.choice(words, rng.integers(4, 20))) for _ in range(n)]
    model = SentenceTransformer(str(minilm()), device="cpu")
    model.encode(titles[:64])
    seconds = {}
    with tempfile.TemporaryDirectory() as folder:
        for way in ("plain", "ours", "plain, again", "ours, again", "ours, the next night"):
            start = time.perf_counter()
            if way.startswith("plain"):
                model.encode(titles, batch_size=64)
            else:
                texts = (
                    [*titles[n // 100 :], *(f"new {title}" for title in titles[: n // 100])]
                    if "night" in way
                    else titles
                )
                cache = VectorCache(Path(folder) / ("again" if way == "ours" else "cache"), 2**30)
                extract_text(texts, Path(folder) / "work", model=str(minilm()), device="cpu", cache=cache)
            seconds[way] = time.perf_counter() - start
    print(f"{n:,} titles of 4 to 19 words; the next night one in a hundred is new\n")
    for way, taken in seconds.items():
        note = " (with loading the model)" if way.startswith("ours") else ""
        print(f"{way + note:<46}{taken:>7.1f} s  {taken / seconds['plain']:>5.2f}")


if __name__ == "__main__":
    main()
