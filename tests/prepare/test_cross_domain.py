"""Users of two domains come through with their order, their domains, and a split that ties cannot leak into."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import pandas as pd
import pytest
import yaml

from recbole_cadmr.data.prepare.cross_domain import add_arguments, run
from recbole_cadmr.errors import UserError
from tests.cross_domain import write_source

REAL = Path(os.environ.get("RECBOLE_CADMR_DATA", Path(__file__).parents[3] / "shared" / "data"))
LINES = ["7 1|10 5|10 2|20 6|30 3|40", "9 4|5 5|5 1|5 6|5 2|5", "x 3|1 2|2 1|3"]
ITEMS = {"a": [1, 0], "b": [2, 0], "c": [3, 0], "d": [4, 1], "e": [5, 1], "f": [6, 1], "unused": [7, 1]}


def source(folder: Path, lines=LINES, items=ITEMS, names=("afk_50_preprocessed.txt", "map_item_50.txt")) -> Path:
    folder.mkdir()
    (folder / names[0]).write_text("\n".join(lines) + "\n")
    (folder / names[1]).write_text(json.dumps(items))
    return folder


def prepare(folder: Path, data_path: Path, *more: str) -> Path:
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_arguments(parser)
    return run(parser.parse_args(["--source", str(folder), "--data_path", str(data_path), *more]))


def parts(place: Path) -> dict[str, pd.DataFrame]:
    tables = {p: pd.read_csv(place / f"{place.name}.{p}.inter", sep="\t") for p in ("train", "valid", "test")}
    return {p: t.rename(columns=lambda name: name.split(":")[0]).astype({"user_id": str}) for p, t in tables.items()}


def test_a_small_input_by_hand(tmp_path, capsys):
    place = prepare(source(tmp_path / "shop"), tmp_path / "dataset", "--domains", "food", "kitchen")
    assert place == tmp_path / "dataset" / "shop"
    table = parts(place)
    of_7 = {part: rows[rows["user_id"] == "7"] for part, rows in table.items()}
    assert of_7["test"]["item_id"].tolist() == [3] and of_7["valid"]["item_id"].tolist() == [6]
    assert sorted(of_7["train"]["item_id"]) == [1, 2, 5] and of_7["train"]["item_id"].tolist()[2] == 2
    assert of_7["train"]["order"].tolist() == [0, 1, 2] and of_7["test"]["order"].tolist() == [4]
    assert of_7["train"]["timestamp"].tolist() == [10, 10, 20]
    assert set(pd.concat(table.values())["user_id"]) == {"7", "9"}  # x is of a single domain
    items = pd.read_csv(place / "shop.item", sep="\t", index_col=0)
    assert items["domain:token"].to_dict() == dict.fromkeys((1, 2, 3), "food") | dict.fromkeys((4, 5, 6), "kitchen")
    settings = yaml.safe_load((place / "shop.yaml").read_text())
    assert settings["TIME_FIELD"] == "order" and settings["mask_valid_at_test"]
    card = (place / "dataset_card.md").read_text()
    assert "62.5% of a user's steps" in card and "seed 2020" in card and "users of a single domain: 1" in card
    assert "| domain kitchen | 3 items, 5 interactions |" in card
    assert "62.5%" in capsys.readouterr().err


def test_a_byte_order_mark_is_no_part_of_an_id(tmp_path):
    folder = source(tmp_path / "shop")
    for file in folder.iterdir():
        file.write_text("\ufeff" + file.read_text(), encoding="utf-8")
    assert set(pd.concat(parts(prepare(folder, tmp_path / "dataset")).values())["user_id"]) == {"7", "9"}


@pytest.mark.parametrize(
    ("lines", "without"),
    [
        (["", *LINES], 0),
        ([line.replace(" ", "\t") for line in LINES], 0),
        (["1", "2", *LINES], 2),
        (["  7  1|10 5|10\t2|20 6|30 3|40 ", *LINES[1:]], 0),
    ],
)
def test_sequences_are_known_however_they_begin(tmp_path, lines, without):
    place = prepare(source(tmp_path / "shop", lines=lines), tmp_path / "dataset")
    table = parts(place)
    of_7 = {part: rows.loc[rows["user_id"] == "7", "item_id"].tolist() for part, rows in table.items()}
    assert of_7["test"] == [3] and of_7["valid"] == [6] and sorted(of_7["train"]) == [1, 2, 5]
    assert set(pd.concat(table.values())["user_id"]) == {"7", "9"}
    assert ("users without interactions: 2" in (place / "dataset_card.md").read_text()) == bool(without)


def test_ties_are_drawn_and_other_times_kept(tmp_path):
    folder = write_source(tmp_path / "two", n_users=300, seed=3, days=4)
    places = [prepare(folder, tmp_path / f"seed{seed}", f"--seed={seed}") for seed in (1, 2, 1)[:2]]
    one, other = (pd.concat(parts(place).values()).sort_values(["user_id", "order"]) for place in places)
    for table in (one, other):
        by_user = table.groupby("user_id")
        assert by_user["timestamp"].is_monotonic_increasing.all()
        assert (table["order"] == by_user.cumcount()).all()
    assert sorted(map(tuple, one[["user_id", "item_id", "timestamp"]].values)) == sorted(
        map(tuple, other[["user_id", "item_id", "timestamp"]].values)
    )
    assert (one["item_id"].to_numpy() != other["item_id"].to_numpy()).mean() > 0.3
    # In the file, the next item of the same time is always the larger one.
    same = (one["user_id"] == one["user_id"].shift()) & (one["timestamp"] == one["timestamp"].shift())
    larger = (one["item_id"] > one["item_id"].shift())[same]
    assert len(larger) > 500 and abs(larger.mean() - 0.5) < 0.06


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    folder = source(tmp_path / "shop")
    one, other = (prepare(folder, tmp_path / name) for name in ("one", "other"))
    for file in one.iterdir():
        assert file.read_bytes() == (other / file.name).read_bytes(), file.name


def test_files_of_other_names_and_titles(tmp_path):
    folder = source(tmp_path / "mine", names=("sequences.txt", "items.json"))
    (folder / "map_user_50.txt").write_text('{"A1": 0, "A2": 1}')
    (folder / "titles.tsv").write_text(
        "item\tasin\tdomain\ttitle\n1\ta\t0\tGreen tea\n5\te\t1\tA pan\n7\tg\t1\tUnused\n"
    )
    place = prepare(folder, tmp_path / "dataset", "--name", "two")
    items = pd.read_csv(place / "two.item", sep="\t", index_col=0, keep_default_na=False)
    assert items["title:token_seq"].to_dict() == {1: "Green tea", 2: "", 3: "", 4: "", 5: "A pan", 6: ""}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"items": {"a": [1, 0], "b": [2, 0]}}, "gives no item to the domain 1"),
        ({"items": {**ITEMS, "g": [1, 1]}}, "gives the item 1 to both domains"),
        ({"items": {**ITEMS, "g": [8, 2]}}, r"'g' must have \[item, 0 or 1\], not \[8, 2\]"),
        ({"items": {**ITEMS, "g": [8, True]}}, r"must have \[item, 0 or 1\]"),
        ({"lines": ["1 1|5 2|6 3|7", "2 5|5 6|6"]}, "no user of .* has interactions in both domains"),
        ({"lines": [*LINES, "8 1|10 99|11"]}, "line 4: the map of items does not have the item 99"),
        ({"lines": [*LINES, "8 1|10 2:11"]}, "line 4 is malformed: '2:11' is no item|time"),
        ({"lines": [*LINES, "8 1|10 2|1.5"]}, "line 4 is malformed: '2|1.5'"),
        ({"lines": [*LINES, "7 1|10"]}, "line 4 is of the user '7' again"),
        ({"lines": ["nothing of the kind"]}, r"must hold one .txt or .json file of lines `user item\|time ...`, not 0"),
    ],
)
def test_bad_input(tmp_path, change, message):
    folder = source(tmp_path / "shop", **change)
    with pytest.raises(UserError, match=message):
        prepare(folder, tmp_path / "dataset")
    assert not (tmp_path / "dataset" / "shop").exists()


def test_bad_domains_and_folders(tmp_path):
    folder = source(tmp_path / "shop")
    with pytest.raises(UserError, match="two different words"):
        prepare(folder, tmp_path / "dataset", "--domains", "A", "A")
    with pytest.raises(UserError, match="there is no folder"):
        prepare(tmp_path / "none", tmp_path / "dataset")
    (folder / "second.txt").write_text("1 1|2\n")
    with pytest.raises(UserError, match=r"not 2 \(afk_50_preprocessed.txt, second.txt\)"):
        prepare(folder, tmp_path / "dataset")


@pytest.mark.skipif(not (REAL / "cross_domain").is_dir(), reason=f"there are no real data in {REAL}/cross_domain")
def test_real_data(tmp_path):
    place = prepare(REAL / "cross_domain" / "abe", tmp_path)
    table = parts(place)
    assert [len(rows) for rows in table.values()] == [50_329 + 63_800 - 2 * 4_474, 4_474, 4_474]
    domains = pd.read_csv(place / "abe.item", sep="\t", index_col=0)["domain:token"]
    everything = pd.concat(table.values())["item_id"].map(domains).value_counts()
    assert everything.to_dict() == {"A": 50_329, "B": 63_800}
    assert domains.value_counts().to_dict() == {"A": 10_379, "B": 14_188}
