"""Models that choose their own settings end below none of their controls by more than noise, on any kind of data."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import recbole_cadmr
from recbole_cadmr.cli.main import main
from recbole_cadmr.runs import topk_lists
from tests.micro import open_checkpoint

REAL = Path(os.environ.get("RECBOLE_CADMR_DATA", Path(__file__).parents[3] / "shared" / "data"))
QUIET = {"show_progress": False, "resume_step": 0, "threads": 1}
NOISE = 2.5  # standard errors of a paired difference


def write_world(folder: Path, seed: int, n_items_of_user: int, content: str, n_users: int = 500, n_items: int = 120):
    """People with tastes for groups of items, whose texts tell the groups, nothing, or what is not alike."""
    rng = np.random.default_rng(seed)
    groups = rng.permutation(n_items) % 8
    odds = rng.normal(0, 1.5, (n_users, 8))[:, groups] + rng.normal(0, 0.7, n_items)
    chosen = np.argsort(-odds + rng.gumbel(0, 1, odds.shape), axis=1)[:, :n_items_of_user]
    shown = {"useful": groups, "useless": rng.permutation(groups), "misleading": np.empty(n_items, dtype=int)}
    for group in range(8):  # a text is one of each group
        shown["misleading"][groups == group] = np.arange((groups == group).sum()) % 15
    text = np.eye(15, dtype=np.float32)[shown[content]] + rng.normal(0, 0.1, (n_items, 15)).astype(np.float32)
    folder = folder / "world"
    folder.mkdir(parents=True)
    held_out = [rng.permutation(items) for items in chosen]
    for part, places in (("train", slice(2, None)), ("valid", slice(0, 1)), ("test", slice(1, 2))):
        lines = [f"u{user}\ti{item}" for user, items in enumerate(held_out) for item in items[places]]
        (folder / f"world.{part}.inter").write_text("user_id:token\titem_id:token\n" + "\n".join(lines) + "\n")
    (folder / "world.text").write_text("item_id:token\n" + "".join(f"i{item}\n" for item in range(n_items)))
    np.save(folder / "world.text.npy", text)
    (folder / "world.yaml").write_text("benchmark_filename: [train, valid, test]\nmodalities: [text]\n")
    return folder.parent


def assert_above_controls(dataset, data_path, folder, best=None, linear=None):
    """Train on a data set and compare recall@20 and ndcg@20 on the test part, user by user."""
    models = {
        "best": ("CADMR", "best", best or {}),
        "LinearCADMR": ("LinearCADMR", None, linear or {}),
        "EASE": ("EASE", None, {}),
        "ItemKNN": ("ItemKNN", None, {}),
    }
    of = {}
    for name, (model, preset, own) in models.items():
        settings = {**QUIET, "data_path": str(data_path), **own}
        run = recbole_cadmr.train(model, dataset, preset=preset, output=folder / name, settings=settings)
        lists = topk_lists.rank_test(open_checkpoint(run.checkpoint), 20)[1]
        of[name] = topk_lists.by_user(lists, [20], ["recall", "ndcg"])
        print(f"{name}: " + ", ".join(f"{metric} {values.mean():.4f}" for metric, values in of[name].items()))
    for name, controls in (("best", ("LinearCADMR", "EASE", "ItemKNN")), ("LinearCADMR", ("EASE", "ItemKNN"))):
        for control in controls:
            own, other = of[name], of[control]
            gain = np.mean([(own[metric] - other[metric]) / max(other[metric].mean(), 1e-9) for metric in own], 0)
            error = gain.std() / np.sqrt(len(gain))
            assert gain.mean() >= -NOISE * error, (
                f"{name} is {gain.mean():.1%} above {control} on {dataset} (+- {error:.1%})"
            )


@pytest.mark.parametrize(
    ("n_items_of_user", "content"),
    [(6, "useful"), (6, "misleading"), (40, "useless")],
)
def test_of_a_generated_world(tmp_path, n_items_of_user, content):
    data_path = write_world(tmp_path / "data", 7, n_items_of_user, content)
    assert_above_controls("world", data_path, tmp_path)


def prepared(name: str, tmp_path: Path) -> Path:
    source = {"microlens": "microlens50k"}.get(name, name)
    if not (REAL / source).is_dir():
        pytest.skip(f"real data are not at {REAL / source}; name their folder in RECBOLE_CADMR_DATA")
    out = tmp_path / "data"
    options = ["--source", str(REAL / source), "--data_path", str(out)]
    assert main(["prepare", *(["microlens"] if name == "microlens" else ["mmrec"]), *options]) == 0
    return out


def test_of_a_real_set(tmp_path):
    linear = {"adaptive_fits": 4}
    best = {"attention_trials": 1, "linear_settings": linear}
    assert_above_controls("lfm2k", prepared("lfm2k", tmp_path), tmp_path, best, linear)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lfm2k", "tiktok", "baby", "microlens", "sports"])
def test_of_real_sets_with_all_fits_and_trainings(tmp_path, name):
    assert_above_controls(name, prepared(name, tmp_path), tmp_path)
