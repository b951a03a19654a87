"""Picture vectors: the layer they are taken from, pictures of every kind, and weights from a stranger."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from recbole_cadmr.errors import UserError
from recbole_cadmr.extract import by_file
from recbole_cadmr.extract.image import extract_images
from recbole_cadmr.extract.vector_store import VectorCache
from tests.extract.networks import write_weights


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_weights("alexnet", tmp_path_factory.mktemp("weights") / "alexnet.pth")


def drawn(seed=0, size=(300, 260)):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8))


def vectors_of(paths, store, weights, **options):
    found = extract_images(paths, store, model="alexnet", weights=weights, **options)
    return np.load(found.features), found


def test_fc7_of_alexnet_is_what_its_last_layer_reads(tmp_path, weights):
    """An independent pass: torchvision's network as it is, its last layer's input caught by a hook."""
    import torchvision

    drawn().save(tmp_path / "a.png")
    vectors, found = vectors_of([tmp_path / "a.png"], tmp_path / "s", weights)
    network = torchvision.models.alexnet().eval()
    network.load_state_dict(torch.load(weights, weights_only=True))
    caught = []
    network.classifier[6].register_forward_hook(lambda module, inputs, output: caught.append(inputs[0]))
    with torch.no_grad():
        network(torchvision.models.AlexNet_Weights.IMAGENET1K_V1.transforms()(drawn())[None])
    assert vectors.shape == (1, 4096) and np.abs(vectors[0] - caught[0][0].numpy()).max() < 1e-5
    assert found.card["model"] == "alexnet, fc7" and len(found.card["weights"]) == 8 + 64


@pytest.mark.parametrize(
    ("model", "width", "layer"), [("vgg16", 4096, "classifier.6"), ("resnet50", 2048, "fc"), ("vit_b_16", 768, "heads")]
)
def test_the_other_networks_give_what_their_last_layer_reads(tmp_path, model, width, layer):
    import torchvision

    path = write_weights(model, tmp_path / "weights.pth")
    drawn().save(tmp_path / "a.png")
    found = extract_images([tmp_path / "a.png"], tmp_path / "s", model=model, weights=path)
    with torch.device("meta"):  # draws nothing
        network = torchvision.models.get_model(model, weights=None).eval()
    network.to_empty(device="cpu").load_state_dict(torch.load(path, weights_only=True, mmap=True))
    caught = []
    network.get_submodule(layer).register_forward_hook(lambda module, inputs, output: caught.append(inputs[0]))
    transforms = torchvision.models.get_model_weights(model).IMAGENET1K_V1.transforms()
    with torch.no_grad():
        network(transforms(drawn())[None])
    vectors = np.load(found.features)
    assert vectors.shape == (1, width)
    assert np.abs(vectors[0] - caught[0][0].numpy()).max() < 1e-4 * np.abs(vectors).max()


def test_pictures_of_every_kind_are_seen_in_colour_and_upright(tmp_path, weights):
    picture = drawn()
    endings = {"rgb": "png", "grey": "png", "palette": "png", "alpha": "png", "cmyk": "jpg", "turned": "png"}
    paths = {kind: tmp_path / f"{kind}.{ending}" for kind, ending in endings.items()}
    picture.save(paths["rgb"])
    picture.convert("L").save(paths["grey"])
    picture.convert("P").save(paths["palette"])
    picture.convert("RGBA").save(paths["alpha"])
    picture.convert("CMYK").save(paths["cmyk"])
    turned = picture.transpose(Image.Transpose.ROTATE_90)
    exif = turned.getexif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    turned.save(paths["turned"], exif=exif)
    vectors, found = vectors_of(list(paths.values()), tmp_path / "s", weights)
    assert found.present.all() and found.damaged == []
    by_kind = dict(zip(paths, vectors))
    assert np.abs(by_kind["turned"] - by_kind["rgb"]).max() < 1e-5
    assert np.abs(by_kind["alpha"] - by_kind["rgb"]).max() < 1e-5
    assert np.abs(by_kind["grey"] - by_kind["rgb"]).max() > 1e-3


def test_a_picture_has_the_same_vector_whichever_are_seen_with_it(tmp_path, weights):
    paths = [tmp_path / f"{seed}.png" for seed in range(11)]
    for seed, path in enumerate(paths):
        drawn(seed, (60 + seed, 50)).save(path)
    together, _ = vectors_of(paths, tmp_path / "together", weights)
    backwards, _ = vectors_of(paths[::-1], tmp_path / "backwards", weights)
    assert together.tobytes() == backwards[::-1].tobytes()
    for place in (0, 8, 10):
        alone, _ = vectors_of([paths[place]], tmp_path / f"alone{place}", weights)
        assert alone[0].tobytes() == together[place].tobytes()


def test_pictures_are_kept_by_what_is_in_their_files(tmp_path, weights):
    cache, paths = VectorCache(tmp_path / "cache", 2**30), [tmp_path / f"{name}.png" for name in "abcd"]
    for seed, path in enumerate(paths[:3]):
        drawn(seed).save(path)
    paths[3].write_text("junk")
    first, found = vectors_of(paths, tmp_path / "1", weights, cache=cache)
    assert found.kept == 0 and found.damaged == [3]
    moved = paths[0].rename(tmp_path / "moved.png")  # the same picture
    drawn(9).save(paths[1])  # another one
    second, found = vectors_of([moved, *paths[1:]], tmp_path / "2", weights, cache=cache)
    assert found.kept == 2 and found.damaged == [3] and found.present.tolist() == [True, True, True, False]
    assert second[[0, 2]].tobytes() == first[[0, 2]].tobytes()
    anew, _ = vectors_of([moved, *paths[1:]], tmp_path / "3", weights)
    assert second.tobytes() == anew.tobytes() and (second[1] != first[1]).any()


def test_a_picture_that_changes_while_it_is_read_is_not_kept_under_the_hash_of_another(tmp_path, weights, monkeypatch):
    drawn().save(tmp_path / "a.png")
    monkeypatch.setattr(by_file, "_key", lambda path: b"k" * 32)
    with pytest.raises(UserError, match=r"a\.png was changed while it was read; repeat$"):
        vectors_of([tmp_path / "a.png"], tmp_path / "s", weights)


def test_damaged_and_missing_pictures_are_told_apart_and_never_invented(tmp_path, weights, monkeypatch):
    whole, cut, text, empty, bomb = (tmp_path / f"{name}.png" for name in ("whole", "cut", "text", "empty", "bomb"))
    drawn().save(whole)
    cut.write_bytes(whole.read_bytes()[:5000])
    text.write_text("not a picture")
    empty.write_bytes(b"")
    Image.new("1", (3000, 3000)).save(bomb)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2_000_000)
    paths = [cut, None, whole, text, tmp_path / "nowhere.png", empty, bomb]
    vectors, found = vectors_of(paths, tmp_path / "s", weights)
    assert found.present.tolist() == [False, False, True, False, False, False, False]
    assert found.damaged == [0, 3, 5, 6]
    assert (vectors[~found.present] == 0).all() and np.abs(vectors[2]).max() > 0


class Hostile:
    def __reduce__(self):
        return (Path("hacked").touch, ())


def test_weights_that_are_junk_hostile_or_of_another_network(tmp_path, weights, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("junk").write_bytes(b"junk")
    Path("hostile").write_bytes(pickle.dumps(Hostile()))
    torch.save({"a": torch.zeros(1)}, "other")
    torch.save([1, 2], "list")
    for name, said in (
        ("junk", "damaged"), ("hostile", "safe to read"), ("other", "does not hold the weights of"),
        ("list", "does not hold"), ("nowhere", "there is no file nowhere"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=said):
            extract_images([None], tmp_path / "s", model="alexnet", weights=Path(name))
    assert not Path("hacked").exists()


def test_weights_that_cannot_be_downloaded(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr("torch.hub.urlopen", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    with pytest.raises(UserError, match=r"get https://download\.pytorch\.org/models/vgg16-\w+\.pth by hand"):
        extract_images([None], tmp_path / "s")
