"""The page of a data set: its numbers, and that it is safe to open."""

from __future__ import annotations

import base64
import io
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recbole_cadmr.cli.main import main
from recbole_cadmr.data.prepare.page import write_page
from recbole_cadmr.data.prepare.profile import profile
from recbole_cadmr.data.prepare.thumbnails import thumbnails
from tests.charts import read
from tests.extract.networks import image_model

TRAIN = [("ann", "x"), ("ann", "y"), ("ann", "z"), ("bob", "x"), ("bob", "y"), ("cid", "x")]
HELD = {"valid": [("bob", "z")], "test": [("cid", "<i>new</i>")]}


@pytest.fixture
def folder(tmp_path):
    """Four items; y and z look alike in pictures, x has none; the last one is cold and has a hostile name."""
    folder = tmp_path / "shop"
    folder.mkdir()
    for part, rows in {"train": TRAIN, **HELD}.items():
        lines = ["user_id:token\titem_id:token", *map("\t".join, rows)]
        (folder / f"shop.{part}.inter").write_text("\n".join(lines) + "\n")
    (folder / "shop.item").write_text("item_id:token\ttitle:token_seq\nx\t<script>alert(1)</script>\n")
    (folder / "shop.image").write_text("item_id:token\nz\nunknown\ny\n<i>new</i>\n")
    np.save(folder / "shop.image.npy", np.array([[1, 0.1], [0, 1], [1, 0], [-1, 0]], dtype=np.float32))
    (folder / "shop.text").write_text("item_id:token\ttext:float_seq\nx\t1 0\ny\t1 0\nz\t1 0\n")
    (folder / "shop.yaml").write_text(
        "benchmark_filename: [train, valid, test]\nmodalities: [image, text]\nitem_graphs: []\n"
    )
    return folder


def test_numbers(folder):
    look = profile(folder, "shop")
    assert (look.n_users, look.n_items, look.counts) == (3, 4, {"train": 6, "valid": 1, "test": 1})
    assert look.degrees["users"] == {"train": {1: 1, 2: 1, 3: 1}, "valid": {1: 1}, "test": {1: 1}}
    assert look.degrees["items"]["train"] == {1: 1, 2: 1, 3: 1}
    image, text = look.modalities
    assert (image.name, image.width, image.covered) == ("image", 2, 3) and (text.width, text.covered) == (2, 3)
    assert image.variance[-1] == pytest.approx(1) and text.variance == [0, 0]
    cos = 1 / np.sqrt(1.01)
    # Rows of items that the data set does not hold are no neighbours to show.
    assert [other for other, _ in image.near["y"]] == ["z", "<i>new</i>"]
    assert image.near["y"][0][1] == pytest.approx(cos) and image.near["z"][0][0] == "y"
    assert look.samples == {"z": 1, "y": 2}  # of the items that have every modality, the least popular first
    assert text.together == 1.0  # every pair of x, y and z shares ann


def test_the_page_loads_nothing_and_runs_nothing_of_the_data(folder):
    path = write_page(folder, "shop")
    page, facts = read(path)
    assert facts["counts"] == {"train": 6, "valid": 1, "test": 1}
    assert "<script>alert" not in page and "<i>new" not in page
    assert "<bdi>&lt;i&gt;new&lt;/i&gt;</bdi>" in page  # right-to-left text does not turn the figures beside it
    before = path.read_bytes()
    assert write_page(folder, "shop").read_bytes() == before


def test_pictures_of_items_and_of_the_nearest(folder, tmp_path):
    rng = np.random.default_rng(0)
    pictures = {item: tmp_path / f"{place}.png" for place, item in enumerate(["x", "y", "z", "<i>new</i>"])}
    for path in pictures.values():
        Image.fromarray(rng.integers(0, 255, (300, 200, 3), dtype=np.uint8)).save(path)
    pictures["y"].write_bytes(b"damaged")
    page, facts = read(write_page(folder, "shop", pictures))
    # In the page y and z are near to each other and to the cold item, by text x to both.
    assert set(facts["pictures"]) == {"x", "z", "<i>new</i>"}
    shown = Image.open(io.BytesIO(base64.b64decode(facts["pictures"]["z"].partition(",")[2])))
    assert (shown.format, shown.size) == ("JPEG", (64, 96))
    assert page.count('<img data-item="z"') == 3 and '<img data-item="&lt;i&gt;new&lt;/i&gt;"' in page
    # A page that is written anew keeps them, but nothing that is none.
    path = folder / "shop.html"
    path.write_text(path.read_text().replace(facts["pictures"]["x"], "https://elsewhere.example/x.jpg"))
    _, again = read(write_page(folder, "shop"))
    assert again["pictures"] == {item: facts["pictures"][item] for item in ("z", "<i>new</i>")}


