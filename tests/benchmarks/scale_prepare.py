"""Generated tables of several sizes through ``prepare files``, and what it takes to load the result for training.

    python tests/benchmarks/scale_prepare.py [--sizes 1000000 3000000 30000000] [--format csv] [--output DIR]

A size is a number of interactions, of which a few drawn twice fall away; users and items are in proportion (1M users,
500k items at 30M), or as given. Ids are texts, each interaction has a time, each item a title and a vector. Every step
is a process of its own, so that its peak memory is that of the step. Growth is how many times more than at the size
before, beside that of the interactions.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

sys.path.insert(0, str(Path(__file__).parent))
from generated import Shape, draw, write_features

PREPARE = """
from recbole_cadmr.cli.main import main
folder, suffix = sys.argv[1:]
given = ["--inter", f"{folder}/inter.{suffix}", "--items", f"{folder}/items.csv", "--time_column", "time"]
given += ["--vectors", f"text={folder}/text.npy", "--text_model", "none"]
status = main(["prepare", "files", *given, "--name", "d", "--data_path", f"{folder}/dataset"])
assert status == 0, status
"""
LOAD = """
from recbole_cadmr.config.config import Config
from recbole_cadmr.data.dataset import MultimodalDataset
from recbole_cadmr.data.fingerprint import fingerprint
from recbole_cadmr.data.loaders import prepare_loaders
config = Config("LinearCADMR", "d", settings={"data_path": f"{sys.argv[1]}/dataset"})
dataset = MultimodalDataset(config)
train, valid, test = prepare_loaders(config, dataset.build(), True, 2**23)
fingerprint(train.dataset, valid.dataset, test.dataset)
"""
MEASURE = """
import json, resource, sys, time
start = time.perf_counter()
{work}
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps([time.perf_counter() - start, used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20]))
"""


def main() -> None:
    """Generate, measure and print a row a size and step."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000_000, 3_000_000])
    parser.add_argument("--users", type=int, help="for every size (default: in proportion)")
    parser.add_argument("--items", type=int, help="for every size (default: in proportion)")
    parser.add_argument("--width", type=int, default=384, help="of the vectors")
    parser.add_argument("--format", choices=("csv", "parquet"), default="csv")
    parser.add_argument("--output", type=Path, help="folder for the table and its picture")
    parser.add_argument("--keep", type=Path, help="folder for what is generated (default: a temporary one)")
    given = parser.parse_args()
    rows: list[dict[str, float | str]] = []
    print("| step | interactions | seconds | CPU seconds | peak GiB | growth: interactions, CPU, memory |")
    print("|---|---|---|---|---|---|", flush=True)
    for size in sorted(given.sizes):
        shape = Shape(given.users or size // 30, given.items or size // 60, size)
        with tempfile.TemporaryDirectory() as temporary:
            folder = given.keep / str(size) if given.keep else Path(temporary)
            n = write_raw(folder, shape, given.width, given.format)
            for step, work, arguments in (("prepare", PREPARE, [given.format]), ("load", LOAD, [])):
                before = next((row for row in reversed(rows) if row["step"] == step), None)
                seconds, cpu, peak = measured(work, str(folder), *arguments)
                row = {"step": step, "interactions": n, "seconds": seconds, "cpu": cpu, "peak": peak}
                growth = [f"{row[of] / before[of]:.2f}" for of in ("interactions", "cpu", "peak")] if before else []
                print(f"| {step} | {n:,} | {seconds:.0f} | {cpu:.0f} | {peak:.2f} | {', '.join(growth)} |", flush=True)
                rows.append(row)
    if given.output:
        draw_growth(given.output, rows)


def write_raw(folder: Path, shape: Shape, width: int, suffix: str) -> int:
    """Interactions in the order of time, items and vectors; returns how many interactions."""
    folder.mkdir(parents=True, exist_ok=True)
    user, item = draw(shape)
    rng = np.random.default_rng(1)
    order = rng.permutation(len(user))
    times = np.sort(rng.integers(1_500_000_000, 1_650_000_000, len(user)))
    schema = pa.schema({"user_id": pa.string(), "item_id": pa.string(), "time": pa.int64()})
    path = folder / f"inter.{suffix}"
    writer = pa.parquet.ParquetWriter(path, schema) if suffix == "parquet" else pa.csv.CSVWriter(path, schema)
    with writer:
        for start in range(0, len(order), 2**20):
            rows = order[start : start + 2**20]
            columns = [ids("A", user[rows], 13), ids("B", item[rows], 9), pa.array(times[start : start + 2**20])]
            writer.write_table(pa.table(columns, schema=schema))
    items = np.arange(shape.items)
    titles = pc.binary_join_element_wise(pa.array(items).cast(pa.string()), "a title of some length", " ")
    pa.csv.write_csv(pa.table({"item_id": ids("B", items, 9), "title": titles}), folder / "items.csv")
    write_features(folder / "text.npy", shape.items, width)
    return len(user)


def ids(letter: str, numbers: np.ndarray, digits: int) -> pa.Array:
    """Texts such as ``A0000000000017``."""
    return pc.binary_join_element_wise(letter, pc.utf8_lpad(pa.array(numbers).cast(pa.string()), digits, "0"), "")


def measured(work: str, *arguments: str) -> tuple[float, float, float]:
    """Seconds, CPU seconds and GiB of the work in a process of its own."""
    command = [sys.executable, "-c", MEASURE.format(work=work), *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    seconds, cpu, peak = json.loads(done.stdout.splitlines()[-1])
    return seconds, cpu, peak


def draw_growth(folder: Path, rows: list[dict[str, float | str]]) -> None:
    """CPU seconds and memory by interactions, as ``scale_prepare.html``, and the rows as ``scale_prepare.json``."""
    import plotly.graph_objects as go

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scale_prepare.json").write_text(json.dumps(rows, indent=1))
    figure = go.Figure(layout={"xaxis": {"type": "log", "title": {"text": "interactions"}}, "yaxis": {"type": "log"}})
    for step in dict.fromkeys(row["step"] for row in rows):
        mine = [row for row in rows if row["step"] == step]
        for of, unit in (("cpu", "CPU seconds"), ("peak", "peak memory, GiB")):
            x, y = [row["interactions"] for row in mine], [row[of] for row in mine]
            figure.add_scatter(x=x, y=y, name=f"{step}: {unit}", mode="lines+markers")
    figure.write_html(folder / "scale_prepare.html", include_plotlyjs=True)


if __name__ == "__main__":
    main()
