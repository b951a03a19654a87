"""Files of new products are read as ``prepare`` reads those of a shop, by the columns that made the data set."""

from __future__ import annotations

import pytest

from recbole_cadmr.data.encoders import Encoder
from recbole_cadmr.data.prepare.skipped_rows import SkippedRows
from recbole_cadmr.errors import UserError
from recbole_cadmr.recommender.new_item_files import Columns, read_new_items

SHOP = ("name", "about")


@pytest.mark.parametrize(
    ("of_set", "given", "header", "read"),
    [
        (SHOP, (), "item_id,title,name,about", "Name About"),
        (SHOP, (), "item_id,about,name,text", "Name About"),
        (SHOP, (), "item_id,about,title,text", "Text"),
        (SHOP, (), "item_id,title", None),
        (SHOP, ("title",), "item_id,title,name,about", "Title"),
        ((), (), "item_id,title,text", "Text"),
        ((), (), "item_id,title,name", "Title"),
        (
            SHOP,
            (),
            "item_id,title,name",
            "has no column about, and the texts of the data set were made of name, about;",
        ),
    ],
)
def test_texts_are_read_from_the_columns_that_made_those_of_the_data_set(tmp_path, of_set, given, header, read):
    encoders = {
        "text": Encoder("text", "m", {}, columns=of_set),
        "image": Encoder("image", "i", {}, columns=("photo",)),
    }
    columns = Columns.of(encoders, "item_id", "title", given, None)
    names = header.split(",")
    file = tmp_path / "new.csv"
    file.write_text(f"{header},photo,picture\n{','.join(name.capitalize() for name in names)},a.png,b.png\n")
    if read and read.startswith("has no"):
        with pytest.raises(UserError, match=read):
            read_new_items(file, [], columns)
        return
    found = read_new_items(file, [], columns)
    assert found.get("texts") == ([read] if read else None) and found["pictures"] == [tmp_path / "a.png"]


def test_pictures_of_a_folder_are_found_as_prepare_finds_them(tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for item in ("pot", "bow"):
        (pictures / f"{item}.png").touch()
    (tmp_path / "new.csv").write_text("item_id,photo\npot,http://shop/bow.png\ntea,\nbow,gone.png\n")
    columns, skipped = Columns(picture="photo"), SkippedRows()
    found = read_new_items(tmp_path / "new.csv", [], columns, pictures, skipped)["pictures"]
    assert found == [pictures / "bow.png", None, None]
    assert "items without a picture: 2" in skipped.lines()[0]
    (tmp_path / "empty").mkdir()
    assert read_new_items(tmp_path / "new.csv", [], columns, tmp_path / "empty")["pictures"] == [None] * 3
    with pytest.raises(UserError, match="there is no folder"):
        read_new_items(tmp_path / "new.csv", [], columns, tmp_path / "gone")
    found = read_new_items(tmp_path / "new.csv", [], None, pictures)["pictures"]
    assert found == [pictures / "pot.png", None, pictures / "bow.png"]


def test_of_a_repeated_item_the_first_row_counts_and_what_cannot_be_read_is_counted(tmp_path):
    (tmp_path / "new.csv").write_text("item_id,title\nx,First\n,Nobody\nx,Second\ny,Other\nz\n")
    skipped = SkippedRows()
    found = read_new_items(tmp_path / "new.csv", [], skipped=skipped)
    assert found["ids"] == ["x", "y"] and found["titles"] == found["texts"] == ["First", "Other"]
    assert [line.partition(" (")[0] for line in skipped.lines()] == [
        "malformed lines of new.csv: 1",
        "items without a usable id: 1",
        "repeated items: 1",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name\nx\n", "has no column 'item_id'"),
        ("item_id,title\n[PAD],x\n", "holds no item with a usable id"),
        ("item_id\n", "holds no items"),
        ("item_id,text_vector\nx,0.5 a\n", "the text_vector of .* in row 1 holds something other than numbers"),
        ("item_id,text_vector\nx,0.5 1\ny,1\n", "the text_vector of .* has vectors of 1 and of 2 numbers"),
    ],
)
def test_files_that_hold_something_else_are_refused(tmp_path, text, message):
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        read_new_items(tmp_path / "bad.csv", ["text"])
