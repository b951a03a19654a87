"""A data set that fits on a screen, for exact expectations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from recbole.data.interaction import Interaction

from recbole_cadmr.config.config import Config
from recbole_cadmr.runs.folder import scratch_folder
from recbole_cadmr.runs.session import Session, load_session, open_session

TRAIN = ["ann a", "ann b", "bob b", "bob c", "cid a", "cid c", "cid d", "dot d"]
VALID = ["ann c", "bob a"]
TEST = ["dot b", "dot c", "eve a"]  # eve has no train interaction
TEXT = {"a": [1.0, 0.0, 0.2], "b": [0.9, 0.1, 0.0], "c": [0.0, 1.0, 0.5], "d": [0.1, 0.8, 1.0], "e": [5.0, 5.0, 5.0]}
IMAGE = {"a": [1.0, 2.0], "c": [3.0, -1.0], "d": [0.0, 1.0]}  # b has no picture

# By id: (ann, a, c), (bob, b, d), (cid, d, b).
TRIPLES = Interaction(
    {"user_id": torch.tensor([1, 2, 3]), "item_id": torch.tensor([1, 2, 4]), "neg_item_id": torch.tensor([3, 4, 2])}
)

# A model of a few numbers: every test of the whole model runs in milliseconds.
SMALL = {
    "topk": [1, 2],
    "valid_metric": "Recall@2",
    "encoder_hidden_size": 6,
    "latent_size": 4,
    "fused_size": 4,
    "attention_size": 4,
    "n_heads": 2,
    "autoencoder_hidden_sizes": [5],
    "attention_neighbours": 2,
    "train_batch_size": 2,
    "show_progress": False,
}

PAIRS = {name: SMALL[name] for name in ("topk", "valid_metric", "show_progress")}


def train_matrix(train: list[str] = TRAIN) -> np.ndarray:
    """The train part as RecBole numbers it: users ann, bob, ... and items a, b, ... from 1 on, 0 for padding."""
    R = np.zeros((6, 5))
    for user, item in map(str.split, train):
        R[["ann", "bob", "cid", "dot", "eve"].index(user) + 1, "abcd".index(item) + 1] = 1
    return R


def write_micro(
    folder: Path,
    train: list[str] | None = None,
    text: dict[str, list[float]] | None = None,
    image: dict[str, list[float]] | None = None,
    modalities: str = "[text, image]",
    times: list[float] | None = None,
) -> Path:
    """Write the data set ``micro`` under ``folder`` and return ``folder``.

    Args:
        times: of the train part's rows; held-out ones are later.
    """
    place = folder / "micro"
    place.mkdir(parents=True)
    for part, rows in (("train", TRAIN if train is None else train), ("valid", VALID), ("test", TEST)):
        lines = ["user_id:token\titem_id:token", *(row.replace(" ", "\t") for row in rows)]
        if times is not None:
            own = times if part == "train" else [1000.0] * len(rows)
            lines = [f"{line}\t{time}" for line, time in zip(lines, ["order:float", *own])]
        (place / f"micro.{part}.inter").write_text("\n".join(lines) + "\n")
    for name, features in (("text", TEXT if text is None else text), ("image", IMAGE if image is None else image)):
        (place / f"micro.{name}").write_text("\n".join(["item_id:token", *features]) + "\n")
        np.save(place / f"micro.{name}.npy", np.array(list(features.values()), dtype=np.float32))
    ordered = "" if times is None else "TIME_FIELD: order\nload_col: {inter: [user_id, item_id, order]}\n"
    (place / "micro.yaml").write_text(f"benchmark_filename: [train, valid, test]\nmodalities: {modalities}\n{ordered}")
    return folder


def write_drawn(folder: Path, rows: list[str], header: str = "user_id:token item_id:token", yaml: str = "") -> Path:
    """Write ``rows`` as the data set ``drawn``, whose split is drawn, under ``folder`` and return ``folder``."""
    place = folder / "drawn"
    place.mkdir(parents=True, exist_ok=True)
    (place / "drawn.inter").write_text("\n".join([header, *rows, ""]).replace(" ", "\t"))
    (place / "drawn.yaml").write_text(yaml)
    return folder


def open_drawn(folder: Path, model: str = "BPR", **settings: object) -> Session:
    """A model on the set ``drawn``; what is logged can be caught."""
    small = {"topk": [1, 2], "valid_metric": "Recall@2", "show_progress": False, "data_path": str(folder)}
    return open_session(Config(model, "drawn", settings={**small, **settings}), folder / "run")


def tokens_of(session: Session) -> list[list[tuple[str, str]]]:
    """(user, item) of the train, validation and test part by token, in the order of their rows."""
    found = []
    for loader in (session.train_data, session.valid_data, session.test_data):
        part = loader._dataset
        columns = (part.id2token(field, part.inter_feat[field].numpy()) for field in (part.uid_field, part.iid_field))
        found.append(list(zip(*columns)))
    return found


def open_micro(folder: Path, model: str = "CADMR", **settings: object) -> Session:
    """A model on the micro set."""
    small = SMALL if model == "CADMR" else PAIRS
    config = Config(model, "micro", settings={**small, "data_path": str(folder), **settings})
    with scratch_folder() as scratch:
        return open_session(config, scratch)


def open_checkpoint(checkpoint: Path, data_path: Path | None = None) -> Session:
    """The session of a checkpoint."""
    with scratch_folder() as scratch:
        return load_session(checkpoint, scratch, data_path)
