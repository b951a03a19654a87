"""Vectors by models of transformers in folders: tiny ones, drawn and saved here, beside a pass of their own."""

from __future__ import annotations

import json
import pickle
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from recbole_cadmr.errors import UserError
from recbole_cadmr.extract.by_file import _Compute
from recbole_cadmr.extract.hf_audio import windows
from recbole_cadmr.extract.places import FILES_HASH
from recbole_cadmr.extract.registry import EXTRACTORS, extract, extractor_of, kind_of
from recbole_cadmr.extract.vector_store import VectorCache
from tests.extract.networks import audio_model, image_model

RATE = 16_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def pictures(folder):
    paths = [folder / f"{seed}.png" for seed in range(3)]
    for seed, path in enumerate(paths):
        size = (20 + seed, 30, 3)
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)).save(path)
    return paths


def vectors(kind, paths, work, model, **how):
    found = extract(kind, paths, work, str(model), **how)
    return np.load(found.features), found


@pytest.mark.parametrize("name", ["vit", "vit_classifier", "clip", "clip_vision", "dinov2", "resnet"])
def test_pictures_by_image_models(folder, pictures, tmp_path, name):
    place, model, processor = image_model(name, folder)
    assert kind_of(str(place)) == "image" and extractor_of("image", str(place)) == "hf-image"
    seen, found = vectors("image", [*pictures, None], tmp_path, place)
    inputs = processor(images=[Image.open(path) for path in pictures], return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        expected, taken = {
            "vit": lambda: (model(inputs).pooler_output, "pooled output"),
            # It has no weights of a pooler: that of transformers would be drawn anew.
            "vit_classifier": lambda: (model.vit(inputs).last_hidden_state[:, 0], "class token"),
            "clip": lambda: (
                model.visual_projection(model.vision_model(inputs).pooler_output),
                "in the space of texts",
            ),
            "clip_vision": lambda: (model(inputs).pooler_output, "pooled output"),
            "dinov2": lambda: (model(inputs).last_hidden_state[:, 0], "pooled output"),
            "resnet": lambda: (model(inputs).last_hidden_state.mean((2, 3)), "pooled output"),
        }[name]()
    assert np.abs(seen[:3] - expected.numpy()).max() < 1e-5 and not seen[3].any()
    assert found.card["vector"] == taken and found.present.tolist() == [True, True, True, False]
    assert found.card["model"] == place.name and len(found.card[FILES_HASH]) == 64


def test_vectors_are_kept_by_file_and_model_and_can_be_computed_elsewhere(folder, pictures, tmp_path):
    place, *_ = image_model("vit", folder)
    cache = VectorCache(tmp_path / "cache", 2**30)
    first, found = vectors("image", pictures, tmp_path / "1", place, cache=cache)
    assert found.kept == 0
    second, found = vectors("image", pictures[::-1], tmp_path / "2", place, cache=cache)
    assert found.kept == 3 and second[::-1].tobytes() == first.tobytes()
    alone, _ = vectors("image", pictures[1:2], tmp_path / "3", place)
    assert alone[0].tobytes() == first[1].tobytes()
    other, *_ = image_model("vit_classifier", folder)
    assert vectors("image", pictures, tmp_path / "4", other, cache=cache)[1].kept == 0

    def sent(compute, blocks):
        compute = pickle.loads(pickle.dumps(compute))
        assert isinstance(compute, _Compute)
        for start, sources in blocks:
            assert all(isinstance(source, bytes) for _, source in sources)  # not a path
            yield start, compute(sources)

    assert vectors("image", pictures, tmp_path / "5", place, over=sent)[0].tobytes() == first.tobytes()


@pytest.fixture(scope="module")
def sounds(folder):
    soundfile = pytest.importorskip("soundfile", reason="the extra audio is not installed")
    rng = np.random.default_rng(0)
    long, short = rng.normal(0, 0.1, 12 * RATE).astype(np.float32), rng.normal(0, 0.1, 300).astype(np.float32)
    soundfile.write(folder / "long.wav", long, RATE, subtype="FLOAT")
    soundfile.write(folder / "short.flac", short, RATE, subtype="PCM_24")
    (folder / "cut.wav").write_bytes((folder / "long.wav").read_bytes()[:40])
    (folder / "text.mp3").write_text("not a sound")
    return [folder / name for name in ("long.wav", "short.flac", "cut.wav", "text.mp3")], long, short


@pytest.mark.parametrize("name", ["wav2vec2", "ast"])
def test_sounds_by_audio_models(folder, sounds, tmp_path, name):
    paths, long, short = sounds
    place, model, processor = audio_model(name, folder)
    assert kind_of(str(place)) == "audio"
    heard, found = vectors("audio", [*paths, None], tmp_path, place)
    assert found.damaged == [2, 3] and found.present.tolist() == [True, True, False, False, False]

    def alone(part):
        with torch.no_grad():
            output = model(processor(part, sampling_rate=RATE, return_tensors="pt").input_values)
        return (output.last_hidden_state.mean(1) if name == "wav2vec2" else output.pooler_output).numpy()[0]

    # Ten seconds, and the last ten; a short one is filled up with silence.
    expected = [(alone(long[: 10 * RATE]) + alone(long[2 * RATE :])) / 2, alone(np.pad(short, (0, RATE - 300)))]
    assert np.abs(heard[:2] - expected).max() < 1e-4
    assert found.card["vector"] == {"wav2vec2": "mean over time", "ast": "pooled output"}[name]


def test_sounds_of_another_rate_and_of_two_channels(tmp_path):
    soundfile = pytest.importorskip("soundfile", reason="the extra audio is not installed")
    from recbole_cadmr.extract.sound import read_sound

    def wave(rate):
        return np.sin(2 * np.pi * 440 * np.arange(rate) / rate)

    soundfile.write(tmp_path / "a.wav", np.stack([wave(44_100), 0 * wave(44_100)], axis=1), 44_100, subtype="FLOAT")
    found = read_sound((tmp_path / "a.wav").read_bytes(), RATE)
    assert len(found) == RATE and np.abs(found - wave(RATE) / 2)[200:-200].max() < 1e-3
    soundfile.write(tmp_path / "b.wav", np.array([0.0, np.nan]), RATE, subtype="FLOAT")
    with pytest.raises(ValueError, match="no sound"):
        read_sound((tmp_path / "b.wav").read_bytes(), RATE)


def test_windows_cover_every_sample():
    parts = windows(np.arange(25), 10)
    assert [part.tolist() for part in parts] == [list(range(10)), list(range(10, 20)), list(range(15, 25))]
    assert len(windows(np.arange(10), 10)) == 1 and len(windows(np.arange(20), 10)) == 2


class Hostile:
    def __reduce__(self):
        return (Path("hacked").touch, ())


def test_folders_that_are_refused(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("no network"))
    place, *_ = image_model("vit", folder)

    def refused(said, kind="image", name="copy", **changes):
        other = tmp_path / name
        other.mkdir(exist_ok=True)
        for file in place.iterdir():
            (other / file.name).write_bytes(file.read_bytes())
        for file, content in changes.pop("files", {}).items():
            (other / file).unlink(missing_ok=True)
            if content is not None:
                (other / file).write_bytes(content)
        config = json.loads((other / "config.json").read_text()) | changes
        (other / "config.json").write_text(json.dumps(config))
        with pytest.raises(UserError, match=said):
            extract(kind, [None], tmp_path / "work", str(other))

    junk = pickle.dumps(Hostile())
    refused("holds no model.safetensors: other files of weights are pickles",
            files={"model.safetensors": None, "pytorch_model.bin": junk})  # fmt: skip
    refused("cannot load the image model in", files={"model.safetensors": junk})
    refused("is neither an image nor an audio model of transformers", model_type="mine", auto_map={"AutoModel": "m.M"})
    refused("does not read sounds", kind="audio")
    refused("lacks weights of its ViTModel, the first is", num_hidden_layers=2)
    refused("is neither an image", model_type="bert")
    code = {"model.safetensors": None, "m.py": b"import pathlib\npathlib.Path('hacked').touch()\n"}
    refused("holds no model.safetensors", files=code, auto_map={"AutoModel": "m.M"})
    with pytest.raises(UserError, match="there is no folder nowhere, and torchvision's networks here are alexnet"):
        kind_of("nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no config.json"):
        kind_of("empty")
    masked, *_ = image_model("vit_mae", folder)
    with pytest.raises(UserError, match=r"\(ViTMAEModel\) gives other vectors at each pass"):
        extract("image", [None], tmp_path / "work", str(masked))
    assert not Path("hacked").exists()


def test_every_extractor_is_found_by_what_it_reads():
    assert {name: extractor.kind for name, extractor in EXTRACTORS.items()} == {
        "sentence-transformers": "text", "torchvision": "image", "hf-image": "image", "hf-audio": "audio",
    }  # fmt: skip
    assert extractor_of("image", "vgg16") == "torchvision" and extractor_of("text", "x") == "sentence-transformers"