def test_pictures_of_a_shop_are_on_the_page_of_its_data_set(tmp_path):
    """The whole way: a folder of pictures, encoded and shown, small, under their items."""
    network, _, _ = image_model("vit", tmp_path / "vit")
    (tmp_path / "pictures" / "shoes").mkdir(parents=True)
    colours = {"x": (200, 30, 30), "shoes/y": (30, 30, 200)}
    for name, colour in colours.items():
        Image.new("RGB", (150, 300), colour).save(tmp_path / "pictures" / f"{name}.png")
    rows = [f"{user},{item}" for user in ("ann", "bob", "cid", "dan") for item in ("x", "y", "z")]
    (tmp_path / "orders.csv").write_text("\n".join(["user_id,item_id", *rows]) + "\n")
    given = ["--inter", tmp_path / "orders.csv", "--images", tmp_path / "pictures", "--image_model", network]
    more = ["--data_path", tmp_path, "--name", "shop", "--k_core", 1, "--text_model", "none"]
    assert main(["prepare", "files", *map(str, [*given, *more])]) == 0
    _, facts = read(tmp_path / "shop" / "shop.html")
    assert set(facts["pictures"]) == {"x", "y"}
    for name, colour in colours.items():
        address = facts["pictures"][name.rpartition("/")[2]]
        shown = Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))
        assert (shown.format, shown.size) == ("JPEG", (48, 96))
        assert np.abs(np.array(shown).reshape(-1, 3).mean(0) - colour).max() < 3


def test_pictures_are_bounded(tmp_path, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 255, (96, 96, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    pictures = dict.fromkeys("abcde", tmp_path / "noise.png")
    (one,) = thumbnails(pictures, ["a"]).values()
    assert 4000 < len(one) < 10_000
    monkeypatch.setattr("recbole_cadmr.data.prepare.thumbnails._MOST", 2 * len(one))
    assert thumbnails(pictures, ["a", "b", "a", "unknown", "c", "d"]) == {"a": one, "b": one}


def test_what_was_left_out_is_that_of_the_card(folder):
    (folder / "dataset_card.md").write_text(
        "# Data set `shop`\n\nMade.\n\n| | |\n|---|---|\n| users | 3 |\n| k-core | 2, which took 5 of 13 |\n\n"
        "## Skipped\n\n- malformed lines of a.csv: 1,204 (line 2: no (usable) id; ...)\n- repeated items: 1\n"
        "- no item has a text\n\n## Sources\n\n- not: 3\n\n"
        "## Modality `sound`, added to the finished data set\n\n- items without a sound: 2\n"
    )
    page, facts = read(write_page(folder, "shop"))
    assert facts["left_out"] == [
        ["malformed lines of a.csv", "1,204", "line 2: no (usable) id; ..."],
        ["repeated items", "1", ""],
        ["no item has a text", "", ""],
        ["sound: items without a sound", "2", ""],
    ]
    assert (
        "<th>k-core</th><td>2, which took 5 of 13</td>" in page
        and "<th>users</th>" not in page
        and "items, 1 in no train interaction" in page
    )


def test_the_embedded_set():
    look = profile(Path(str(files("recbole_cadmr.embedded"))) / "synthetic", "synthetic")
    text, image = look.modalities
    assert (look.n_items, text.covered, image.covered) == (790, 790, 774)
    assert min(text.together, image.together) > 1.5 * look.chance


def test_a_set_without_content(folder):
    (folder / "shop.yaml").write_text("benchmark_filename: [train, valid, test]\n")
    (folder / "shop.item").unlink()
    page = write_page(folder, "shop").read_text()
    assert "Nearest items" not in page and ">users<" in page and "Nothing but what the steps above say" in page
