"""What a reader of the documentation has: files of a shop, data sets, vectors, models, a run and half of one."""

from __future__ import annotations

import csv
import shutil
import sqlite3
import subprocess
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from tests.docs.blocks import ROOT
from tests.extract.networks import audio_model, image_model

# Ids that pages have, in place of those of the generated set.
USERS = {"u0000": "17", "u0001": "42"}
ITEMS = {"i0000": "B00A2", "i0001": "B00X"}
_MMREC = {
    "configs/overall.yaml": "gpu_id: 0\nepochs: 1\nstopping_step: 20\ntopk: [10, 20]\nvalid_metric: Recall@20\n",
    "configs/model/FREEDOM.yaml": "embedding_size: 64\nfeat_embed_dim: 64\nknn_k: 10\nn_ui_layers: 2\n"
    "lambda_coeff: 0.9\nreg_weight: [0.0, 1e-05, 1e-04, 1e-03]\ndropout: [0.8, 0.9]\n"
    "hyper_parameters: ['dropout', 'reg_weight']\n",
}


def make_world(folder: Path, variables: Mapping[str, str]) -> None:
    """Write it to ``folder``, by commands of the package where it can."""

    def python(*arguments: str) -> None:
        command = ["python", "-m", "recbole_cadmr", *arguments]
        done = subprocess.run(command, cwd=folder, env=dict(variables), capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"

    shutil.copytree(ROOT / "dataset" / "synthetic", folder / "dataset" / "synthetic")  # as in a checkout
    python("generate", "--output", "dataset/songs", "--users", "240", "--items", "150")
    songs = folder / "dataset" / "songs"
    rows = pd.concat([_table(songs / f"songs.{part}.inter") for part in ("train", "valid", "test")])
    orders = pd.DataFrame(
        {
            "user_id": rows["user_id"].replace(USERS),
            "item_id": rows["item_id"].replace(ITEMS),
            "date": [f"2026-{1 + number % 12:02d}-{1 + number % 28:02d}" for number in range(len(rows))],
            "quantity": 1,
            "returned": 0,
        }
    ).assign(customer=lambda table: table["user_id"], product=lambda table: table["item_id"])
    orders["ordered_at"] = orders["date"]
    orders.to_csv(folder / "orders.csv", index=False)
    products = _table(songs / "songs.item")[["item_id", "title"]]
    products["item_id"] = products["item_id"].replace(ITEMS)
    products = products.assign(
        product=products["item_id"],
        name=products["title"],
        brand="Oak & Sons",
        description=products["title"] + " for every home",
        photo=products["item_id"] + ".jpg",
    )
    products.to_csv(folder / "products.csv", index=False)
    with sqlite3.connect(folder / "shop.db") as database:
        orders.to_sql("orders", database, index=False)
        products.to_sql("products", database, index=False)
    database.close()
    _write_media(folder, products["item_id"].tolist(), _table(songs / "songs.item")["item_id"].tolist())
    _write_models(folder / "models")
    _write_vectors(folder, products["item_id"].tolist())
    _write_mmrec(folder / "PATH" / "TO" / "baby", orders)
    for file, text in _MMREC.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text)

    python(
        *("prepare", "files", "--inter", "orders.csv", "--items", "products.csv", "--images", "pictures"),
        *("--text_columns", "name,brand,description", "--k_core", "1", "--name", "baby"),
    )
    for name in ("sports", "tiktok", "lfm2k", "clothing"):
        _copy_set(folder / "dataset", "baby", name)
    for name in ("songs", "baby", "sports", "tiktok", "lfm2k", "clothing"):
        (folder / "dataset" / f".given-{name}").touch()
    _write_lists(folder)
    python("train", "--dataset", "baby", "--preset", "best", "--output", "saved/CADMR-baby-20260102-090000")
    half = folder / "saved" / "CADMR-baby-20260101-090000"
    python("train", "--dataset", "baby", "--output", str(half))
    for file in ("result.json", "model.pt"):
        (half / file).unlink()


def _table(file: Path) -> pd.DataFrame:
    """An atomic file as texts, without the types in its header."""
    table = pd.read_csv(file, sep="\t", dtype=str, quoting=csv.QUOTE_NONE, keep_default_na=False)
    return table.rename(columns=lambda name: name.partition(":")[0])


def _write_media(folder: Path, items: list[str], songs: list[str]) -> None:
    import soundfile
    from PIL import Image

    source = np.random.default_rng(0)
    for place in ("pictures", "wav"):
        (folder / place).mkdir()
    for picture in (*(f"pictures/{item}.jpg" for item in items), "mirror.jpg", "mug.jpg"):
        Image.fromarray(source.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / picture)
    for song in songs:
        soundfile.write(folder / "wav" / f"{song}.wav", source.standard_normal(1600) / 10, 16_000)


def _write_models(folder: Path) -> None:
    made = folder / ".made"
    made.mkdir(parents=True)
    for place, name, make in (
        ("dinov2-small", "dinov2", image_model),
        ("clip-vit-base-patch32", "clip", image_model),
        ("wav2vec2-base", "wav2vec2", audio_model),
    ):
        make(name, made)[0].rename(folder / place)
    made.rmdir()


def _write_vectors(folder: Path, items: list[str]) -> None:
    vectors = np.random.default_rng(1).standard_normal((len(items), 6)).astype(np.float32)
    np.save(folder / "audio.npy", vectors)
    (folder / "ids.txt").write_text("\n".join([*items, ""]))
    pd.DataFrame({"item_id": items, "vector": list(vectors + 1)}).to_parquet(folder / "better.parquet")


def _write_mmrec(folder: Path, orders: pd.DataFrame) -> None:
    folder.mkdir(parents=True)
    users, items = (pd.factorize(orders[name])[0] for name in ("user_id", "item_id"))
    part = np.where(np.arange(len(orders)) % 5 > 2, np.arange(len(orders)) % 5 - 2, 0)
    table = pd.DataFrame({"userID": users, "itemID": items, "x_label": part})
    table.to_csv(folder / "baby.inter", sep="\t", index=False)
    for name, width in (("text", 5), ("image", 4)):
        drawn = np.random.default_rng(width).standard_normal((items.max() + 1, width))
        np.save(folder / f"{name}_feat.npy", drawn.astype(np.float32))


def _copy_set(folder: Path, name: str, other: str) -> None:
    shutil.copytree(folder / name, folder / other)
    for file in (folder / other).glob(f"{name}.*"):
        file.rename(folder / other / file.name.replace(name, other, 1))


def _write_lists(folder: Path) -> None:
    """Lists of another toolkit on the set baby: ten items each, of those that are not in a user's train part."""
    parts = {part: _table(folder / "dataset" / "baby" / f"baby.{part}.inter") for part in ("train", "valid", "test")}
    items = sorted(set(pd.concat(list(parts.values()))["item_id"]))
    known = parts["train"].groupby("user_id")["item_id"].agg(set)
    rows = [
        (user, item, 10 - place)
        for user in sorted(set(pd.concat(list(parts.values()))["user_id"]))
        for place, item in enumerate([item for item in items if item not in known.get(user, ())][:10])
    ]
    for file in ("FREEDOM-baby.csv", *(f"als-{seed}.csv" for seed in (1, 2, 3))):
        pd.DataFrame(rows, columns=["user_id", "item_id", "score"]).to_csv(folder / file, index=False)
