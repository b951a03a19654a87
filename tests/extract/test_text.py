"""Real sentence vectors: the public all-MiniLM-L6-v2, as a package of the test extra carries it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from recbole_cadmr.errors import UserError
from recbole_cadmr.extract.text import _Encode, _identity, _load, extract_text
from recbole_cadmr.extract.vector_store import VectorCache
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


def vectors(texts, work, **how):
    found = extract_text(texts, work, model=str(minilm()), **how)
    return np.load(found.features), found


# Short and long ones, of which the last two are cut off at 256 tokens.
OF_ALL_LENGTHS = [f"{'word ' * n}{n}" for n in (*range(1, 40, 2), 60, 61, 120, 250, 253, 254, 255, 300, 900)]


def test_a_text_has_the_same_vector_whichever_are_encoded_with_it(tmp_path):
    """Bit for bit, though padding to another length, or a batch of another size, would round otherwise."""
    together, _ = vectors(OF_ALL_LENGTHS, tmp_path / "together", batch_size=5)
    backwards, _ = vectors(OF_ALL_LENGTHS[::-1], tmp_path / "backwards", batch_size=5)
    assert together.tobytes() == backwards[::-1].tobytes()
    for place in (0, 7, 22, -5, -1):
        alone, _ = vectors([OF_ALL_LENGTHS[place]], tmp_path / f"alone{place}", batch_size=5)
        assert alone[0].tobytes() == together[place].tobytes(), place


def test_only_what_is_new_or_changed_is_encoded(tmp_path, monkeypatch):
    cache = VectorCache(tmp_path / "cache", 2**30)
    first, found = vectors(TITLES, tmp_path / "monday", cache=cache, batch_size=5)
    assert found.kept == 0
    tuesday = ["A new thing", *reversed(TITLES), TITLES[0], f"{TITLES[1]}!"]
    read = []
    monkeypatch.setattr(
        _Encode, "__call__", lambda self, texts, of=_Encode.__call__: read.extend(texts) or of(self, texts)
    )
    second, found = vectors(tuesday, tmp_path / "tuesday", cache=cache, batch_size=5)
    assert sorted(read) == ["A new thing", f"{TITLES[1]}!"] and found.kept == 6 and found.present.sum() == 8
    assert second[1:8].tobytes() == first[::-1].tobytes() and second[8].tobytes() == first[0].tobytes()
    anew, _ = vectors(tuesday, tmp_path / "anew", batch_size=5)
    assert anew.tobytes() == second.tobytes()
    # What makes other vectors keeps its own: a shorter context, another precision, another size of batches.
    for how in ({"dtype": "float16", "batch_size": 5}, {"batch_size": 4}):
        assert vectors(TITLES, tmp_path / str(how), cache=cache, **how)[1].kept == 0


def test_another_encoder_is_another_identity():
    encoder = _load(str(minilm()))
    own = _identity(encoder, 5)
    assert own == _identity(_load(str(minilm())), 5)
    encoder.max_seq_length = 128
    assert _identity(encoder, 5) != own
    encoder.max_seq_length = 256
    with torch.no_grad():
        next(encoder.parameters())[0, 0] += 1
    changed = _identity(encoder, 5)
    assert {name for name in own if own[name] != changed[name]} == {"weights"}


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


def test_code_of_a_model_is_not_run(tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(minilm(), folder)
    modules = json.loads((folder / "modules.json").read_text())
    modules[-1]["type"] = "own_module.Own"
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "own_module.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Own: pass\n")
    with pytest.raises(UserError, match=r"has code of its own \(own_module.Own\), which is not run"):
        extract_text(TITLES, tmp_path / "store", model=str(folder))
    assert not (tmp_path / "ran").exists()
