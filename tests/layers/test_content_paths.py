"""The terms of the closed form's matrix, multiplied out, against dense products."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch.nn import functional as F

from recbole_cadmr.config.model_yaml import own_settings
from recbole_cadmr.data.rows import RowBatch
from recbole_cadmr.layers import linear_autoencoder
from recbole_cadmr.layers.content_autoencoder import ContentAutoencoder
from recbole_cadmr.layers.score_paths import score_of
from tests.oracles.linear import ridge_columns

DEFAULTS = {name: setting.default for name, setting in own_settings("LinearCADMR").items()}
N = 9
a, b, d = 1.5, 0.3, 0.05


def drawn():
    """Twelve rows of nine items, and an attention in two parts."""
    rng = np.random.default_rng(5)
    R = sp.csr_matrix((rng.random((12, N)) < 0.4).astype(np.float32))
    parts = {name: w * rng.random((N, N)) * (rng.random((N, N)) < 0.4) for name, w in (("text", 0.7), ("image", 0.3))}
    for part in parts.values():
        np.fill_diagonal(part, 0)
    return R, parts


def features():
    """Of the items, in three dimensions and of length 1."""
    return F.normalize(torch.from_numpy(np.random.default_rng(6).normal(size=(N, 3))).float())


def fitted(parts, R, **settings):
    sparse = {name: sp.csr_matrix(part, dtype=np.float32) for name, part in parts.items()}
    plain = {
        "row_scaling": 0.0,
        "item_scaling": 0.0,
        "popularity_damping": 0.2,
        "reg_weight": 2.0,
        "fit_dtype": "float64",
    }
    how = {**DEFAULTS, **plain, "enhancement": a, "output_smoothing": b, "direct_path": d, **settings}
    model = ContentAutoencoder(R, lambda _: (sparse, dict.fromkeys(parts, 0.5)), features, how, torch.device("cpu"))
    model.fit()
    return model


def autoencoder(R, content_rows=0.0):
    degree = np.maximum(R.toarray().sum(0), 1) ** -0.2
    rows = np.vstack([R.toarray(), content_rows * features().numpy().T])
    return ridge_columns(rows.astype(float), 2.0) * degree / degree.mean()


@pytest.mark.parametrize(("two_hop", "content_rows"), [(0.0, 0.0), (0.4, 0.0), (0.0, 0.7)])
@pytest.mark.parametrize("fit", ["exact", "sparse"])
def test_each_path_is_its_term_and_all_add_up_to_the_score(fit, two_hop, content_rows):
    R, parts = drawn()
    model = fitted(parts, R, two_hop=two_hop, fit=fit, content_rows=content_rows)
    C, A, alone = autoencoder(R, content_rows), sum(parts.values()), autoencoder(R)
    H = {name: part + two_hop * (part @ A) * (1 - np.eye(N)) for name, part in parts.items()}
    terms = {
        ("autoencoder", ""): alone,
        **({("content rows", ""): C - alone} if content_rows else {}),
        **{("content before", name): a * H[name] @ C for name in parts},
        **{("content after", name): b * C @ parts[name].T for name in parts},
        ("content both", ""): a * b * sum(H.values()) @ C @ A.T,
        **{("direct", name): d * H[name] for name in parts},
    }
    chosen = np.array([1, 4, 6])
    rows = RowBatch(torch.zeros(3).long(), torch.from_numpy(chosen), torch.ones(3), 1, N)
    scores = model.scores(rows)[0]
    for item in range(N):
        paths = model.paths(chosen, item)
        found = {(path.name, path.modality): path.contributions for path in paths}
        truncated = found.pop(("truncated", ""), np.zeros(3))
        assert (fit == "exact" or np.abs(truncated).max() < 1e-5) and found.keys() == terms.keys()
        for name, term in terms.items():
            assert np.abs(found[name] - term[chosen, item]).max() < 1e-5, name
        assert score_of(paths) == pytest.approx(float(scores[item]), rel=1e-5, abs=1e-6)


def test_what_a_sparse_fit_leaves_out_is_a_path_of_its_own():
    R, parts = drawn()
    model = fitted(parts, R, fit="sparse", sparse_rank=3, sparse_neighbours=1)
    whole = fitted(parts, R, fit="sparse", sparse_rank=3)
    chosen, left_out = np.array([0, 2, 7]), 0.0
    for item in range(N):
        found = {path.name: path.contributions for path in model.paths(chosen, item) if not path.modality}
        weights = (model.weights.left @ model.weights.right.T).numpy() + model.weights.sparse.toarray()
        full = (whole.weights.left @ whole.weights.right.T).numpy() + whole.weights.sparse.toarray()
        assert np.abs(found["truncated"] - (weights - full)[chosen, item]).max() < 1e-5
        assert score_of(model.paths(chosen, item)) == pytest.approx(weights[chosen, item].sum(), rel=1e-5, abs=1e-6)
        left_out += np.abs(found["truncated"]).sum()
    assert left_out > 0.1


@pytest.mark.parametrize("content_rows", [0.0, 0.7])
@pytest.mark.parametrize("fit", ["exact", "sparse"])
def test_the_weight_of_content_is_a_factor_of_all_paths_but_the_autoencoders(fit, content_rows):
    R, parts = drawn()
    model = fitted(parts, R, fit=fit, content_rows=content_rows)
    chosen = np.array([1, 4, 6])
    rows = RowBatch(torch.zeros(3).long(), torch.from_numpy(chosen), torch.ones(3), 1, N)
    alone = autoencoder(R)[chosen].sum(0)
    trained = model.scores(rows)[0].numpy()
    for weight in (0.0, 0.5, 1.0, 2.0):
        expected = alone + weight * (trained - alone)
        assert np.abs(model.scores(rows, weight)[0].numpy() - expected).max() < 1e-5


def test_content_as_rows_leaves_half_of_the_components_to_what_users_chose():
    R, parts = drawn()
    few, enough = (fitted(parts, R, fit="sparse", content_rows=20.0, sparse_rank=rank).weights for rank in (1, 6))
    assert torch.equal(few.left, enough.left) and torch.equal(few.right, enough.right)
    assert few.left.shape[1] > fitted(parts, R, fit="sparse", sparse_rank=6).weights.left.shape[1]
    without = (fitted(parts, R, fit="sparse", content_rows=w, attention="none").weights.left for w in (20.0, 0.0))
    assert torch.equal(next(without), next(without))


def test_without_content_there_is_one_path():
    R, _ = drawn()
    model = fitted({}, R)
    (path,) = model.paths(np.array([3, 5]), 0)
    assert path.name == "autoencoder" and np.abs(path.contributions - autoencoder(R)[[3, 5], 0]).max() < 1e-6


@pytest.mark.parametrize(("content_rows", "n_fits"), [(0.0, 1), (0.7, 2)])
def test_paths_are_the_same_by_the_whole_autoencoder_and_by_its_entries(monkeypatch, content_rows, n_fits):
    R, parts = drawn()
    model = fitted(parts, R, content_rows=content_rows)
    chosen, fits = np.array([0, 3, 8]), []
    monkeypatch.setattr(model, "autoencoder", lambda *how, fit=model.autoencoder: fits.append(how) or fit(*how))
    by_entries = [model.paths(chosen, item) for item in range(N)]
    assert not fits
    rows = RowBatch(torch.zeros(3).long(), torch.from_numpy(chosen), torch.ones(3), 1, N)
    model.scores(rows, 0.5)
    assert len(fits) == 1  # without content, which is all that it takes
    model.terms_at(sp.identity(N, format="csr"))
    by_matrix = [model.paths(chosen, item) for item in range(N)]
    assert len(fits) == n_fits
    for paths, same in zip(by_entries, by_matrix):
        for path, other in zip(paths, same):
            assert (path.name, path.modality) == (other.name, other.modality)
            assert np.abs(path.contributions - other.contributions).max() < 1e-6


def test_where_entries_take_too_many_steps_the_whole_is_fitted(monkeypatch):
    R, parts = drawn()
    model = fitted(parts, R)
    expected = model.paths(np.array([2, 5]), 4)
    monkeypatch.setattr(linear_autoencoder, "_STEPS", 1)
    other = fitted(parts, R).paths(np.array([2, 5]), 4)
    for path, same in zip(other, expected):
        assert np.abs(path.contributions - same.contributions).max() < 1e-6
