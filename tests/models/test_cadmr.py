"""CADMR as a whole, on a data set of four users and four items."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction
from torch.nn import functional as F

from recbole_cadmr.data.rows import RowBatch
from recbole_cadmr.errors import UserError
from recbole_cadmr.models import cadmr
from tests.micro import IMAGE, TEXT, TRAIN, open_micro, write_micro

USERS = torch.arange(6)  # padding, ann, bob, cid, dot, eve
VARIANTS = [
    {},
    {"attention": "item"},
    {"attention": "both"},
    {"attention": "both", "attention_project": "orthogonal"},
    {"attention_project": "parallel"},
    {"attention": "none"},
    {"rows": "items"},
    {"rows": "items", "attention": "item"},
    {"fusion": "gated", "missing_modality": "learned", "gate": "sigmoid"},
    {"fusion": "sum", "residual": False, "gate": "none"},
    {"objective": "multinomial", "tc_scope": "both", "tc_estimator": "covariance"},
    {"tc_estimator": "discriminator", "tc_scope": "across"},
    {"modalities": ["text"], "autoencoder_hidden_sizes": [6, 3]},
]
BATCHES = {
    "users": Interaction({"user_id": torch.tensor([1, 3])}),
    "items": Interaction({"item_id": torch.tensor([1, 3])}),
}


@pytest.fixture
def micro(tmp_path):
    return write_micro(tmp_path)


def model_of(micro, **settings):
    session = open_micro(micro, **settings)
    return session.model.eval()


def scores_of(model):
    with torch.no_grad():
        return model.full_sort_predict(Interaction({"user_id": USERS}))


def training_matrix(model):
    """R [users, items] from the file's rows, with RecBole's ids in order of appearance."""
    R = torch.zeros(5, 4)
    users, items = ["ann", "bob", "cid", "dot", "eve"], ["a", "b", "c", "d"]
    for row in TRAIN:
        user, item = row.split()
        R[users.index(user), items.index(item)] = 1
    return R


def test_scores_of_the_cross_attention_agree_with_the_formula(micro):
    model = model_of(micro, gate_init=0.7)
    model.set_phase("finetune")
    R = training_matrix(model)
    with torch.no_grad():
        Z = model.fusion([encoder() for encoder in model.encoders])
        Q, K, V = R @ model.attention.W_Q.weight.T, Z @ model.attention.W_K.weight.T, Z @ model.attention.W_V.weight.T
        heads = [(Q[:, s] @ K[:, s].T / 2**0.5).softmax(1) @ V[:, s] for s in (slice(0, 2), slice(2, 4))]
        enhanced = R + np.tanh(0.7) * (torch.cat(heads, 1) @ model.attention.W_O.weight.T)
        expected = model.autoencoder(enhanced)
    scores = scores_of(model)
    assert torch.allclose(scores[1:, 1:], expected, atol=1e-6)
    assert torch.equal(scores[:, 0], torch.zeros(6))


def test_item_rows_agree_with_the_formula(micro):
    model = model_of(micro, rows="items", gate_init=0.7)
    model.set_phase("finetune")
    rows = training_matrix(model).T
    with torch.no_grad():
        Z = model.fusion([encoder() for encoder in model.encoders])
        row, column = rows.nonzero(as_tuple=True)
        output = model.attention(RowBatch(row, column, rows[row, column], 4, 5), model.attention.content(Z))
        expected = model.autoencoder(rows + np.tanh(0.7) * output).T
    assert torch.allclose(scores_of(model)[1:, 1:], expected, atol=1e-6)


def test_item_rows_attend_to_the_rows_of_similar_items(micro):
    model = model_of(micro, rows="items", attention="item", gate_init=0.7)
    model.set_phase("finetune")
    rows = training_matrix(model).T
    with torch.no_grad():
        weights = model.attention.content(model.fusion([encoder() for encoder in model.encoders]))
        A = torch.zeros(4, 4)
        for i, near in enumerate(model.attention.candidates.tolist()):
            for place, j in enumerate(near):
                if j >= 0:
                    A[i, j] = weights[i, place]
        expected = model.autoencoder(rows + np.tanh(0.7) * (A @ rows)).T
    assert torch.allclose(scores_of(model)[1:, 1:], expected, atol=1e-6)


@pytest.mark.parametrize(("objective", "reduction"), [("squared", "sum"), ("squared", "mean"), ("multinomial", "sum")])
def test_losses_agree_with_their_definitions(micro, objective, reduction):
    model = model_of(micro, objective=objective, loss_reduction=reduction, positive_weight=3.0)
    R = training_matrix(model)[[0, 2]]
    with torch.no_grad():
        (loss,) = model.calculate_loss(BATCHES["users"])
        y = model.autoencoder(R)
    if objective == "squared":
        squared = (y - R).square() * torch.where(R > 0, 3.0, 1.0)
        expected = squared.sum(1).mean() if reduction == "sum" else squared.mean()
    else:
        expected = -(y.log_softmax(1) * R).sum(1).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert model.loss_names == ("reconstruction",)


def test_fine_tuning_starts_exactly_at_the_pretrained_model(micro):
    for attention in ("cross", "item", "both"):
        model = model_of(micro, attention=attention)
        before = scores_of(model)
        model.set_phase("finetune")
        assert torch.equal(scores_of(model), before)
        other = model_of(micro, attention=attention, gate_init=0.5)
        before = scores_of(other)
        other.set_phase("finetune")
        assert not torch.allclose(scores_of(other), before, atol=1e-4)


@pytest.mark.parametrize("settings", VARIANTS)
@pytest.mark.parametrize("phase", ["pretrain", "finetune"])
def test_gradients_reach_what_the_phase_trains_and_nothing_else(micro, settings, phase):
    session = open_micro(micro, **{"gate_init": 0.5, "row_dropout_prob": 0.0, **settings})
    model = session.model.train()
    model.set_phase(phase)
    torch.manual_seed(1)
    for _ in range(5):  # a ReLU may be silent for one draw of the dropout
        sum(model.calculate_loss(BATCHES[settings.get("rows", "users")])).backward()
    trained = {id(parameter) for parameter in model.phase_parameters()}
    for name, parameter in model.named_parameters():
        reached = parameter.grad is not None and parameter.grad.abs().sum() > 0
        assert reached == (id(parameter) in trained), name


def test_a_frozen_autoencoder_stays_what_it_was(micro):
    model = model_of(micro, autoencoder_finetune="frozen", gate_init=0.5).train()
    model.set_phase("finetune")
    sum(model.calculate_loss(BATCHES["users"])).backward()
    assert all(parameter.grad is None for parameter in model.autoencoder.parameters())
    assert not {id(p) for p in model.autoencoder.parameters()} & {id(p) for p in model.phase_parameters()}


def test_the_row_is_corrupted_once(micro):
    """With every rating dropped, nothing of the row may reach query, residual or autoencoder."""
    model = model_of(micro, gate_init=0.5, row_dropout_prob=0.999, dropout_prob=0.0, attention_dropout_prob=0.0).train()
    model.set_phase("finetune")
    outputs = []
    inner = model.autoencoder.forward
    model.autoencoder.forward = lambda rows: outputs.append(rows.detach()) or inner(rows)
    for user in (1, 3):
        model.calculate_loss(Interaction({"user_id": torch.tensor([user])}))
    assert torch.equal(outputs[0], outputs[1])


@pytest.mark.parametrize("settings", VARIANTS)
def test_pairs_get_the_scores_of_the_full_ranking(micro, settings):
    model = model_of(micro, **{"gate_init": 0.5, **settings})
    model.set_phase("finetune")
    scores = scores_of(model)
    users, items = torch.tensor([3, 1, 3, 5, 2]), torch.tensor([1, 4, 2, 3, 4])
    with torch.no_grad():
        pairs = model.predict(Interaction({"user_id": users, "item_id": items}))
    assert torch.allclose(pairs, scores[users, items], atol=1e-6)


@pytest.mark.parametrize("settings", [{}, {"rows": "items"}])
def test_blocks_of_users_and_items_change_no_score(micro, settings, monkeypatch):
    model = model_of(micro, gate_init=0.5, **settings)
    model.set_phase("finetune")
    whole = scores_of(model)
    monkeypatch.setattr(cadmr, "_BLOCK", 2)
    model.eval()  # forgets what was kept of the whole
    users, items = torch.tensor([5, 1, 4, 3, 1, 2, 5]), torch.tensor([1, 4, 2, 3, 1, 4, 2])
    with torch.no_grad():
        pairs = model.predict(Interaction({"user_id": users, "item_id": items}))
    assert torch.allclose(pairs, whole[users, items], atol=1e-6)


@pytest.mark.parametrize("attention", ["cross", "item"])
@pytest.mark.parametrize("rows", ["users", "items"])
def test_the_padding_item_has_no_influence(micro, attention, rows):
    session = open_micro(micro, attention=attention, rows=rows, gate_init=0.5)
    model, dataset = session.model.eval(), session.train_data._dataset
    for modality in dataset.modalities().values():
        modality.features[0] = 1e3
    other = type(model)(session.config, dataset).eval()
    other.load_state_dict(model.state_dict())
    assert all(m.features[0, 0] == 1e3 for m in dataset.modalities().values())
    for each in (model, other):
        each.set_phase("finetune")
    assert torch.equal(scores_of(other), scores_of(model))


@pytest.mark.parametrize("attention", ["cross", "item", "both", "none"])
def test_a_history_is_scored_as_the_user_who_has_it(micro, attention):
    model = model_of(micro, attention=attention, gate_init=0.5)
    model.set_phase("finetune")
    rows = torch.zeros(6, 5)
    rows[1:, 1:] = training_matrix(model)
    with torch.no_grad():
        assert torch.allclose(model.score_rows(rows), scores_of(model), atol=1e-6)


def test_items_as_rows_know_no_strangers(micro):
    with pytest.raises(UserError, match="rows=items"):
        model_of(micro, rows="items").score_rows(torch.zeros(1, 5))


@pytest.mark.parametrize("attention", ["cross", "item"])
def test_permuting_items_permutes_scores(tmp_path, attention):
    """The same parameters on the same data with items in another order give the same scores in that order."""
    straight = model_of(write_micro(tmp_path / "one"), attention=attention, gate_init=0.5)
    order = ["dot d", "cid d", "cid c", "bob c", "bob b", "ann b", "ann a", "cid a"]  # items appear as d, c, b, a
    users = ["dot", "cid", "bob", "ann", "eve"]
    turned = model_of(write_micro(tmp_path / "two", train=order), attention=attention, gate_init=0.5)
    item = torch.tensor([3, 2, 1, 0])  # item of the turned set -> place in the straight one
    state = straight.state_dict()
    for name in ("autoencoder.encoder.0.weight", "attention.W_Q.weight"):
        if state[name].shape[1] == 4 and not (attention == "item" and name.startswith("attention")):
            state[name] = state[name][:, item]
    for name in ("autoencoder.output.weight", "autoencoder.output.bias", "attention.W_O.weight"):
        if name in state:
            state[name] = state[name][item]
    turned.load_state_dict(state)
    for model in (straight, turned):
        model.set_phase("finetune")
    user = torch.tensor([["ann", "bob", "cid", "dot", "eve"].index(name) for name in users])
    assert torch.allclose(scores_of(turned)[1:, 1:], scores_of(straight)[1:, 1:][user][:, item], atol=1e-5)


def test_evaluation_caches_are_forgotten_when_the_model_changes(micro):
    model = model_of(micro, gate_init=0.5)
    model.set_phase("finetune")
    before = scores_of(model)
    state = {
        name: tensor + 0.1 if tensor.is_floating_point() else tensor for name, tensor in model.state_dict().items()
    }
    model.load_state_dict(state)
    changed = scores_of(model)
    fresh = model_of(micro, gate_init=0.5)
    fresh.load_state_dict(state)
    assert torch.equal(changed, scores_of(fresh)) and not torch.allclose(changed, before)
    model.train()
    optimiser = torch.optim.Adam(model.phase_parameters(), 0.1, fused=True)
    sum(model.calculate_loss(BATCHES["users"])).backward()
    optimiser.step()
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(scores_of(model.eval()), scores_of(fresh.eval()))


def test_the_total_correlation_leaves_items_without_the_modality_out(tmp_path):
    """The vectors that stand where a picture is missing must not matter."""
    values = []
    for index, extra in enumerate(([9.0, 9.0, 9.0], [0.0, 0.0, 1.0])):
        model = model_of(write_micro(tmp_path / str(index), text={**TEXT, "e": extra}), tc_scope="both")
        values.append(model.diagnostics())
        assert model.present.tolist() == [[True] * 4, [True, False, True, True]]
    assert values[0] == pytest.approx(values[1], nan_ok=True)


def test_modalities_that_share_no_item(tmp_path):
    """Nothing lies across them: the penalty is that within each, and the discriminator has nothing to compare."""
    apart = {"text": {item: TEXT[item] for item in "ab"}, "image": {item: IMAGE[item] for item in "cd"}}
    folder = write_micro(tmp_path, **apart)
    losses = {}
    for scope in ("within", "across", "both"):
        model = model_of(folder, tc_scope=scope, gate_init=0.5, seed=3)
        model.set_phase("finetune")
        losses[scope] = model.calculate_loss(BATCHES["users"])[1].item()
        assert np.isnan(model.diagnostics()["tc/across"])
    assert losses["across"] == 0 and losses["both"] == pytest.approx(losses["within"])
    with pytest.raises(UserError, match="fewer than two"):
        model_of(folder, tc_estimator="discriminator")


def test_diagnostics_change_nothing(micro):
    model = model_of(micro, gate_init=0.5).train()
    torch.manual_seed(0)
    state = torch.get_rng_state()
    values = model.diagnostics()
    assert model.training and torch.equal(torch.get_rng_state(), state)
    assert values["gate"] == pytest.approx(np.tanh(0.5), abs=1e-6)
    assert values["cos/row_chance"] == pytest.approx(4 / (3 * np.pi))  # on a sphere in four dimensions
    assert 0 <= values["cos/row"] <= 1 and 0 <= values["cos/head"] <= 1
    batch = model.eval().rating_rows.batch(torch.arange(1, model.rating_rows.n_rows))
    with torch.no_grad():
        found = model.attention(batch, model.attention.content(model.fusion(model._latents()))).double().numpy()
    rows = batch.dense.double().numpy()
    cos = [
        abs(x @ y) / np.linalg.norm(x) / np.linalg.norm(y)
        for i, x in enumerate(rows)
        for j, y in enumerate(found)
        if i != j and x.any() and rows[j].any() and found[i].any() and y.any()
    ]
    own = [x @ y / np.linalg.norm(x) / np.linalg.norm(y) if x.any() and y.any() else 0.0 for x, y in zip(rows, found)]
    assert values["cos/row"] == pytest.approx(np.mean(np.abs(own)), rel=1e-4)
    assert values["cos/row_mean"] == pytest.approx(abs(np.mean(own)), rel=1e-4)
    ratios = [np.linalg.norm(y) / np.linalg.norm(x) for x, y in zip(rows, found) if x.any()]
    assert values["cos/row_norms"] == pytest.approx(np.mean(ratios), rel=1e-4)
    assert 0 <= values["cos/head_mean"] <= values["cos/head"] and values["cos/head_norms"] > 0
    assert values["cos/row_permuted"] == pytest.approx(np.mean(cos), rel=1e-4)
    assert 0 <= values["cos/head_permuted"] <= 1


def test_heads_must_divide_the_attention(micro):
    with pytest.raises(UserError, match="n_heads 3 must divide attention_size 4"):
        model_of(micro, n_heads=3)


def test_one_modality_alone(tmp_path):
    folder = write_micro(tmp_path, modalities="[image]", image=IMAGE)
    model = model_of(folder, gate_init=0.5)
    assert len(model.encoders) == 1
    assert set(model.diagnostics()) >= {"tc/image", "gate"} and "tc/across" not in model.diagnostics()


def test_both_attentions_add_what_each_adds(micro):
    both = model_of(micro, attention="both", gate="none").eval()
    both.set_phase("finetune")
    batch = both.rating_rows.batch(torch.arange(1, 6))
    with torch.no_grad():
        content = both.attention.content(both.fusion(both._latents()))
        each = both.attention.cross(batch, content[0]), both.attention.item(batch, content[1])
        assert torch.allclose(both._enhanced(batch, content), batch.dense + each[0] + each[1], atol=1e-6)
        assert each[0].abs().max() > 0 and each[1].abs().max() > 0
        enhanced = both._enhanced(batch, content)
        assert torch.allclose(scores_of(both)[1:, 1:], both.autoencoder(enhanced), atol=1e-5)  # the folded form
    assert "cos/head" in both.diagnostics()


@pytest.mark.parametrize(
    "settings", [{}, {"attention": "item"}, {"attention": "both", "gate": "sigmoid"}, {"rows": "items"}]
)
def test_projections_are_the_two_parts_of_what_the_attention_adds(micro, settings):
    parts = {}
    for kind in (None, "orthogonal", "parallel"):
        torch.manual_seed(0)
        model = model_of(micro, attention_project=kind, gate_init=0.5, **settings).eval()
        model.set_phase("finetune")
        batch = model.rating_rows.batch(torch.arange(1, model.rating_rows.n_rows))
        with torch.no_grad():
            content = model.attention.content(model.fusion(model._latents()))
            parts[kind] = model._added(model.attention, batch, content).double()
            by_hand = F.pad(model.autoencoder(model._enhanced(batch, content)), (0, 0) if model.by_items else (1, 0))
        expected = F.pad(by_hand.T, (1, 0)) if model.by_items else by_hand
        assert torch.allclose(scores_of(model)[1:], expected, atol=1e-5)  # the folded form
        figures = model.diagnostics()
        if kind == "orthogonal":
            assert figures["cos/row"] < 1e-6
        if kind == "parallel":
            has_direction = [bool(row.any() and found.any()) for row, found in zip(batch.dense, parts[kind])]
            assert figures["cos/row"] == pytest.approx(sum(has_direction) / len(has_direction))
    rows = batch.dense.double()
    assert torch.allclose(parts["orthogonal"] + parts["parallel"], parts[None], atol=1e-6)
    assert (parts["orthogonal"] * rows).sum(1).abs().max() < 1e-6 < parts["parallel"].abs().max()
    empty = ~rows.any(1)  # a row that has no direction
    assert not parts["parallel"][empty].any()
