"""TwoDomainSASRec: what a state depends on, scores and loss beside independent computations, controls."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from recbole.data.interaction import Interaction

from recbole_cadmr.errors import UserError
from recbole_cadmr.layers.alignment import alignment
from recbole_cadmr.runs.session import Session
from tests.models.two_domains import GCA, opened, write_two


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_two(tmp_path_factory.mktemp("cross_domain"))


@torch.no_grad()
def states(session: Session, items: torch.Tensor, users: torch.Tensor | None = None) -> torch.Tensor:
    """Merged and own states [B, L, 3 d] of sequences without padding."""
    merged, own = session.model.eval()(items, torch.full((len(items),), items.shape[1]), users)
    return torch.cat([merged, own["A"], own["B"]], dim=1).view(*items.shape, -1)


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


def test_the_probe_reads_what_validation_does(data):
    session = opened(data, **GCA, probe_users=1000)
    model = session.model.eval()
    batch = session.valid_data.user_df
    model._probed = {}
    with torch.no_grad():
        model(batch["item_id_list"], batch["item_length"], batch["user_id"])
    expected, model._probed = {place: alignment(*rows) for place, rows in model._probed.items()}, None
    figures = model.diagnostics()
    for place in ("A0", "B0"):
        assert figures[f"abs_cos_{place}"] == pytest.approx(expected[place]["abs_cos"], rel=1e-5)
        assert figures[f"norm_ratio_{place}"] == pytest.approx(expected[place]["norm_ratio"], rel=1e-5)


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
        ({"domain_field": None}, "NDCG_A needs a data set of two domains"),
        ({"gca_gate": "sigmoid"}, "settings: gca_gate has no effect where gca_positions is none; leave it out, or say"),
        ({"gca_positions": "none", "gca_feed_forward": 2}, "settings: gca_feed_forward has no effect"),
    ],
)
def test_bad_settings(data, settings, message):
    with pytest.raises(UserError, match=message):
        opened(data, **settings)
