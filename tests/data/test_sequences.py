"""Histories in order: by hand, beside RecBole's own, and what has no order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from recbole.data.dataset import SequentialDataset

from recbole_cadmr.config.config import Config
from recbole_cadmr.data.loaders import PrefixLoader
from recbole_cadmr.data.sequences import Sequences
from recbole_cadmr.errors import UserError
from recbole_cadmr.runs.session import Session, open_session

TRAIN = ["ann a 0", "ann c 2", "ann b 1", "bob b 0", "bob d 1", "cid d 5"]  # out of order in the file
VALID = ["ann d 3", "bob a 2"]
TEST = ["ann e 4", "bob c 3", "dot a 0"]


def write(folder: Path, train=TRAIN, valid=VALID, test=TEST, more: str = "") -> Path:
    place = folder / "drawn"
    place.mkdir(parents=True)
    for part, rows in (("train", train), ("valid", valid), ("test", test)):
        lines = ["user_id:token item_id:token order:float", *rows]
        (place / f"drawn.{part}.inter").write_text("\n".join(lines).replace(" ", "\t") + "\n")
    columns = "load_col: {inter: [user_id, item_id, order]}\nTIME_FIELD: order\n"
    (place / "drawn.yaml").write_text(f"benchmark_filename: [train, valid, test]\n{columns}{more}")
    return folder


def opened(folder: Path, model: str = "SASRec", **settings: object) -> Session:
    small = {"topk": [2], "valid_metric": "Recall@2", "MAX_ITEM_LIST_LENGTH": 2, "train_batch_size": 10}
    return open_session(
        Config(model, "drawn", settings={**small, **settings, "data_path": str(folder)}), folder / "run"
    )


def tokens(session: Session, items: torch.Tensor) -> list[str]:
    names = session.dataset.field2id_token["item_id"]
    return ["".join(names[item] for item in row if item) for row in items.tolist()]


def test_histories_of_each_part(tmp_path):
    session = opened(write(tmp_path))
    people = session.dataset.field2id_token["user_id"]
    for loader, expected in (
        (session.valid_data, {"ann": "bc", "bob": "bd"}),
        (session.test_data, {"ann": "cd", "bob": "da", "dot": ""}),
    ):
        found = tokens(session, loader.user_df["item_id_list"])
        assert dict(zip((people[user] for user in loader.uid_list), found)) == expected
        assert loader.user_df["item_length"].tolist() == [max(len(text), 1) for text in found]


def test_prefixes_by_hand(tmp_path):
    session = opened(write(tmp_path), MAX_ITEM_LIST_LENGTH=3)
    (batch,) = session.train_data
    people = session.dataset.field2id_token["user_id"]
    rows = zip(
        (people[user] for user in batch["user_id"]),
        tokens(session, batch["item_id_list"]),
        batch["item_length"].tolist(),
        tokens(session, batch["item_id"][:, None]),
    )
    assert sorted(rows) == [("ann", "a", 1, "b"), ("ann", "ab", 2, "c"), ("bob", "b", 1, "d")]


def test_prefixes_are_those_of_recbole(tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        f"u{user} i{item} {place}" for user in range(30) for place, item in enumerate(rng.permutation(40)[: 1 + user])
    ]
    rng.shuffle(rows)
    session = opened(write(tmp_path, rows, [], []), MAX_ITEM_LIST_LENGTH=7, shuffle=False)
    theirs = session.train_data._dataset.copy(session.train_data._dataset.inter_feat)
    theirs.max_item_list_len, theirs.item_list_length_field = 7, "item_length"
    theirs._aug_presets = lambda: SequentialDataset._aug_presets(theirs)
    theirs.sort = lambda by, ascending: theirs.inter_feat.sort(by, ascending)
    SequentialDataset.data_augmentation(theirs)
    batches = list(session.train_data)
    assert isinstance(session.train_data, PrefixLoader) and len(theirs.inter_feat) == sum(range(30))
    for field in ("user_id", "item_id", "item_id_list", "item_length"):
        assert torch.equal(torch.cat([batch[field] for batch in batches]), theirs.inter_feat[field]), field


def test_long_histories_keep_their_end(tmp_path):
    session = opened(write(tmp_path))
    part = session.train_data._dataset
    for longest in (1, 2, 5):
        table = Sequences.of([part], longest)
        people = session.dataset.field2token_id["user_id"]
        assert tokens(session, table.items[[people["ann"], people["cid"], people["dot"]]]) == [
            "abc"[-longest:],
            "d",
            "",
        ]
        assert table.length[people["ann"]] == min(3, longest) and table.items.shape == (5, longest)


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        (
            {"train": [*TRAIN, "bob e 0"]},
            {},
            "1 of 8 steps of the users of drawn have no order: their order is equal in float32",
        ),
        ({"train": ["ann a 1400000000", "ann b 1400000050"]}, {}, "have no order"),
        ({"valid": ["ann d 0.5"]}, {}, "held-out interactions of drawn are earlier"),
        ({}, {"TIME_FIELD": "timestamp"}, "no column timestamp of drawn is loaded"),
        ({"train": ["ann a 0", "bob b 0"]}, {}, "no user of drawn has two train interactions"),
        ({}, {"loss_type": "BPR"}, "loss_type must be one of CE, not 'BPR'"),
        ({}, {"train_neg_sample_args": {"distribution": "uniform", "sample_num": 1}}, "SASRec is trained by a softmax"),
        ({}, {"MAX_ITEM_LIST_LENGTH": 1}, "MAX_ITEM_LIST_LENGTH must be at least 2"),
    ],
)
def test_bad_input(tmp_path, change, settings, message):
    with pytest.raises(UserError, match=message):
        opened(write(tmp_path, **change), **settings)


def test_other_models_have_no_histories(tmp_path):
    with pytest.raises(UserError, match="MAX_ITEM_LIST_LENGTH is not for use here: it is for models of sequences"):
        opened(write(tmp_path), "BPR")
