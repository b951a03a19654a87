"""``attention_neighbours`` is what every item gets: from a graph that came with the data, if that has as many."""

from __future__ import annotations

import numpy as np
import pytest

from recbole_cadmr.layers.content_graph import GraphAttention
from recbole_cadmr.models.content import training_rows
from tests.micro import SMALL, open_micro, write_micro

# By the features of text, a and b are nearest each other, and so are c and d; the graph says otherwise.
IN_THE_GRAPH = {"a": {"c"}, "b": {"d"}, "c": {"a"}, "d": {"b"}}
BY_FEATURES = {"a": {"b", "d"}, "b": {"a", "d"}, "c": {"b", "d"}, "d": {"c", "a"}}


@pytest.fixture
def folder(tmp_path):
    folder = write_micro(tmp_path)
    place = folder / "micro"
    (place / "micro.yaml").write_text(
        "benchmark_filename: [train, valid, test]\nmodalities: [text]\nitem_graphs: [text]\n"
    )
    idx = np.array([[0, 2], [1, 3], [2, 0], [3, 1], [4, -1]])  # file rows a, b, c, d, e
    np.savez(place / "micro.text.knn.npz", idx=idx, cos=np.where(idx < 0, 0, [1, 0.5]).astype(np.float32))
    return folder


def neighbours_of(session, pairs):
    tokens = session.dataset.field2id_token["item_id"][1:]
    near = {token: set() for token in tokens}
    for item, other in pairs:
        near[tokens[item]].add(tokens[other])
    return near


@pytest.mark.parametrize(("k", "expected"), [(1, IN_THE_GRAPH), (2, BY_FEATURES)])
def test_the_content_attention_of_the_closed_form(folder, k, expected):
    session = open_micro(folder, "LinearCADMR", attention_neighbours=k)
    dataset = session.train_data._dataset
    parts, _ = GraphAttention(dataset, training_rows(dataset))(session.config)
    assert neighbours_of(session, zip(*sum(parts.values()).nonzero())) == expected


@pytest.mark.parametrize(("k", "expected"), [(1, IN_THE_GRAPH), (2, BY_FEATURES)])
@pytest.mark.parametrize("rows", ["users", "items"])
def test_the_item_attention_of_cadmr(folder, k, expected, rows):
    session = open_micro(folder, **{**SMALL, "attention": "item", "rows": rows, "attention_neighbours": k})
    candidates = session.model.attention.candidates.tolist()
    assert neighbours_of(session, ((i, j) for i, row in enumerate(candidates) for j in row if j >= 0)) == expected
