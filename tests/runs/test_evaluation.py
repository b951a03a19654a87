"""Figures agree with an independent computation, and no held-out interaction ever reaches a model."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction

import recbole_cadmr
from tests.micro import open_checkpoint
from tests.models.conformance import EMBEDDED, in_order_of_tokens
from tests.oracles.ranking import ranking_metrics


def parts_of(session):
    """Held-out and known items by user, read from the loaders' data sets without any of our loader code."""
    parts = []
    for loader in (session.train_data, session.valid_data, session.test_data):
        feat = loader._dataset.inter_feat
        items: dict[int, set[int]] = {}
        for user, item in zip(feat[loader._dataset.uid_field].tolist(), feat[loader._dataset.iid_field].tolist()):
            items.setdefault(user, set()).add(item)
        parts.append(items)
    return parts


def scores_of(session):
    users = torch.arange(session.dataset.user_num)
    with torch.no_grad():
        scores = session.model.full_sort_predict(Interaction({session.dataset.uid_field: users}))
    return scores.view(len(users), -1).double().numpy()


@pytest.mark.parametrize(("part", "mask_valid"), [("valid", False), ("test", False), ("test", True)])
def test_metrics_agree_with_thirty_lines_of_numpy(brief_run, part, mask_valid):
    result = recbole_cadmr.evaluate(
        brief_run.checkpoint,
        part=part,
        mask_valid_at_test=mask_valid,
        topk=[5, 20],
        metrics=["Recall", "NDCG", "MRR", "MAP", "Hit", "Precision"],
    )["result"]
    session = open_checkpoint(brief_run.checkpoint)
    train, valid, test = parts_of(session)
    held_out = valid if part == "valid" else test
    known = {user: train.get(user, set()) | (valid.get(user, set()) if mask_valid else set()) for user in held_out}
    expected = ranking_metrics(scores_of(session), known, held_out, [5, 20])
    assert result.keys() == expected.keys()
    for name, value in expected.items():
        assert result[name] == pytest.approx(value, abs=1e-6), name


def test_masking_validation_items_raises_test_recall(brief_run):
    without, masked = (
        recbole_cadmr.evaluate(
            brief_run.checkpoint, mask_valid_at_test=mask, metrics=["Recall"], topk=range(10, 780, 10)
        )
        for mask in (False, True)
    )
    gains = [masked["result"][name] - value for name, value in without["result"].items()]
    assert min(gains) >= 0 and max(gains) > 0  # the items above a held-out one can only become fewer
    assert (without["protocol"]["mask_valid_at_test"], masked["protocol"]["mask_valid_at_test"]) == (False, True)


def flip_held_out_items(folder):
    """A copy of the embedded set with every held-out item handed to another user; train rows stay as they are."""
    shutil.copytree(EMBEDDED, folder)
    for part in ("valid", "test"):
        file = folder / f"synthetic.{part}.inter"
        header, *lines = file.read_text().splitlines()
        users, items = zip(*(line.split("\t") for line in lines))
        flipped = [f"{user}\t{item}" for user, item in zip(np.roll(users, 7), items)]
        assert sum(a != b for a, b in zip(flipped, lines)) > 0.9 * len(lines)
        file.write_text("\n".join([header, *flipped]) + "\n")


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("CADMR", {"pretrain_epochs": 1, "epochs": 2, "gate_init": 0.5, "rows": "items"}),
        ("BPR", {"epochs": 2}),
        ("BPR", {"epochs": 2, "train_neg_sample_args": {"distribution": "popularity", "sample_num": 1}}),
        ("LightGCN", {"epochs": 2}),
        ("EASE", {}),
        ("LinearCADMR", {"fit": "sparse", "attention": "fused", "adaptive_fits": 1}),
    ],
)
def test_flipping_held_out_interactions_moves_no_score(tmp_path, model, settings):
    """The package's models are asked for the same in tests/models/conformance.py."""
    flip_held_out_items(tmp_path / "flipped" / "synthetic")
    scores = []
    for index, data_path in enumerate((EMBEDDED.parent, tmp_path / "flipped")):
        # One epoch of pre-training: which one is best may depend on validation, as it should.
        given = {**settings, "data_path": str(data_path), "show_progress": False, "stopping_step": 100, "eval_step": 1}
        run = recbole_cadmr.train(model, "synthetic", output=tmp_path / str(index), settings=given)
        session = open_checkpoint(run.checkpoint, data_path)
        if run.result["epochs_run"] > 1:
            session.trainer.load_model_state(recbole_cadmr_last(run))
        scores.append(in_order_of_tokens(session))
    assert np.array_equal(scores[0], scores[1]) and scores[0].std() > 0


def recbole_cadmr_last(run):
    """State at the start of the last epoch: later than any choice that validation could have made."""
    from recbole_cadmr.training.checkpoint import load_checkpoint

    return load_checkpoint(run.folder / "resume.pt")
