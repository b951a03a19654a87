"""Real sentence vectors: the public all-MiniLM-L6-v2, as a package of the test extra carries it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from recbole_cadmr.errors import UserError
from recbole_cadmr.extract.text import extract_text
from recbole_cadmr.files import sha256_of
from tests.extract.networks import minilm

TITLES = [
    "Soft cotton blanket for babies",
    "Warm infant quilt",
    "Steel screwdriver set",
    "   ",
    "A tool kit with screwdrivers",
    "",
    "Ein weiches Babytuch \N{SNOWMAN}",
]


@pytest.fixture(scope="module")
def extracted(tmp_path_factory):
    return extract_text(TITLES, tmp_path_factory.mktemp("store"), model=str(minilm()))


def test_the_model_is_the_public_one(extracted):
    digest = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    assert sha256_of(minilm() / "model.safetensors") == digest
    assert extracted.card["SHA-256 of its weights"] == digest


def test_blank_texts_have_no_vector(extracted):
    assert extracted.present.tolist() == [True, True, True, False, True, False, True]
    vectors = np.load(extracted.features)
    assert vectors.shape == (7, 384) and vectors.dtype == np.float32
    assert (vectors[~extracted.present] == 0).all()


def test_vectors_agree_with_mean_pooling_written_out(extracted):
    """What the model's card says: token vectors averaged over the text, then scaled to length 1."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(minilm()), AutoModel.from_pretrained(minilm()).eval()
    vectors = np.load(extracted.features)
    for index in np.flatnonzero(extracted.present):
        tokens = tokenizer(TITLES[index], return_tensors="pt", truncation=True, max_length=256)
        with torch.no_grad():
            pooled = model(**tokens).last_hidden_state[0].mean(0)
        assert np.abs(vectors[index] - (pooled / pooled.norm()).numpy()).max() < 1e-5


def test_known_similarities(extracted):
    cos = np.load(extracted.features) @ np.load(extracted.features).T
    assert cos[0, 1] > 0.5 > 0.2 > cos[0, 2] and cos[2, 4] > 0.6 > 0.2 > cos[1, 4]
    assert np.diag(cos)[extracted.present] == pytest.approx(1, abs=1e-5)


def test_half_precision_and_other_batches_are_the_same_vectors(extracted, tmp_path):
    half = extract_text(TITLES, tmp_path / "half", model=str(minilm()), dtype="float16", batch_size=2)
    assert np.load(half.features).dtype == np.float16
    assert np.abs(np.load(half.features).astype(np.float32) - np.load(extracted.features)).max() < 1e-3


@pytest.mark.parametrize("content", [None, {}, {"config.json": "{}", "model.safetensors": "junk"}])
def test_a_model_that_cannot_be_loaded(tmp_path, monkeypatch, content):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = tmp_path / "model"
    if content is not None:
        folder.mkdir()
        for name, text in content.items():
            (folder / name).write_text(text)
    with pytest.raises(UserError, match="--text_model"):
        extract_text(TITLES, tmp_path / "store", model=str(folder))
    assert not Path("hacked").exists()
