"""Encoders that stay loaded while somebody keeps them."""

from __future__ import annotations

import os
import shutil

import pytest

from recbole_cadmr.extract import image, text
from recbole_cadmr.extract.image import extract_images
from recbole_cadmr.extract.kept import KeptEncoders
from recbole_cadmr.extract.text import extract_text
from tests.extract.networks import minilm, write_weights


@pytest.fixture
def loads(monkeypatch):
    """What was loaded."""
    seen = []
    for module in (text, image):
        load = module._load
        monkeypatch.setattr(module, "_load", lambda *what, load=load: (seen.append(what[0]), load(*what))[1])
    return seen


def test_an_encoder_is_loaded_once_as_long_as_its_files_stay_as_they_were(tmp_path, loads):
    folder = tmp_path / "minilm"
    shutil.copytree(minilm(), folder)
    kept = KeptEncoders()

    def vectors(name):
        return extract_text(["A rug", "A bowl"], tmp_path / name, model=str(folder)).features.read_bytes()

    alone = vectors("alone")
    assert vectors("again") == alone and len(loads) == 2
    with kept.in_use():
        assert [vectors(name) for name in "abc"] == [alone] * 3 and len(loads) == 3
        os.utime(folder / "model.safetensors", (1, 1))
        assert vectors("d") == alone and len(loads) == 4
        kept.clear()
        assert vectors("e") == alone and len(loads) == 5
    assert vectors("f") == alone and len(loads) == 6


def test_one_of_each_kind_is_kept(tmp_path, loads):
    own, other = write_weights("alexnet", tmp_path / "own.pth"), tmp_path / "other.pth"
    shutil.copy(own, other)
    with KeptEncoders().in_use():
        for number, weights in enumerate([own, own, other, own]):
            extract_images([None], tmp_path / f"i{number}", model="alexnet", weights=weights)
            extract_text(["A rug"], tmp_path / f"t{number}", model=str(minilm()))
    assert loads.count("alexnet") == 3 and len(loads) == 4


def test_what_cannot_be_loaded_frees_what_was_held():
    kept = KeptEncoders()
    assert kept.get("text", "a", lambda: 1) == kept.get("text", "a", lambda: 2) == 1
    with pytest.raises(ZeroDivisionError):
        kept.get("text", "b", lambda: 1 // 0)
    assert kept.get("text", "a", lambda: 3) == 3
