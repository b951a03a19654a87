"""Loaders yield what a plain loop, and RecBole's own loaders, would."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from recbole.data.dataloader import FullSortEvalDataLoader, TrainDataLoader
from recbole.sampler import Sampler

from recbole_cadmr.data.fingerprint import fingerprint
from recbole_cadmr.data.loaders import TripleLoader, eval_batch_size
from recbole_cadmr.data.rows import RatingRows, users_at_once
from recbole_cadmr.errors import UserError
from tests.micro import TRAIN, open_micro, write_micro

TRIPLE = ("user_id", "item_id", "neg_item_id")


def parts_of(session):
    return [data._dataset for data in (session.train_data, session.valid_data, session.test_data)]


def listing(loader):
    """Users with their known and held-out items, from the batches."""
    found = {}
    for users, (row, known), positive_row, positive in loader:
        for place, user in enumerate(users["user_id"].tolist()):
            found[user] = (set(known[row == place].tolist()), set(positive[positive_row == place].tolist()))
    return found


@pytest.mark.parametrize("mask_valid", [False, True])
def test_full_ranking_batches_are_those_of_recbole(tmp_path, mask_valid):
    session = open_micro(write_micro(tmp_path), mask_valid_at_test=mask_valid, eval_batch_size=10)
    train, valid, test = parts_of(session)
    for phase, ours in (("valid", session.valid_data), ("test", session.test_data)):
        parts = [train, valid, test] if mask_valid or phase == "valid" else [train, test]
        phases = ["train", "valid", "test"] if len(parts) == 3 else ["train", "test"]
        sampler = Sampler(phases, parts).set_phase(phase)
        theirs = FullSortEvalDataLoader(session.config, valid if phase == "valid" else test, sampler)
        assert listing(ours) == listing(theirs)
        assert len(ours) == len(theirs)


def test_row_batches_cover_the_users_who_have_something(tmp_path):
    session = open_micro(write_micro(tmp_path), train_batch_size=3)
    tokens = session.dataset.field2id_token["user_id"]
    batches = [batch["user_id"].tolist() for batch in session.train_data]
    assert [len(batch) for batch in batches] == [3, 1]
    assert {tokens[user] for batch in batches for user in batch} == {"ann", "bob", "cid", "dot"}
    again = [batch["user_id"].tolist() for batch in session.train_data]
    assert sorted(user for batch in again for user in batch) == sorted(user for batch in batches for user in batch)


def test_item_batches_leave_items_without_train_rows_out(tmp_path):
    train = [row for row in TRAIN if not row.endswith("b")]
    session = open_micro(write_micro(tmp_path, train=train), rows="items")
    tokens = session.dataset.field2id_token["item_id"]
    assert {tokens[i] for batch in session.train_data for i in batch["item_id"].tolist()} == {"a", "c", "d"}


def test_rows_of_a_sparse_matrix():
    generator = np.random.default_rng(0)
    dense = (generator.random((7, 5)) < 0.4).astype(np.float32)
    dense[2] = 0
    rows = RatingRows(sp.csr_matrix(dense))
    ids = torch.tensor([4, 2, 0, 4])
    assert np.array_equal(rows.dense(ids).numpy(), dense[[4, 2, 0, 4]])
    row, column = rows.entries(ids)
    assert sorted(zip(row.tolist(), column.tolist())) == sorted(
        zip(*(x.tolist() for x in dense[[4, 2, 0, 4]].nonzero()))
    )
    doubled = sp.csr_matrix((np.ones(3), ([0, 0, 1], [2, 2, 1])), shape=(2, 3))
    assert RatingRows(doubled).dense(torch.tensor([0, 1])).tolist() == [[0, 0, 1], [0, 1, 0]]


def test_the_sampler_knows_the_train_part_alone(tmp_path):
    session = open_micro(
        write_micro(tmp_path), "BPR", train_neg_sample_args={"distribution": "popularity", "sample_num": 1}
    )
    sampler = session.train_data._sampler
    assert sampler.datasets == [session.train_data._dataset]
    assert len(sampler._get_candidates_list()) == len(TRAIN)


def triples_of(loader):
    """Triples of one epoch by batch, in tokens."""
    users, items = (loader._dataset.field2id_token[field] for field in ("user_id", "item_id"))
    return [
        [(users[u], items[i], items[j]) for u, i, j in zip(*(batch[field].tolist() for field in TRIPLE))]
        for batch in loader
    ]


def flat(batches):
    return [triple for batch in batches for triple in batch]


def test_an_epoch_of_triples_has_every_interaction_once(tmp_path):
    loader = open_micro(write_micro(tmp_path), "BPR", train_batch_size=3).train_data
    epochs = [triples_of(loader) for _ in range(2)]
    for epoch in epochs:
        assert [len(batch) for batch in epoch] == [3, 3, 2] and len(loader) == 3
        assert sorted(f"{user} {item}" for user, item, _ in flat(epoch)) == sorted(TRAIN)
    assert [triple[:2] for triple in flat(epochs[0])] != [triple[:2] for triple in flat(epochs[1])]
    unshuffled = open_micro(tmp_path, "BPR", shuffle=False).train_data
    assert [f"{user} {item}" for user, item, _ in flat(triples_of(unshuffled))] == TRAIN


def test_negative_items_are_those_of_the_train_part_that_the_user_does_not_have(tmp_path):
    train = [row for row in TRAIN if not row.endswith(" c")]  # c is known from the other parts alone
    loader = open_micro(write_micro(tmp_path, train=train), "BPR").train_data
    drawn = {}
    for _ in range(50):
        for user, _, negative in flat(triples_of(loader)):
            drawn.setdefault(user, set()).add(negative)
    assert drawn == {"ann": {"d"}, "bob": {"a", "d"}, "cid": {"b"}, "dot": {"a", "b"}}


def test_negative_items_are_drawn_alike_whatever_their_popularity(tmp_path):
    loader = open_micro(write_micro(tmp_path, train=[*TRAIN, "eve a", "zoe a"]), "BPR").train_data
    ids = loader._dataset.field2token_id
    n = 30_000
    drawn = loader.negative_items(torch.full((n,), ids["user_id"]["dot"]))  # dot has d
    counts = torch.bincount(drawn, minlength=5)[[ids["item_id"][item] for item in "abc"]]
    chi_square = ((counts - n / 3).square() / (n / 3)).sum()
    assert counts.sum() == n and chi_square < 13.8  # of two degrees of freedom, passed once in a thousand


def test_the_seed_and_the_generator_fix_the_triples(tmp_path):
    folder = write_micro(tmp_path)
    one, same, other = (open_micro(folder, "BPR", train_batch_size=3, seed=seed).train_data for seed in (5, 5, 6))
    first = triples_of(one)
    state = one.generator.get_state()
    second = triples_of(one)
    torch.manual_seed(0)  # no other generator has a part in it
    assert [triples_of(same), triples_of(same)] == [first, second]
    assert triples_of(other) != first != second
    same.generator.set_state(state)
    assert triples_of(same) == second


@pytest.mark.parametrize("rows", [[*TRAIN, "cid b"], [*(row for row in TRAIN if row[-1] != "c"), "cid b"]])
def test_a_user_with_every_item_of_the_train_part_is_refused(tmp_path, rows):
    with pytest.raises(UserError, match="user .cid. has every item"):
        open_micro(write_micro(tmp_path, train=rows), "BPR")


@pytest.mark.parametrize(
    ("model", "sampling", "expected"),
    [
        ("BPR", {}, TripleLoader),
        ("VBPR", {}, TripleLoader),
        ("BPR", {"distribution": "popularity", "sample_num": 1}, TrainDataLoader),
        ("BPR", {"distribution": "uniform", "sample_num": 2}, TrainDataLoader),
        ("BPR", {"distribution": "uniform", "sample_num": 1, "dynamic": True, "candidate_num": 2}, TrainDataLoader),
        ("NeuMF", {}, TrainDataLoader),
    ],
)
def test_other_ways_to_sample_are_left_to_recbole(tmp_path, model, sampling, expected):
    settings = {"train_neg_sample_args": sampling} if sampling else {}
    loader = open_micro(write_micro(tmp_path), model, **settings).train_data
    assert type(loader) is expected


def test_evaluation_steps_follow_the_catalogue():
    assert eval_batch_size(None, 7051, ranks_all_items=True) // 7051 > 500
    assert eval_batch_size(None, 10**8, ranks_all_items=True) == 10**8
    assert [users_at_once(n) for n in (7051, 2**16, 500_000, 10**6, 10**8)] == [594, 64, 64, 33, 1]
    assert eval_batch_size(None, 10**8, ranks_all_items=False) == 2**15
    assert eval_batch_size(10, 7051, ranks_all_items=True) == 10


@pytest.mark.parametrize("model", ["BPR", "NeuMF"])
def test_preparing_loaders_leaves_the_settings_alone(tmp_path, model):
    session = open_micro(write_micro(tmp_path), model)
    assert session.config["eval_batch_size"] is None
    assert session.trainer.test_batch_size == eval_batch_size(None, 5, ranks_all_items=model == "BPR")


def test_repeated_interactions_count_once(tmp_path):
    folder = write_micro(tmp_path)
    once = listing(open_micro(folder).test_data)
    for part in ("train", "test"):
        with open(folder / "micro" / f"micro.{part}.inter", "a") as file:
            file.write("ann\ta\n" * 2 if part == "train" else "dot\tb\n" * 2)
    session = open_micro(folder)
    assert listing(session.test_data) == once
    batches = list(session.test_data)
    assert sum(len(positive) for *_, positive in batches) == 3  # as the three distinct test interactions


def test_a_split_without_train_interactions_is_refused(tmp_path):
    folder = write_micro(tmp_path)
    (folder / "micro" / "micro.train.inter").rename(folder / "micro" / "micro.inter")
    (folder / "micro" / "micro.yaml").write_text("modalities: [text, image]\n")
    with pytest.raises(UserError, match="without train interactions"):
        open_micro(folder, eval_args={"split": {"RS": [0.0, 0.5, 0.5]}, "group_by": "none", "mode": "full"})


def test_an_empty_part_is_an_empty_loader(tmp_path):
    folder = write_micro(tmp_path)
    (folder / "micro" / "micro.valid.inter").write_text("user_id:token\titem_id:token\n")
    session = open_micro(folder)
    assert len(session.valid_data) == 0 and not session.valid_data
    assert session.trainer.evaluate(session.valid_data, load_best_model=False) is None


def test_the_fingerprint_tells_data_apart(tmp_path):
    def mark(name, change=lambda place: None, **settings):
        folder = write_micro(tmp_path / name)
        change(folder / "micro")
        return fingerprint(*parts_of(open_micro(folder, **settings)))

    def append(part, row):
        def change(place):
            with open(place / f"micro.{part}.inter", "a") as file:
                file.write(row + "\n")

        return change

    def nudge(place):
        array = np.load(place / "micro.image.npy")
        array[0, 0] += 1e-3
        np.save(place / "micro.image.npy", array)

    first = mark("first")
    assert mark("second") == first
    assert mark("third", n_heads=1) == first
    for name, change in (("a", append("train", "dot\ta")), ("b", append("test", "dot\tb")), ("c", nudge)):
        other = mark(name, change)
        assert other["sha256"] != first["sha256"] and other["id_maps"] == first["id_maps"]
    assert mark("d", append("train", "zoe\ta"))["id_maps"] != first["id_maps"]
    assert first["counts"] == {"users": 5, "items": 4, "interactions": [8, 2, 3]}


@pytest.mark.parametrize("model", ["MultiVAE", "RecVAE", "CDAE"])
def test_an_autoencoder_gets_each_user_once_an_epoch(tmp_path, model):
    session = open_micro(write_micro(tmp_path), model)
    users = [user for batch in session.train_data for user in batch["user_id"].tolist()]
    assert sorted(users) == list(range(session.dataset.user_num))  # the padding user too, as in RecBole
