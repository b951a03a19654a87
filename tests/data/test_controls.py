"""Content without meaning, with less of it, and made of noise."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recbole_cadmr.errors import UserError
from tests.micro import open_micro, write_micro


def vectors(modality):
    return sorted(map(tuple, modality.features[modality.present].tolist()))


@pytest.fixture
def place(tmp_path):
    return write_micro(tmp_path)


def content(place, **controls):
    return open_micro(place, "VBPR", content_controls=controls).dataset


def test_shuffled_vectors_are_the_same_ones_at_other_items(place):
    plain = content(place)
    assert torch.equal(plain.modality("text").features, content(place, seed=4).modality("text").features)
    seen = set()
    for seed in range(6):
        shuffled = content(place, shuffled=["text"], seed=seed)
        assert vectors(shuffled.modality("text")) == vectors(plain.modality("text"))
        assert torch.equal(shuffled.modality("image").features, plain.modality("image").features)
        again = content(place, shuffled=["text"], seed=seed)
        assert torch.equal(again.modality("text").features, shuffled.modality("text").features)
        seen.add(tuple(shuffled.modality("text").features.flatten().tolist()))
    assert len(seen) > 2
    everything = content(place, shuffled=True, seed=1).modality("image")
    assert torch.equal(everything.present, plain.modality("image").present)  # who has a picture is left as it is
    assert vectors(everything) == vectors(plain.modality("image"))
    text_alone = open_micro(place, "VBPR", modalities=["text"], content_controls={"shuffled": True, "seed": 1}).dataset
    assert torch.equal(text_alone.modality("image").features, plain.modality("image").features)  # it is not read


def test_a_share_of_the_items_loses_each_modality(place):
    fewer = content(place, missing=0.5)
    text, image = fewer.modality("text"), fewer.modality("image")
    assert int(text.present.sum()) == 2 and int(image.present.sum()) == 1  # of 4, and of 3, rounded
    assert (text.features[~text.present] == 0).all() and (text.features[text.present] != 0).any(1).all()
    assert fewer.coverage()["text"]["items"] == 2


def test_noise_is_a_modality_that_knows_nothing(place):
    noisy = content(place, noise=6)
    assert noisy.modality_names == ["text", "image", "noise"]
    noise = noisy.modality("noise")
    assert noise.features.shape == (5, 6) and noise.present.tolist() == [False, True, True, True, True]
    assert not noise.features[0].any() and torch.equal(
        noise.features, content(place, noise=6).modality("noise").features
    )
    assert (noisy.nearest_items("noise", 2).idx[1:, :2] > 0).all()


def test_a_graph_that_came_with_other_vectors_is_not_used(place):
    idx = np.array([[1], [0], [3], [2], [3]])
    np.savez(place / "micro/micro.text.knn.npz", idx=idx, cos=np.full((5, 1), 0.5, np.float32))
    read = [
        open_micro(place, "VBPR", item_graphs=["text"], content_controls=controls).dataset.item_graph("text")
        for controls in (None, {"shuffled": ["image"]}, {"shuffled": ["text"]}, {"missing": 0.25})
    ]
    assert [graph is not None for graph in read] == [True, True, False, False]


@pytest.mark.parametrize(
    ("model", "controls", "said"),
    [
        ("BPR", {"missing": 0.5}, "content_controls have no effect on BPR"),
        ("VBPR", {"shuffled": ["audio"]}, "content_controls shuffle audio, which is none of the modalities text"),
        ("VBPR", {"missing": 1.0}, "content_controls.missing must be below 1"),
        ("VBPR", {"missing": 0.99}, "content_controls leave no item with text"),
        ("VBPR", {"shufled": True}, "content_controls has no entry 'shufled'; did you mean shuffled"),
    ],
)  # fmt: skip
def test_controls_that_do_nothing_are_refused(place, model, controls, said):
    with pytest.raises(UserError, match=said):
        open_micro(place, model, content_controls=controls)
