"""TwoDomainSASRec: what a state depends on, scores beside an independent computation, controls, no leak, whole runs."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from recbole.data.interaction import Interaction

from recbole_cadmr import load, train
from recbole_cadmr.cli.main import main
from recbole_cadmr.config.config import Config
from recbole_cadmr.data.prepare.cross_domain import add_arguments, run
from recbole_cadmr.errors import UserError
from recbole_cadmr.runs.evaluate import evaluate
from recbole_cadmr.runs.folder import scratch_folder
from recbole_cadmr.runs.session import Session, open_session
from recbole_cadmr.runs.topk_lists import read_lists
from recbole_cadmr.runs.train import resume
from recbole_cadmr.training.callbacks import TrainingCallback
from tests.cells import no_processes
from tests.cross_domain import write_source
from tests.models.conformance import Cut
from tests.models.test_devices import check_alike

SMALL = {
    "embedding_size": 8,
    "dropout": 0.0,
    "n_negatives": 20,
    "probe_users": 20,
    "epochs": 2,
    "eval_step": 1,
    "train_batch_size": 16,
    "learning_rate": 0.01,
    "topk": [5, 10],
    "show_progress": False,
}
GCA = {"gca_positions": "early", "gca_gate_start": 0.5}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("cross_domain")
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_arguments(parser)
    source = write_source(place / "source", days=8)
    run(parser.parse_args(["--source", str(source), "--name", "two", "--data_path", str(place / "dataset")]))
    return place / "dataset"


def opened(data: Path, model: str = "TwoDomainSASRec", **settings: object) -> Session:
    small = (
        SMALL if model == "TwoDomainSASRec" else {k: SMALL[k] for k in ("epochs", "eval_step", "topk", "show_progress")}
    )
    with scratch_folder() as scratch:
        return open_session(Config(model, "two", settings={**small, "data_path": str(data), **settings}), scratch)


@torch.no_grad()
def states(session: Session, items: torch.Tensor, users: torch.Tensor | None = None) -> torch.Tensor:
    """Merged and own states [B, L, 3 d] of sequences without padding."""
    merged, own = session.model.eval()(items, torch.full((len(items),), items.shape[1]), users)
    return torch.cat([merged, own["A"], own["B"]], dim=2)


def of_domain(session: Session, number: int, n: int) -> torch.Tensor:
    return (session.model.domain_of == number).nonzero()[:n, 0]


def mixed(session: Session) -> torch.Tensor:
    """A sequence A B B A A B."""
    a, b = of_domain(session, 1, 3), of_domain(session, 2, 3)
    return torch.stack([a[0], b[0], b[1], a[1], a[2], b[2]])[None]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        GCA,
        {**GCA, "gca_positions": "stack", "n_layers": 2, "gca_feed_forward": 2},
        {**GCA, "gca_source": "own"},
        {**GCA, "gca_source": "none"},
        {**GCA, "gca_project": "orthogonal"},
    ],
)
def test_a_state_depends_on_nothing_later(data, settings):
    session = opened(data, **settings)
    items = mixed(session)
    for place in range(1, 6):
        other = items.clone()
        other[0, place:] = of_domain(session, 2, 20)[10 : 16 - place]
        before, after = states(session, items)[0, :place], states(session, other)[0, :place]
        # Positions count from the end, so that the length stays.
        torch.testing.assert_close(before, after, atol=1e-6, rtol=0)
    assert not torch.allclose(states(session, items)[0, 5], states(session, other)[0, 5])


def own_state(session: Session, items: torch.Tensor, domain: str) -> torch.Tensor:
    size = session.model.item_embedding.embedding_dim
    at = {"merged": 0, "A": 1, "B": 2}[domain] * size
    return states(session, items)[0, :, at : at + size]


def test_streams_are_masks_over_the_merged_sequence(data):
    session = opened(data)
    items = mixed(session)
    other = items.clone()
    other[0, [1, 2]] = of_domain(session, 2, 9)[7:9]
    assert torch.equal(own_state(session, items, "A"), own_state(session, other, "A"))
    assert not torch.allclose(own_state(session, items, "B")[1:], own_state(session, other, "B")[1:])
    own = own_state(session, items, "A")  # A B B A A B: the last of its own items counts
    assert torch.equal(own[0], own[1]) and torch.equal(own[0], own[2]) and torch.equal(own[4], own[5])
    assert not own_state(session, items, "B")[0].any() and own_state(session, items, "B")[1].any()


def test_cross_attention_lets_streams_read_each_other(data):
    session = opened(data, **GCA)
    items = mixed(session)
    other = items.clone()
    other[0, 2] = of_domain(session, 2, 9)[8]
    before, after = own_state(session, items, "A"), own_state(session, other, "A")
    assert torch.equal(before[:3], after[:3])  # by its last item of A, which came before
    assert (before[3:] - after[3:]).abs().min(1).values.max() > 1e-7
    first = states(session, items[:, :1])  # a first item sees no key
    assert torch.isfinite(first).all()


def test_a_closed_gate_is_the_model_without_cross_attention(data):
    items = mixed(opened(data))
    without, closed = opened(data), opened(data, gca_positions="stack")
    closed.model.load_state_dict(without.model.state_dict(), strict=False)
    assert torch.equal(states(without, items), states(closed, items))


def test_controls_read_what_they_say(data):
    session = opened(data, **GCA, gca_source="own")
    items = mixed(session)
    other = items.clone()
    other[0, [1, 2]] = of_domain(session, 2, 9)[7:9]
    assert torch.equal(own_state(session, items, "A"), own_state(session, other, "A"))
    shuffled = opened(data, **GCA, gca_source="shuffled")
    partner = shuffled.model.partner
    assert sorted(partner[1:].tolist()) == list(range(1, 61)) and (partner[1:] != torch.arange(1, 61)).all()
    one, two = (states(shuffled, items, torch.tensor([user]))[..., 8:] for user in (1, 2))
    assert not torch.allclose(one, two)
    frozen = opened(data, **GCA, gca_frozen=True)
    learning = [name for name, p in frozen.model.exchange.named_parameters() if p.requires_grad]
    assert learning == ["0.A.gate_start", "0.B.gate_start"]
    n = {
        source: sum(p.numel() for p in opened(data, **GCA, gca_source=source).model.parameters())
        for source in ("other", "none")
    }
    assert n["other"] - n["none"] == 2 * 2 * 8  # the layer norm of the keys


def test_scores_are_products_with_the_states(data):
    session = opened(data, **GCA)
    batch = next(iter(session.valid_data))[0]
    with torch.no_grad():
        scores = session.model.eval().full_sort_predict(batch).numpy()
    vectors = session.model.item_embedding.weight.detach().numpy()
    for row in (0, 7):
        items = batch["item_id_list"][row][: batch["item_length"][row]][None]
        state = states(session, items)[0, -1].numpy().reshape(3, -1)
        for item in range(1, len(vectors)):
            expected = (state[0] + state[int(session.model.domain_of[item])]) @ vectors[item]
            assert scores[row, item] == pytest.approx(expected, abs=1e-5)
    pairs = Interaction({**batch.interaction, "item_id": torch.arange(len(batch)) % 50 + 1})
    with torch.no_grad():
        np.testing.assert_allclose(
            session.model.predict(pairs), scores[np.arange(len(batch)), pairs["item_id"]], atol=1e-6
        )


def test_the_loss_is_a_softmax_within_the_domain(data, monkeypatch):
    session = opened(data)
    model = session.model.train()
    drawn = {}

    def pick(high, size, device=None):
        return torch.arange(size[0]) % high

    monkeypatch.setattr(torch, "randint", pick)
    users = torch.tensor([3, 5])
    loss = model.calculate_loss(Interaction({"user_id": users})).item()
    vectors, losses = model.item_embedding.weight.detach().numpy(), []
    for name, number in (("A", 1), ("B", 2)):
        pool = getattr(model, f"pool_{name}").numpy()
        drawn[number] = pool[np.arange(20) % len(pool)]
    for user in users:
        items = model.train_items[user][: model.train_length[user] + 1]
        state = states(session, items[None, :-1])[0].numpy().reshape(len(items) - 1, 3, -1)
        for place, target in enumerate(items[1:].tolist()):
            number = int(model.domain_of[target])
            others = drawn[number][drawn[number] != target]
            x = state[place, 0] + state[place, number]
            logits = np.append(vectors[target] @ x, vectors[others] @ x)
            losses.append(np.log(np.exp(logits).sum()) - logits[0])
    assert loss == pytest.approx(np.mean(losses), rel=1e-4)


def test_positions_that_rank_are_those_that_learn(data):
    # A user is ranked by the state of the last item read, at position 0: that of the last target's input in training.
    session = opened(data, MAX_ITEM_LIST_LENGTH=5)
    model = session.model.train()
    users = torch.arange(1, session.dataset.user_num)
    model.calculate_loss(Interaction({"user_id": users})).backward()
    assert (model.position_embedding.weight.grad.abs().sum(1) > 0).all()


def test_a_domain_without_train_items_is_refused(data, tmp_path):
    shutil.copytree(data, tmp_path / "data")
    file = tmp_path / "data/two/two.train.inter"
    table = pd.read_csv(file, sep="\t", dtype=str)
    table[table["item_id:token"].astype(int) <= 40].to_csv(file, sep="\t", index=False)
    with pytest.raises(UserError, match="no train interaction of two is with an item of its domain B"):
        opened(tmp_path / "data")


def test_negatives_are_train_items(data):
    model = opened(data).model
    known = set(model.train_items.flatten().tolist()) - {0}
    assert set(model.pool_A.tolist()) | set(model.pool_B.tolist()) == known
    assert (model.domain_of[model.pool_A] == 1).all() and (model.domain_of[model.pool_B] == 2).all()


def changed_held_out(data: Path, folder: Path) -> Path:
    """A copy in which the held-out items are those of other users of the same part."""
    shutil.copytree(data, folder)
    for part in ("valid", "test"):
        file = folder / "two" / f"two.{part}.inter"
        table = pd.read_csv(file, sep="\t", dtype=str)
        table["item_id:token"] = np.roll(table["item_id:token"], 1)
        table.to_csv(file, sep="\t", index=False)
    return folder


def scores_by_token(session: Session) -> pd.DataFrame:
    """Scores of all users after training, by tokens, given their train histories."""
    session.trainer.fit(session.train_data, session.valid_data)
    users = torch.arange(1, session.dataset.user_num)
    model = session.model.eval()
    batch = {"user_id": users, "item_id_list": model.train_items[users], "item_length": model.train_length[users]}
    with torch.no_grad():
        scores = model.full_sort_predict(Interaction(batch))[:, 1:].numpy()
    tokens = [session.dataset.field2id_token[field][1:] for field in ("user_id", "item_id")]
    return pd.DataFrame(scores, *tokens).sort_index().sort_index(axis=1)


def test_held_out_items_have_no_part_in_training_or_scores(data, tmp_path):
    settings = {**GCA, "learning_rate_schedule": "constant"}
    one = scores_by_token(opened(data, **settings))
    other = scores_by_token(opened(changed_held_out(data, tmp_path / "changed"), **settings))
    assert len(one) == 60 and one.to_numpy().std() > 0
    pd.testing.assert_frame_equal(one, other, rtol=0, atol=0)


# What tests/models/conformance.py asks of models of other data


def test_the_same_seed_gives_the_same_model(data):
    settings = {**GCA, "dropout": 0.2}
    one, same, other = (scores_by_token(opened(data, **settings, seed=seed)) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one, same, rtol=0, atol=0)
    assert not np.allclose(one, other)


def test_every_parameter_gets_a_gradient(data):
    session = opened(data, **{**GCA, "gca_positions": "stack", "gca_feed_forward": 2}, train_batch_size=60)
    model = session.model.train()
    (batch,) = session.train_data
    model.calculate_loss(batch).backward()
    silent = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    # A softmax does not see what is added to all of its logits.
    assert silent <= {f"encoders.{s}.layer.0.multi_head_attention.key.bias" for s in ("merged", "A", "B")}


def test_a_cut_training_goes_on_as_if_it_had_not_been(data, tmp_path):
    settings = {**SMALL, **GCA, "dropout": 0.2, "epochs": 3, "data_path": str(data), "resume_step": 1}

    class Cutter(TrainingCallback):
        def on_epoch_start(self, trainer, epoch):
            if epoch == 2:
                raise Cut

    whole = train("TwoDomainSASRec", "two", output=tmp_path / "whole", settings=settings)
    with pytest.raises(Cut):
        train("TwoDomainSASRec", "two", output=tmp_path / "cut", settings=settings, callbacks=[Cutter()])
    cut = resume(tmp_path / "cut", data_path=data)

    def without_seconds(done):
        return [{name: value for name, value in entry.items() if name != "seconds"} for entry in done.result["history"]]

    assert without_seconds(cut) == without_seconds(whole) and len(without_seconds(cut)) == 3
    assert cut.result["test_result"] == whole.result["test_result"]


def test_a_brief_training_is_far_better_than_popularity(data):
    popular = opened(data, "Pop")
    popular.trainer.fit(popular.train_data, popular.valid_data)
    floor = popular.trainer.history[-1]["valid_result"]["ndcg_ab@10"]
    session = opened(data, **GCA, epochs=12, eval_step=4)
    session.trainer.fit(session.train_data, session.valid_data)
    assert max(entry["valid_score"] for entry in session.trainer.history) > 1.3 * floor > 0


def test_on_a_gpu_all_comes_to_what_the_cpu_has(data):
    brief = {**SMALL, **GCA, "gca_positions": "stack", "gca_source": "shuffled", "epochs": 1, "train_batch_size": 60}
    check_alike(lambda: Config("TwoDomainSASRec", "two", settings={**brief, "data_path": str(data)}))


def test_histories_of_the_parts(data):
    session = opened(data)
    parts = [loader._dataset for loader in (session.train_data, session.valid_data, session.test_data)]
    items_of = [dict(zip(p.inter_feat["user_id"].tolist(), p.inter_feat["item_id"].tolist())) for p in parts]
    valid, test = (loader.user_df for loader in (session.valid_data, session.test_data))
    for row, user in enumerate(test["user_id"].tolist()):
        length = int(test["item_length"][row])
        history = test["item_id_list"][row].tolist()
        assert history[length - 1] == items_of[1][user] and history[length:] == [0] * (50 - length)
        assert items_of[2][user] not in history
        assert history[: length - 1] == valid["item_id_list"][row].tolist()[: length - 1]
        assert int(valid["item_length"][row]) == length - 1


def test_a_run_its_lists_evaluation_and_recommendations(data, tmp_path):
    settings = {**SMALL, **GCA, "data_path": str(data), "save_lists": True}
    done = train("TwoDomainSASRec", "two", output=tmp_path / "run", settings=settings)
    entries = done.result["history"]
    for entry in entries:
        result = entry["valid_result"]
        assert entry["valid_score"] == result["ndcg_ab@10"]
        assert result["ndcg_ab@10"] == pytest.approx((result["ndcg_a@10"] + result["ndcg_b@10"]) / 2)
        figures = entry["diagnostics"]
        assert figures["isotropic"] == pytest.approx(np.sqrt(2 / (np.pi * 8)))
        for place in ("A0", "B0"):
            assert 0 < figures[f"abs_cos_{place}"] < 1 and 0 < figures[f"permuted_{place}"] < 1
            assert figures[f"untrained_gate_{place}"] == pytest.approx(np.tanh(0.5))
            assert figures[f"untrained_abs_cos_{place}"] == entries[0]["diagnostics"][f"untrained_abs_cos_{place}"]
            assert figures[f"gate_{place}"] != figures[f"untrained_gate_{place}"]
    assert done.result["protocol"]["candidates"] == "items of the target's domain"
    # Lists hold items of the held-out one's domain alone, and give the metrics.
    lists = read_lists(done.folder / "test_lists.npz")
    session = opened(data)
    domain = session.dataset.domains().numpy()
    target = domain[lists.held_item]
    assert (domain[lists.top] == target[:, None]).all() and set(target) == {1, 2}
    place = (lists.top == lists.held_item[:, None]).argmax(1)
    hit = (lists.top == lists.held_item[:, None]).any(1)
    value = np.where(hit, 1 / np.log2(place + 2), 0)
    for name, number in (("a", 1), ("b", 2)):
        assert done.result["test_result"][f"ndcg_{name}@10"] == pytest.approx(value[target == number].mean())
    again = evaluate(done.checkpoint, data_path=data, metrics=["NDCG", "NDCG_AB", "NDCG999_AB"], topk=[10])["result"]
    assert again["ndcg_ab@10"] == done.result["test_result"]["ndcg_ab@10"]
    # The domains have fewer than 999 others, so that all of them are drawn.
    assert again["ndcg999_ab@10"] == pytest.approx(again["ndcg_ab@10"], abs=1e-9)
    recommender = load(done.checkpoint, data_path=data)
    table = recommender.recommend(users=["3", "4"], topk=5, leave_out="train+valid")
    assert len(table) == 10
    user = session.dataset.field2token_id["user_id"]["3"]
    items = {session.dataset.field2token_id["item_id"][item] for item in table[table["user_id"] == "3"]["item_id"]}
    row = session.test_data.uid_list.tolist().index(user)
    assert not items & set(session.test_data.user_df["item_id_list"][row].tolist())
    told = recommender.recommend(users=["3"], topk=5, leave_out="train")
    assert not np.allclose(told["score"], table["score"][:5])  # the validation item is part of the history


@pytest.mark.parametrize("model", ["SASRec", "GRU4Rec", "BERT4Rec"])
def test_recboles_models_of_sequences(data, tmp_path, model):
    small = {"hidden_size": 8, "train_batch_size": 512, "MAX_ITEM_LIST_LENGTH": 20}
    small |= {"embedding_size": 8} if model == "GRU4Rec" else {"inner_size": 8, "n_layers": 1, "n_heads": 1}
    settings = {**small, "epochs": 1, "topk": [10], "show_progress": False, "data_path": str(data)}
    done = train(model, "two", output=tmp_path / "run", settings=settings)
    test = done.result["test_result"]
    assert test["ndcg_ab@10"] == pytest.approx((test["ndcg_a@10"] + test["ndcg_b@10"]) / 2) and test["ndcg@10"] > 0
    again = evaluate(done.checkpoint, data_path=data)["result"]
    assert again == test
    assert len(load(done.checkpoint, data_path=data).recommend(users=["1"], topk=3)) == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"domain_field": None, "metrics": ["NDCG"], "valid_metric": "NDCG@10"}, "needs a data set of two domains"),
        ({"n_heads": 3}, "n_heads 3 does not divide embedding_size 8"),
        (
            {"load_col": {"inter": ["user_id", "item_id"], "item": ["item_id", "domain"]}},
            "no column order of two is loaded",
        ),
        (
            {
                "TIME_FIELD": "timestamp",
                "load_col": {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id", "domain"]},
            },
            "have no order: their timestamp is equal",
        ),
        ({"load_col": {"inter": ["user_id", "item_id", "order"]}}, "no column domain:token of two.item is loaded"),
        ({"gca_gate": "relu"}, "gca_gate must be one of"),
        ({"domain_field": None}, "NDCG_A is of a data set of two domains"),
    ],
)
def test_bad_settings(data, settings, message):
    with pytest.raises(UserError, match=message):
        opened(data, **settings)


def test_a_benchmark_beside_models_without_an_order(tmp_path):
    models = ["--models", "TwoDomainSASRec,Pop", "--datasets", "two_domains", "--seeds", "1"]
    settings = ["--embedding_size=8", "--epochs=1", "--topk=[5,10]", "--threads=1"]
    with no_processes():
        assert main(["benchmark", *models, "--output", str(tmp_path / "out"), *settings]) == 0
    results = pd.read_csv(tmp_path / "out" / "results.csv", keep_default_na=False)
    of_all = results.set_index(["model", "figure"])["value"].astype(float)
    for model in ("TwoDomainSASRec", "Pop"):
        mean = (of_all[model, "ndcg_a@10"] + of_all[model, "ndcg_b@10"]) / 2
        assert of_all[model, "ndcg_ab@10"] == pytest.approx(mean) and mean > 0
    assert "| model | recall@10 | ndcg@10 | ndcg_a@10 | ndcg_b@10 |" in (tmp_path / "out" / "table.md").read_text()
