"""Whole runs on generated data sets of growing size, as a user types them: seconds, CPU seconds, peak memory.

    python tests/benchmarks/scale.py [--shapes baby sports electronics] [--models LinearCADMR CADMR@best]
        [--lists 100000] [--threads 2] [--settings NAME=VALUE ...] --output DIR

Every run is a process of its own, with nothing kept from another one (nearest items, for example). ``--lists`` also
asks each model for the 50 best items of as many users, on the machine that trained it, which has kept those. What was
measured is kept in ``DIR/scale.jsonl`` and not measured again; the table and the picture show all of it. Growth is
linear where the exponent, of CPU seconds by interactions plus items times 20 neighbours, is at most 1.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from generated import SHAPES, write_set

COLUMNS = ["shape", "work", "s", "CPU s", "peak GiB", "exponent"]


def measured(command: list[str], log: Path, threads: int, cache: Path) -> dict[str, float]:
    """What a command takes, in a process of its own; its output goes into a file."""
    with open(log, "ab") as file:
        kept = {"XDG_CACHE_HOME": str(cache), "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "passive"}
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env={**os.environ, **kept})
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
    if status:
        raise SystemExit(f"{' '.join(command)} failed; see {log}")
    return {"s": seconds, "CPU s": used.ru_utime + used.ru_stime, "peak GiB": used.ru_maxrss / 2**20}


def work_of(name: str, model: str, folder: Path, given: argparse.Namespace) -> dict[str, list[str]]:
    """The commands that are measured, by name."""
    package, run = [sys.executable, "-m", "recbole_cadmr"], folder / f"{name}-{model}"
    named = [f"--{part}={value}" for part, value in zip(("model", "preset"), model.split("@"))]
    settings = [f"--{setting}" for setting in given.settings]
    quiet = [f"--threads={given.threads}", "--show_progress=False"]
    data = [f"--data_path={folder / 'data'}", f"--dataset={name}", f"--output={run}"]
    work = {f"{model}, whole run": [*package, "train", *named, *data, *quiet, *settings]}
    if given.lists:
        users = folder / "users.txt"
        users.write_text("".join(f"{user}\n" for user in range(min(given.lists, SHAPES[name].users))))
        lists = ["--checkpoint", str(run / "model.pt"), "--users", str(users), "--topk", "50"]
        work[f"{model}, lists of {given.lists:,}"] = [*package, "recommend", *lists, "--output", f"{run}.lists"]
    return work


def size(name: str) -> int:
    """What time and memory are held against."""
    return SHAPES[name].interactions + 20 * SHAPES[name].items


def with_growth(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows by size, each with the exponent of its CPU seconds since the size before."""
    ordered = sorted(rows, key=lambda row: (row["work"], size(row["shape"])))
    before: dict[str, dict[str, Any]] = {}
    for row in ordered:
        last = before.get(row["work"])
        if last:
            grown = math.log(size(row["shape"]) / size(last["shape"]))
            row["exponent"] = math.log(row["CPU s"] / last["CPU s"]) / grown
        before[row["work"]] = row
    return ordered


def show(rows: list[dict[str, Any]], folder: Path) -> None:
    """The table, printed and as ``scale.md``, and a picture, ``scale.html``."""
    from plotly import colors
    from plotly.subplots import make_subplots

    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    for row in rows:
        cells = (row.get(name, "") for name in COLUMNS)
        lines.append("| " + " | ".join(f"{c:,.2f}" if isinstance(c, float) else str(c) for c in cells) + " |")
    table = "\n".join(lines)
    print(table)
    (folder / "scale.md").write_text(table + "\n")
    figure = make_subplots(cols=2, subplot_titles=["CPU seconds", "peak memory, GiB"])
    for number, work in enumerate(dict.fromkeys(row["work"] for row in rows)):
        mine = [row for row in rows if row["work"] == work]
        x, color = [size(row["shape"]) for row in mine], colors.DEFAULT_PLOTLY_COLORS[number]
        for col, column in enumerate(("CPU s", "peak GiB"), 1):
            y, linear = [row[column] for row in mine], [mine[0][column] * at / x[0] for at in x]
            style = {"legendgroup": work, "col": col, "row": 1, "line": {"color": color}, "showlegend": col == 1}
            figure.add_scatter(x=x, y=y, name=work, mode="lines+markers", **style)
            dotted = {**style, "line": {"color": color, "dash": "dot"}}
            figure.add_scatter(x=x, y=linear, name="linear", mode="lines", **dotted)
    figure.update_xaxes(type="log", title={"text": "interactions + 20 x items"})
    figure.update_yaxes(type="log")
    figure.update_layout(height=420, legend={"orientation": "h", "y": -0.25})
    figure.write_html(folder / "scale.html", include_plotlyjs=True, div_id="growth")


def main() -> None:
    """Generate what is missing, measure what was not measured yet, and show all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=["baby", "sports", "electronics"])
    parser.add_argument("--models", nargs="+", default=["LinearCADMR"])
    parser.add_argument("--lists", type=int, help="users who get lists, too")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--settings", nargs="*", default=[], help="of the models, as NAME=VALUE")
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    folder: Path = given.output.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "scale.jsonl"
    rows = [json.loads(line) for line in kept.read_text().splitlines()] if kept.is_file() else []
    for name in given.shapes:
        if not (folder / "data" / name / f"{name}.yaml").is_file():
            write_set(folder / "data" / name, SHAPES[name])
        for model in given.models:
            cache, log = (folder / f"{name}-{model}.{ending}" for ending in ("cache", "log"))
            for work, command in work_of(name, model, folder, given).items():
                if all((row["shape"], row["work"]) != (name, work) for row in rows):
                    if "train" in command:
                        shutil.rmtree(cache, ignore_errors=True)
                    took = measured(command, log, given.threads, cache)
                    rows.append({"shape": name, "work": work, **took})
                    with open(kept, "a") as file:
                        file.write(json.dumps(rows[-1]) + "\n")
    show(with_growth(rows), folder)


if __name__ == "__main__":
    main()
