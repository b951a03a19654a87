"""What LinearCADMR and the preset best are worth, part by part: real runs, whose figures are read from their files.

    python tests/benchmarks/accuracy.py ablation --dataset baby --output DIR
    python tests/benchmarks/accuracy.py sensitivity --dataset baby --model LinearCADMR --output DIR
    python tests/benchmarks/accuracy.py splits --dataset baby --output DIR --splits 3
    python tests/benchmarks/accuracy.py ensemble --dataset synthetic --output DIR

``ablation`` leaves parts out one at a time (``--groups adaptive``: what a run finds on validation; ``recbole``:
RecBole's models at its defaults; with ``--test`` beside paired tests over users), ``sensitivity``
moves one setting at a time and draws a picture of it in DIR, ``splits`` draws the held-out parts anew, and ``ensemble``
sets several seeds in one model beside the averaged scores of as many LightGCNs. The first two leave the test part
unread unless ``--test`` is given. What has been run is kept in DIR; the same command goes on.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

import recbole_cadmr
from recbole_cadmr.config.config import Config
from recbole_cadmr.reports.collect import read_results
from recbole_cadmr.reports.tables import markdown
from recbole_cadmr.runs.folder import scratch_folder
from recbole_cadmr.runs.session import Session, load_session

METRICS = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")
NO_CONTENT = {"content_scale": 0.0, "content_smoothing": 0.0, "linear_settings": {"attention": "none"}}
BARE = {"enhancement": 0.0, "output_smoothing": 0.0, "item_scaling": 0.0, "popularity_damping": 0.0}
# name: model, preset, settings
LINEAR = {
    "EASE (RecBole)": ("EASE", None, {}),
    "autoencoder, rows scaled": ("LinearCADMR", None, {**BARE, "attention": "none"}),
    "autoencoder + the same graph (control)": ("LinearCADMR", None, BARE),
    "LinearCADMR": ("LinearCADMR", None, {}),
    "LinearCADMR without enhancement": ("LinearCADMR", None, {"enhancement": 0.0}),
    "LinearCADMR without output smoothing": ("LinearCADMR", None, {"output_smoothing": 0.0}),
    "LinearCADMR without direct path": ("LinearCADMR", None, {"direct_path": 0.0}),
    "LinearCADMR without item scaling and damping": (
        "LinearCADMR",
        None,
        {"item_scaling": 0.0, "popularity_damping": 0.0},
    ),
    "LinearCADMR with two hops": ("LinearCADMR", None, {"two_hop": 0.3}),
}
BEST = {
    "best": ("CADMR", "best", {}),
    "best, attention alone": ("CADMR", "best", {"attention_weights": [1000.0]}),
    "best without content smoothing": ("CADMR", "best", {"content_smoothing": 0.0}),
    "best without features": ("CADMR", "best", {"content_scale": 0.0}),
    "best without co-occurrence": ("CADMR", "best", {"cooccurrence_smoothing": 0.0}),
    "best without any content": ("CADMR", "best", NO_CONTENT),
    "best, users alike": ("CADMR", "best", {"history_weight": 0.0}),
}
# What a run finds on validation, left out part by part.
FIXED_FORM = {"linear_settings": {"adaptive_fits": 1}}
ADAPTIVE = {
    "best": ("CADMR", "best", {"linear_settings": {}}),
    "best, one training": ("CADMR", "best", {"attention_trials": 1, "linear_settings": {}}),
    "best, one weight": ("CADMR", "best", {"attention_weights": [0.03], "linear_settings": {}}),
    "best, closed form by its defaults": ("CADMR", "best", FIXED_FORM),
    "best, nothing found": ("CADMR", "best", {**FIXED_FORM, "attention_trials": 1, "attention_weights": [0.03]}),
    "LinearCADMR": ("LinearCADMR", None, {"adaptive_fits": 8}),
    "LinearCADMR by its defaults": ("LinearCADMR", None, {"adaptive_fits": 1}),
}
RECBOLE = {
    name: (name, None, {})
    for name in ("Pop", "ItemKNN", "BPR", "LightGCN", "SGL", "MultiVAE", "RecVAE", "MacridVAE", "EASE", "SLIMElastic")
}
PAPER = {"paper": ("CADMR", "paper", {}), "content": ("CADMR", "content", {})}
SEEDLESS = ("LinearCADMR", "EASE", "Pop", "ItemKNN", "SLIMElastic")
RANGES: dict[str, dict[str, list[Any]]] = {
    "LinearCADMR": {
        "reg_weight": [30.0, 60.0, 116.0, 230.0, 460.0],
        "row_scaling": [0.0, 0.15, 0.25, 0.35],
        "item_scaling": [0.0, 0.1, 0.2, 0.3],
        "popularity_damping": [0.0, 0.05, 0.1, 0.2],
        "enhancement": [0.0, 0.5, 1.0, 1.5, 2.0, 3.0],
        "output_smoothing": [0.0, 0.15, 0.3, 0.6],
        "direct_path": [0.0, 0.02, 0.05, 0.1],
        "two_hop": [0.0, 0.15, 0.3, 0.6],
    },
    "CADMR": {
        "attention_size": [32, 64, 128, 256],
        "attention_temperature": [0.08, 0.1, 0.15, 0.2, 0.3],
        "held_out_share": [0.1, 0.3, 0.5, 0.7],
        "history_weight": [0.0, 0.5, 1.0],
        "content_smoothing": [0.0, 1.0, 2.0, 4.0],
        "cooccurrence_smoothing": [0.0, 0.5, 1.0],
        "content_scale": [0.0, 1.0, 2.0, 4.0],
        "embedding_scale": [0.01, 0.02, 0.05, 0.1],
    },
}


def run(
    folder: Path, dataset: str, variant: tuple[str, str | None, Mapping[str, Any]], keep: bool = False, **settings: Any
) -> dict[str, Any]:
    """The result of a run in ``folder``; run only if it is not there yet, and refused if it is that of another one."""
    model, preset, own = variant
    asked, kept = json.dumps([model, preset, dataset, {**own, **settings}], sort_keys=True), folder / "asked.json"
    if (folder / "result.json").is_file():
        if kept.read_text() != asked:
            raise SystemExit(f"{folder} holds a run of {kept.read_text()}, not of {asked}; choose another --output")
    else:
        shutil.rmtree(folder, ignore_errors=True)
        print(f"{folder.name} ...", flush=True)
        given = {"show_progress": False, "resume_step": 0, "state": "WARNING", **own, **settings}
        # Variants are compared by the default settings of the closed form, unless they are about those that it finds.
        if model == "LinearCADMR":
            given.setdefault("adaptive_fits", 1)
        elif preset == "best" and variant not in ADAPTIVE.values():
            given["linear_settings"] = {**given.get("linear_settings", {}), "adaptive_fits": 1}
        recbole_cadmr.train(model, dataset, preset=preset, output=folder, settings=given)
        kept.write_text(asked)
        for checkpoint in () if keep else folder.glob("*.pt"):
            checkpoint.unlink()
    return json.loads((folder / "result.json").read_text())


def name_of(text: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in text)


def figures(results: Iterable[Mapping[str, Any]], part: str) -> str:
    """Mean (and deviation) of the metrics over runs, as cells of a markdown table."""
    rows = [result["test_result" if part == "test" else "best_valid_result"] for result in results]
    cells = []
    for metric in METRICS:
        values = [row[metric] for row in rows]
        deviation = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
        cells.append(f"{statistics.mean(values):.4f}{deviation}")
    return " | ".join(cells)


def table(title: str, rows: Mapping[str, list[dict[str, Any]]], part: str) -> None:
    print(f"\n| {title}, {part} | seeds | {' | '.join(METRICS)} |\n{'|---' * (len(METRICS) + 2)}|")
    for name, results in rows.items():
        print(f"| {name} | {len(results)} | {figures(results, part)} |")


def ablation(arguments: argparse.Namespace) -> None:
    variants = {name: v for group in arguments.groups for name, v in globals()[group.upper()].items()}
    rows: dict[str, list[dict[str, Any]]] = {}
    folders = []
    for seed in range(arguments.seeds):
        for name, variant in variants.items():
            if seed and variant[0] in SEEDLESS:
                continue
            settings = {**arguments.settings, "seed": seed, "evaluate_test": arguments.test}
            settings["save_lists"] = arguments.test
            folders.append(arguments.output / f"{name_of(name)}-{seed}")
            rows.setdefault(name, []).append(run(folders[-1], arguments.dataset, variant, **settings))
    table(arguments.dataset, rows, "test" if arguments.test else "validation")
    if arguments.test:  # with paired tests
        print("\n" + markdown([read_results(folders)]))


def sensitivity(arguments: argparse.Namespace) -> None:
    preset = "best" if arguments.model == "CADMR" else None
    defaults = Config(arguments.model, arguments.dataset, settings={"preset": preset} if preset else {})
    curves = {}
    for setting, values in RANGES[arguments.model].items():
        points = {}
        for value in values:
            at_default = value == defaults[setting]
            folder = arguments.output / f"{arguments.model}-{'default' if at_default else f'{setting}-{value}'}"
            settings = {} if at_default else {setting: value}
            result = run(
                folder, arguments.dataset, (arguments.model, preset, settings), evaluate_test=False, seed=arguments.seed
            )
            points[value] = result["best_valid_result"]
        curves[setting] = points
        print(f"\n{setting} (default {defaults[setting]})")
        for value, found in points.items():
            print(f"  {value:<8} " + "  ".join(f"{metric} {found[metric]:.4f}" for metric in METRICS), flush=True)
    draw(curves, defaults, arguments.output / f"{arguments.model}-{arguments.dataset}.html")


def draw(curves: Mapping[str, Mapping[Any, Mapping[str, float]]], defaults: Any, path: Path) -> None:
    """One small picture a setting: validation recall@20 over its values, the default marked."""
    from plotly.subplots import make_subplots

    columns = 4
    rows = -(-len(curves) // columns)
    figure = make_subplots(rows, columns, subplot_titles=list(curves), shared_yaxes="all")
    for index, (setting, points) in enumerate(curves.items()):
        place = {"row": index // columns + 1, "col": index % columns + 1}
        sizes = [12 if value == defaults[setting] else 6 for value in points]
        scores = [point["recall@20"] for point in points.values()]
        figure.add_scatter(
            x=list(points), y=scores, mode="lines+markers", marker={"size": sizes}, line={"color": "#1f6feb"}, **place
        )
    figure.update_layout(showlegend=False, height=280 * rows, title="validation recall@20; large: the default")
    figure.write_html(path, include_plotlyjs=True)
    print(f"\npicture: {path}")


def splits(arguments: argparse.Namespace) -> None:
    source = Config(None, arguments.dataset)
    place = arguments.output / "data"
    folder, name = place / arguments.dataset, arguments.dataset
    if not folder.is_dir():
        shutil.copytree(source.data_folder, folder)
        parts = [folder / f"{name}.{part}.inter" for part in source["benchmark_filename"]]
        lines = [part.read_text().splitlines() for part in parts]
        rows = [row for part in lines for row in part[1:]]
        (folder / f"{name}.inter").write_text("\n".join([lines[0][0], *rows]) + "\n")
        for part in parts:
            part.unlink()
        kept = [line for line in (folder / f"{name}.yaml").read_text().splitlines() if "benchmark" not in line]
        (folder / f"{name}.yaml").write_text("\n".join(kept) + "\n")
    rows: dict[str, list[dict[str, Any]]] = {}
    for seed in range(arguments.splits):
        for title, variant in {"EASE": LINEAR["EASE (RecBole)"], "LinearCADMR": LINEAR["LinearCADMR"], **BEST}.items():
            if title in ("EASE", "LinearCADMR", "best"):
                given = {"data_path": str(place), "seed": seed, "mask_valid_at_test": False}
                rows.setdefault(title, []).append(run(arguments.output / f"{title}-{seed}", name, variant, **given))
    table(f"{name}, splits drawn anew: {arguments.splits}", rows, "test")


def ensemble(arguments: argparse.Namespace) -> None:
    rows = {"best, one": run(arguments.output / "one", arguments.dataset, ("CADMR", "best", {}))}
    together = ("CADMR", "best", {"ensemble_size": arguments.members})
    rows[f"best, ensemble of {arguments.members}"] = run(arguments.output / "ensemble", arguments.dataset, together)
    table(arguments.dataset, {name: [result] for name, result in rows.items()}, "test")
    sessions = []
    for seed in range(arguments.members):
        folder = arguments.output / f"LightGCN-{seed}"
        run(folder, arguments.dataset, ("LightGCN", None, {}), keep=True, seed=seed)
        with scratch_folder() as scratch:
            sessions.append(load_session(folder / "model.pt", scratch))
    for name, members in (("one", sessions[:1]), (f"ensemble of {arguments.members}", sessions)):
        print(f"| LightGCN, {name} | 1 | {averaged(members)} |")


@torch.no_grad()
def averaged(members: list[Session]) -> str:
    """Test metrics of the members' mean standardised scores, through RecBole's evaluator."""
    session = members[0]
    predictions: list[Callable[..., torch.Tensor]] = [member.model.full_sort_predict for member in members]

    def mean_scores(interaction: Any) -> torch.Tensor:
        scores = [predict(interaction).view(len(interaction), -1) for predict in predictions]
        return torch.stack([(s - s.mean(1, keepdim=True)) / s.std(1, keepdim=True) for s in scores]).mean(0)

    session.model.full_sort_predict = mean_scores
    result = session.trainer.evaluate(session.test_data, load_best_model=False)
    assert result is not None and np.isfinite(list(result.values())).all()
    return " | ".join(f"{result[metric]:.4f}" for metric in METRICS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for command in (ablation, sensitivity, splits, ensemble):
        child = commands.add_parser(command.__name__)
        child.set_defaults(command=command)
        child.add_argument("--dataset", default="synthetic")
        child.add_argument("--output", type=Path, required=True)
        if command is ablation:
            child.add_argument(
                "--groups",
                nargs="+",
                default=["linear", "best"],
                choices=["linear", "best", "adaptive", "paper", "recbole"],
            )
            child.add_argument("--seeds", type=int, default=1)
            child.add_argument("--test", action="store_true")
            child.add_argument("--settings", type=json.loads, default={}, help="settings of every run, as JSON")
        elif command is sensitivity:
            child.add_argument("--model", default="CADMR", choices=sorted(RANGES))
            child.add_argument("--seed", type=int, default=2020)
        elif command is splits:
            child.add_argument("--splits", type=int, default=3)
        else:
            child.add_argument("--members", type=int, default=3)
    arguments = parser.parse_args()
    arguments.output = arguments.output.absolute()
    arguments.output.mkdir(parents=True, exist_ok=True)
    arguments.command(arguments)


if __name__ == "__main__":
    main()
