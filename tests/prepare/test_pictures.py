"""Pictures are found wherever they lie in their folder; what was not found, and what was found twice, is said."""

from __future__ import annotations

import pytest

from recbole_cadmr.cli.main import main
from recbole_cadmr.data.prepare.pictures import find_pictures
from recbole_cadmr.data.prepare.skipped_rows import SkippedRows
from recbole_cadmr.errors import UserError


def tree(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


def found(folder, items, **options):
    skipped = SkippedRows()
    pictures = find_pictures(folder, items, skipped, **options)
    return {item: path.relative_to(folder).as_posix() for item, path in pictures.items()}, skipped.counts


def test_pictures_named_as_their_items(tmp_path):
    names = ("a.JPG", "01/b.png", "01/02/c.webp", "d.jpg", "01/d.jpg", "01/e.jpg", "02/e.jpg", "f.txt", ".x/f.jpg")
    tree(tmp_path, *names, "g.jpg", "g.png", "sub/h/i.tif")
    pictures, counts = found(tmp_path, [*"abcdefg", "h/i", "sub/h/i"])
    assert pictures == {
        "a": "a.JPG",
        "b": "01/b.png",
        "c": "01/02/c.webp",
        "d": "d.jpg",  # the one next to the top
        "g": "g.jpg",
        "sub/h/i": "sub/h/i.tif",
    }
    assert counts == {
        "items with several pictures of their name": 3,  # d, e, g
        "items whose pictures are in several folders, so that none is taken": 1,
        "items without a picture": 3,  # e, f, h/i
    }


def test_pictures_as_a_column_names_them(tmp_path):
    tree(tmp_path, "one.png", "01/two.jpg", "01/three.jpg", "02/three.jpg", "four.webp", "five x.jpg")
    names = {
        "a": "./one.png",
        "b": "http://x.org/pictures/two.jpg?size=9#top",
        "c": str(tmp_path / "02" / "three.jpg"),
        "d": "four",
        "e": "C:\\pictures\\one.png",
        "f": "https://x.org/five%20x.jpg",
        "g": "three.jpg",
        "h": "../../etc/passwd",
        "i": "",
        "j": "a" * 5000 + "\0",
    }
    pictures, counts = found(tmp_path, [*names, "k"], names=names)
    assert pictures == {
        "a": "one.png",
        "b": "01/two.jpg",
        "c": "02/three.jpg",
        "d": "four.webp",
        "e": "one.png",
        "f": "five x.jpg",
    }
    assert counts["items without a picture"] == 5  # g to k


def test_a_cell_of_another_folder_takes_no_file_of_its_name(tmp_path):
    tree(tmp_path, "hats/1.jpg", "main.jpg")
    names = {"a": "hats/1.jpg", "b": "shoes/1.jpg", "c": "http://x/c/main.jpg?w=1", "d": "http://x/d/main.jpg"}
    names["e"] = "1.jpg"
    pictures, counts = found(tmp_path, list(names), names=names)
    assert pictures == {"a": "hats/1.jpg"}
    assert counts["items whose pictures are other files of the same name, so that none is taken"] == 4
    del names["b"]
    assert found(tmp_path, list(names), names=names)[0] == {"a": "hats/1.jpg", "e": "hats/1.jpg"}


def test_nothing_found_is_refused_where_an_option_asked_for_it(tmp_path):
    tree(tmp_path, "p/1/x.jpg", "p/2/y.jpg")
    with pytest.raises(UserError, match=r"looked for 'a.jpg', 'b.jpg', there are '1/x.jpg', '2/y.jpg'"):
        found(tmp_path / "p", ["a", "b"], option="--images")
    names = {"a": "https://x.org/7.jpg"}
    with pytest.raises(UserError, match=r"looked for 'https://x.org/7.jpg', there are '1/x.jpg'"):
        found(tmp_path / "p", ["a", "b"], option="--images", names=names)
    with pytest.raises(UserError, match="there is no folder .*nowhere; name the one of the pictures with --posters"):
        found(tmp_path / "nowhere", ["a"], option="--posters")
    assert found(tmp_path / "nowhere", ["a"]) == ({}, {"items without a picture (there is no folder nowhere)": 1})


@pytest.mark.parametrize(
    "given",
    [
        ["files", "--inter", "i.csv", "--images"],
        ["amazon", "--release", "2023", "--category", "C", "--source", ".", "--images"],
        ["microlens", "--source", ".", "--images"],
        ["movielens", "--source", ".", "--posters"],
    ],
)
def test_every_source_refuses_a_mistyped_folder_and_pictures_of_other_items(tmp_path, capsys, given):
    rows = [(f"u{user}", item) for user in range(3) for item in "xyz"]
    (tmp_path / "i.csv").write_text("user_id,item_id\n" + "".join(f"{user},{item}\n" for user, item in rows))
    record = '{{"user_id": "{}", "parent_asin": "{}", "rating": 5, "timestamp": 1}}\n'
    (tmp_path / "C.jsonl").write_text("".join(record.format(*row) for row in rows))
    (tmp_path / "meta_C.jsonl").write_text('{"parent_asin": "x", "title": "X"}\n')
    (tmp_path / "v_pairs.tsv").write_text("".join(f"u{user}\tx y z\n" for user in range(3)))
    (tmp_path / "v_titles.csv").write_text("item,title\nx,X\n")
    (tmp_path / "ratings.dat").write_text("".join(f"{user}::{item}::5::1\n" for user, item in rows))
    (tmp_path / "movies.dat").write_text("x::X::Drama\n")
    tree(tmp_path / "pictures", "1/q.jpg")
    rest = ["--text_model", "none", "--k_core", "1", "--name", "s"]
    for folder, said in (("pictuers", "there is no folder pictuers"), ("pictures", "there are '1/q.jpg'")):
        assert main(["prepare", *given, folder, *rest]) == 2
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert error.startswith("error: ") and said in error
    assert not (tmp_path / "dataset").exists() or not list((tmp_path / "dataset").iterdir())
    tree(tmp_path / "pictures", "1/x.jpg")
    assert main(["prepare", *given, "pictures", *rest, "--image_model", "none"]) == 0
    card = (tmp_path / "dataset" / "s" / "dataset_card.md").read_text()
    assert "- items without a picture: 2\n" in card and "- pictures that are not read: 1\n" in card
