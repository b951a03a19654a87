"""The page of a data set: its numbers, and that it is safe to open."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from recbole_cadmr.data.prepare.page import write_page
from recbole_cadmr.data.prepare.profile import profile

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
    page = write_page(folder, "shop").read_text()
    facts = json.loads(page.rpartition('<script type="application/json" id="facts">')[2].partition("</script>")[0])
    assert facts["counts"] == {"train": 6, "valid": 1, "test": 1}
    assert "<script>alert" not in page and "<i>new" not in page
    assert not re.search(r'<(script|img|link|iframe)[^>]*(src|href)="', page)
    again = write_page(folder, "shop").read_text()
    assert again == page


def test_the_embedded_set():
    look = profile(Path(str(files("recbole_cadmr.embedded"))) / "synthetic", "synthetic")
    text, image = look.modalities
    assert (look.n_items, text.covered, image.covered) == (790, 790, 774)
    assert min(text.together, image.together) > 1.5 * look.chance


def test_a_set_without_content(folder):
    (folder / "shop.yaml").write_text("benchmark_filename: [train, valid, test]\n")
    (folder / "shop.item").unlink()
    page = write_page(folder, "shop").read_text()
    assert "Nearest items" not in page and ">users<" in page
