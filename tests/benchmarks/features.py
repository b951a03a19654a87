"""Reading features of Baby's shape: this package's ways side by side with RecBole's own, in one run.

    python tests/benchmarks/features.py [--items 7050] [--width 4480]

Each way runs in a process of its own; peak memory is beyond what the process needs for its imports.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

MEASURE = """
import sys, time
from recbole.data.dataset import Dataset
from recbole_cadmr.config.config import Config
from recbole_cadmr.data.dataset import MultimodalDataset
folder, name, way = sys.argv[1:]
settings = {"data_path": folder}
if way == "recbole":
    settings |= {"additional_feat_suffix": ["vector"], "alias_of_item_id": ["vid"], "preload_weight": {"vid": "vector"},
                 "load_col": {"inter": ["user_id", "item_id"], "vector": ["vid", "vector"]}}
config = Config("Pop", name, settings=settings)
from recbole_cadmr.runs.result import peak_memory
before, start = peak_memory(), time.perf_counter()
if way == "recbole":
    type("RecBoles", (Dataset,), {})(config)  # RecBole's own class makes one of ours of these settings
else:
    MultimodalDataset(config).modality("text")
print(time.perf_counter() - start, (peak_memory() - before) / 2**20)
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=7050)
    parser.add_argument("--width", type=int, default=4480)
    sizes = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_sets(Path(folder), sizes.items, sizes.width)
        print(f"{sizes.items} x {sizes.width} float32: {sizes.items * sizes.width * 4 / 2**20:.0f} MiB\n")
        print(f"{'way':<34}{'seconds':>9}{'MiB more':>10}")
        for name, way, label in (
            ("npy", "ours", "vectors beside the ids (.npy)"),
            ("inline", "ours", "inline text"),
            ("inline", "recbole", "RecBole's preload_weight"),
        ):
            command = [sys.executable, "-c", MEASURE, folder, name, way]
            seconds, more = map(
                float, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
            )
            print(f"{label:<34}{seconds:>9.2f}{more:>10.0f}")


def write_sets(folder: Path, n_items: int, width: int) -> None:
    """The same features as a data set with ``.npy`` and as one with inline text."""
    rows = np.random.default_rng(0).standard_normal((n_items, width)).astype(np.float32)
    ids = [f"i{item}" for item in range(n_items)]
    for name in ("npy", "inline"):
        (folder / name).mkdir()
        pairs = [f"u{item % 100}\t{token}" for item, token in enumerate(ids)]
        (folder / name / f"{name}.inter").write_text("\n".join(["user_id:token\titem_id:token", *pairs, ""]))
        (folder / name / f"{name}.yaml").write_text("modalities: [text]\n")
    (folder / "npy" / "npy.text").write_text("\n".join(["item_id:token", *ids, ""]))
    np.save(folder / "npy" / "npy.text.npy", rows)
    # RecBole wants other column names for the same content.
    for ending, header in (("text", "item_id:token\ttext:float_seq"), ("vector", "vid:token\tvector:float_seq")):
        with open(folder / "inline" / f"inline.{ending}", "w") as file:
            file.write(header + "\n")
            file.writelines(f"{token}\t{' '.join(map(str, row.tolist()))}\n" for token, row in zip(ids, rows))


if __name__ == "__main__":
    main()
