"""Gated cross-attention between modalities in MGCN and SMORE: what is read, controls, and figures, on the micro set."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recbole_cadmr.config.config import Config
from recbole_cadmr.data.graph import ItemGraph
from recbole_cadmr.errors import UserError
from recbole_cadmr.models.cross_attention import ModalityExchange, derangement
from recbole_cadmr.runs.folder import scratch_folder
from recbole_cadmr.runs.session import open_session
from tests.micro import write_micro

SETTINGS = {
    "embedding_size": 4,
    "seed": 1,
    "gca_source": "other",
    "gca_gate": "none",
    "gca_gate_start": 0.0,
    "gca_layer_norm": True,
    "gca_feed_forward": 0,
    "gca_project": "none",
    "gca_frozen": False,
    "gca_neighbours": 2,
}
NEAR = {  # of items 1 to 3, 0 the padding; item 3 has no picture
    "text": torch.tensor([[0, 0, 0], [2, 3, 0], [1, 3, 0], [1, 2, 0]]),
    "image": torch.tensor([[0, 0, 0], [2, 0, 0], [1, 0, 0], [0, 0, 0]]),
}


def exchange(**settings):
    torch.manual_seed(0)
    graphs = {name: ItemGraph(idx, torch.zeros(idx.shape)) for name, idx in NEAR.items()}
    return ModalityExchange({**SETTINGS, **settings}, graphs).eval()


def latents(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(4, 4, generator=generator) for name in NEAR}


def changed(module, name, item):
    """By modality, the items whose vectors read something else when one vector is another."""
    before = latents()
    after = {key: X.clone() for key, X in before.items()}
    after[name][item] += torch.tensor([1.0, -2.0, 0.5, 3.0])
    one, other = module(before), module(after)
    read = {key: (one[key] - before[key], other[key] - after[key]) for key in before}
    return {key: (a - b).abs().amax(1).gt(1e-6).nonzero().flatten().tolist() for key, (a, b) in read.items()}


def test_modalities_read_the_neighbours_of_the_other():
    # The text of item 2 is a key of the items whose neighbour by text it is, and a query of its own, which changes
    # nothing: it has one neighbour by image, whose weight is 1.
    assert changed(exchange(), "text", 2) == {"text": [], "image": [1, 3]}
    assert changed(exchange(), "image", 1) == {"text": [2], "image": [1]}
    assert changed(exchange(gca_source="own"), "text", 2) == {"text": [1, 2, 3], "image": []}
    assert changed(exchange(gca_source="none"), "text", 2) == {"text": [2], "image": []}
    found = exchange()(latents())
    assert torch.equal(found["text"][3], latents()["text"][3])  # nobody is near it by image


def test_the_sum_is_that_of_one_query_by_hand():
    module, X = exchange(gca_layer_norm=False), latents()
    W = {name: linear.weight.detach().numpy() for name, linear in module.layers["text"].attention.items()}
    query, keys = X["text"][1].numpy() @ W["query"].T, X["image"][[2]].numpy() @ W["key"].T
    assert keys.shape == (1, 4) and query.shape == (4,)  # a single key has the weight 1
    expected = X["text"][1].numpy() + X["image"][2].numpy() @ W["value"].T @ W["out"].T
    np.testing.assert_allclose(module(X)["text"][1].detach().numpy(), expected, atol=1e-6)
    two = X["text"][[1, 3]].numpy()
    weight = np.exp((X["image"][2].numpy() @ _image(module, "query").T) @ (two @ _image(module, "key").T).T / 2)
    expected = X["image"][2].numpy() + weight / weight.sum() @ two @ _image(module, "value").T @ _image(module, "out").T
    np.testing.assert_allclose(module(X)["image"][2].detach().numpy(), expected, atol=1e-6)


def _image(module, name):
    return module.layers["image"].attention[name].weight.detach().numpy()


@pytest.mark.parametrize("source", ["other", "shuffled"])
def test_a_single_modality_has_no_others_to_read(source):
    graphs = {"text": ItemGraph(NEAR["text"], torch.zeros(NEAR["text"].shape))}
    with pytest.raises(UserError, match=f"gca_source {source} reads other modalities, and text is the only one"):
        ModalityExchange({**SETTINGS, "gca_source": source}, graphs)
    assert torch.isfinite(
        ModalityExchange({**SETTINGS, "gca_source": "own"}, graphs)({"text": torch.eye(4)})["text"]
    ).all()


def test_rows_alone_are_those_of_all():
    module, rows = exchange(), torch.tensor([3, 1])
    whole, some = module(latents()), module(latents(), rows)
    for name in NEAR:
        torch.testing.assert_close(some[name], whole[name][rows])


def test_another_one_for_each():
    other = derangement(50, 3)
    assert (
        other[0] == 0 and sorted(other[1:].tolist()) == list(range(1, 50)) and (other[1:] != torch.arange(1, 50)).all()
    )
    assert not torch.equal(other, derangement(50, 4)) and torch.equal(other, derangement(50, 3))


@pytest.mark.parametrize("model", ["MGCN", "SMORE"])
def test_in_a_model(tmp_path, model):
    small = {"embedding_size": 8, "neighbours": 2, "topk": [2], "valid_metric": "Recall@2", "epochs": 2, "eval_step": 1}
    small |= {"show_progress": False, "data_path": str(write_micro(tmp_path)), "learning_rate": 0.01}

    def opened(**settings):
        with scratch_folder() as scratch:
            return open_session(Config(model, "micro", settings={**small, **settings}), scratch)

    gated = {"gca_positions": "fusion", "gca_gate_start": 0.5, "gca_neighbours": 2}
    session = opened(**gated)
    batch = next(iter(session.train_data))
    session.model.train().calculate_loss(batch).backward()
    grads = {name: p.grad for name, p in session.model.exchange.named_parameters()}
    assert all(grad is not None and grad.isfinite().all() for grad in grads.values())
    assert all(grads[f"layers.{name}.gate_start"].abs() > 0 for name in ("text", "image"))
    session = opened(**gated)
    session.trainer.fit(session.train_data, session.valid_data)
    first, last = (session.trainer.history[place]["diagnostics"] for place in (0, -1))
    untrained = opened(**gated).model.diagnostics()
    assert untrained.keys() == {name for name in last if not name.startswith("untrained_")}
    for figures in (first, last):
        before = {name: figures[f"untrained_{name}"] for name in untrained if name != "isotropic"}
        assert before == pytest.approx({name: untrained[name] for name in before})
    figures = last
    for name in ("text", "image"):
        assert 0 <= figures[f"abs_cos_{name}"] <= 1 and figures[f"gate_{name}"] != pytest.approx(np.tanh(0.5), abs=1e-7)
    orthogonal = opened(**gated, gca_project="orthogonal").model.diagnostics()
    assert orthogonal["abs_cos_text"] < 1e-5 < orthogonal["permuted_text"]
    # Without it, and with a closed gate, the model is what it was.
    plain, closed = opened(), opened(gca_positions="fusion")
    assert plain.model.exchange is None and plain.model.diagnostics() == {}
    closed.model.load_state_dict(plain.model.state_dict(), strict=False)
    with torch.no_grad():
        for one, other in zip(plain.model.eval().forward(), closed.model.eval().forward()):
            torch.testing.assert_close(one, other)
    with pytest.raises(UserError, match="gca_positions must be one of none, fusion, not 'early'"):
        opened(gca_positions="early")
