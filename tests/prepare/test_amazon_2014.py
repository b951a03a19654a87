"""The Amazon release of 2014, from files in its exact formats."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from recbole_cadmr.cli.main import main
from recbole_cadmr.config.config import Config
from recbole_cadmr.data.dataset import MultimodalDataset
from recbole_cadmr.data.prepare.amazon import parse_literal
from tests.local_server import serve
from tests.prepare.raw import ITEMS, TITLES, USERS, vector_of, write_amazon_2014, write_image_features


def prepare(source, data_path, *more):
    arguments = ["--category", "Baby", "--source", str(source), "--data_path", str(data_path), "--text_model", "none"]
    return main(["prepare", "amazon", *arguments, *more])


def pairs(folder, part):
    return [tuple(line.split("\t")[:2]) for line in (folder / f"baby.{part}.inter").read_text().splitlines()[1:]]


def notes(folder):
    card = (folder / "dataset_card.md").read_text()
    return card.partition("## Skipped\n\n")[2].partition("\n\n## Sources")[0].splitlines()


def test_every_review_and_every_vector_come_through(tmp_path):
    assert prepare(write_amazon_2014(tmp_path / "raw"), tmp_path / "dataset") == 0
    folder = tmp_path / "dataset" / "baby"
    found = {part: pairs(folder, part) for part in ("train", "valid", "test")}
    assert sorted(pair for part in found.values() for pair in part) == sorted(
        (user, item) for user in USERS for item in ITEMS
    )
    assert [sorted(user for user, _ in found[part]) for part in ("valid", "test")] == [USERS, USERS]
    first = (folder / "baby.train.inter").read_text().splitlines()
    assert first[0] == "user_id:token\titem_id:token\trating:float\ttimestamp:float" and first[1].split("\t")[2] == "5"
    assert dict(line.split("\t") for line in (folder / "baby.item").read_text().splitlines()[1:]) == dict(
        zip(ITEMS[:-1], TITLES)
    )
    dataset = MultimodalDataset(
        Config(
            "CADMR", "baby", settings={"data_path": str(tmp_path / "dataset"), "topk": [1], "valid_metric": "Recall@1"}
        )
    )
    image = dataset.modality("image")
    for item in ITEMS:
        row = dataset.field2token_id["item_id"][item]
        assert bool(image.present[row]) == (item != ITEMS[0])
        if item != ITEMS[0]:
            assert np.array_equal(image.features[row].numpy(), vector_of(item))
    assert notes(folder) == ["- items without metadata: 1", "- items without image features: 1"]
    assert sorted(path.name for path in (tmp_path / "dataset").iterdir()) == ["baby"]


def test_the_same_input_and_seed_give_the_same_bytes(tmp_path):
    source = write_amazon_2014(tmp_path / "raw")
    for place, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert prepare(source, tmp_path / place, "--seed", seed, "--graph", "2") == 0
    a, b, c = (
        {path.name: path.read_bytes() for path in (tmp_path / place / "baby").iterdir()} for place in ("a", "b", "c")
    )
    assert a == b and a["baby.test.inter"] != c["baby.test.inter"]
    assert {"baby.image.knn.npz", "baby.html", "dataset_card.md"} <= a.keys()


KILLED = """
import os, signal, sys
from recbole_cadmr.data.prepare import write
write.write_page = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
from recbole_cadmr.cli.main import main
main(sys.argv[1:])
"""


def test_a_kill_at_the_last_step_leaves_nothing_under_the_final_name(tmp_path):
    source = write_amazon_2014(tmp_path / "raw")
    arguments = ["prepare", "amazon", "--category", "Baby", "--source", source, "--data_path", tmp_path / "dataset"]
    command = [sys.executable, "-c", KILLED, *map(str, arguments), "--text_model", "none"]
    assert subprocess.run(command, capture_output=True, timeout=120, check=False).returncode == -signal.SIGKILL
    assert [path.name for path in (tmp_path / "dataset").iterdir()] == [".baby.work"]
    assert prepare(source, tmp_path / "dataset") == 0 and prepare(source, tmp_path / "again") == 0
    assert [path.name for path in (tmp_path / "dataset").iterdir()] == ["baby"]
    for path in (tmp_path / "again" / "baby").iterdir():
        assert (tmp_path / "dataset" / "baby" / path.name).read_bytes() == path.read_bytes()


BAD_REVIEWS = [b"{not json", b'"a text"', b'{"reviewerID": "A0"}', b'{"reviewerID": "A9", "asin": "\xff"}']
BAD_META = [
    b"{'asin': 'B000000000', broken",
    b"__import__('os').system('touch hacked')",
    b"{'title': 'no id'}",
    b"\xff\xfe",
]


def test_malformed_lines_are_counted_and_shown(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    more = [
        b'{"reviewerID": "A0", "asin": "B000000000", "overall": 1.0, "unixReviewTime": 1500000000}',
        b'{"reviewerID": "new", "asin": "B000000000", "overall": 1.0, "unixReviewTime": 1500000000}',
    ]
    others = [b"{'asin': 'NOBODY', 'title': 'x'}", b"{'asin': 'B000000001', 'title': 'again'}"]
    source = write_amazon_2014(tmp_path / "raw", [*BAD_REVIEWS, *more], [*BAD_META, *others])
    assert prepare(source, "dataset") == 0
    folder = tmp_path / "dataset" / "baby"
    assert notes(folder) == [
        "- malformed lines of reviews_Baby_5.json.gz: 4 (line 26: it is not JSON; line 27: it is not an object; "
        "line 28: it lacks reviewerID or asin; ...)",
        "- repeated interactions of a user with an item: 1",
        "- malformed lines of meta_Baby.json.gz: 4 (line 5: it is not a record with asin; "
        "line 6: it is not a record with asin; line 7: it is not a record with asin; ...)",
        "- repeated items in the metadata: 1 (B000000001)",
        "- items of the metadata without interactions that are kept: 1",
        "- items without metadata: 1",
        "- items without image features: 1",
    ]
    assert "malformed lines of reviews_Baby_5.json.gz: 4" in capsys.readouterr().err
    assert not (tmp_path / "hacked").exists()
    assert "rating:float" in (folder / "baby.train.inter").read_text()


def test_strict_stops_at_the_first_malformed_line(tmp_path, capsys):
    assert prepare(write_amazon_2014(tmp_path / "raw", BAD_REVIEWS), tmp_path / "dataset", "--strict") == 2
    assert "reviews_Baby_5.json.gz line 26 is malformed: it is not JSON" in capsys.readouterr().err
    assert not (tmp_path / "dataset" / "baby").exists()


def test_literals_are_read_and_never_run():
    assert parse_literal("{'a': [1, 'x'], \"b\": None}") == {"a": [1, "x"], "b": None}
    assert parse_literal('{"a": null, "b": true}') == {"a": None, "b": True}
    assert parse_literal("{'a': '\\d'}") == {"a": "\\d"}
    for hostile in ("open('x')", "[]", "{'a': 1+x}", "(" * 5000, "{'a': " * 5000, "", "{'a': b}", "\x00"):
        assert parse_literal(hostile) is None


def truncate(path):
    path.write_bytes(path.read_bytes()[:-7])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda raw: truncate(raw / "image_features_Baby.b"), "image_features_Baby.b is truncated"),
        (lambda raw: truncate(raw / "reviews_Baby_5.json.gz"), "reviews_Baby_5.json.gz is truncated or damaged"),
        (lambda raw: truncate(raw / "meta_Baby.json.gz"), "meta_Baby.json.gz is truncated or damaged"),
        (lambda raw: (raw / "meta_Baby.json.gz").unlink(), "holds no meta_Baby.json.gz or meta_Baby.json"),
        (lambda raw: (raw / "reviews_Baby_5.json.gz").write_bytes(gzip.compress(b"")), "no interaction is left"),
    ],
)
def test_damaged_files_are_one_sentence_and_leave_nothing(tmp_path, capsys, damage, said):
    source = write_amazon_2014(tmp_path / "raw")
    damage(source)
    assert prepare(source, tmp_path / "dataset") == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: ") and said in last
    assert not (tmp_path / "dataset" / "baby").exists()


def test_nothing_in_the_core_and_a_folder_in_the_way(tmp_path, capsys):
    source = write_amazon_2014(tmp_path / "raw")
    assert prepare(source, tmp_path / "dataset", "--k_core", "6") == 2
    assert "none of the 25 lies in a 6-core" in capsys.readouterr().err
    (tmp_path / "dataset" / "baby").mkdir(parents=True)
    (tmp_path / "dataset" / "baby" / "mine").write_text("x")
    assert prepare(source, tmp_path / "dataset") == 2
    assert [path.name for path in (tmp_path / "dataset" / "baby").iterdir()] == ["mine"]


def test_image_features_with_nan_duplicates_and_other_items(tmp_path):
    source = write_amazon_2014(tmp_path / "raw")
    path = source / "image_features_Baby.b"
    write_image_features(path, [ITEMS[1], "NOBODY0000", ITEMS[1], ITEMS[3], ITEMS[2]])
    with open(path, "r+b") as file:
        file.seek(-2 * (4096 * 4 + 10) + 10, os.SEEK_END)
        file.write(bytes(4096 * 4))
        file.seek(-4, os.SEEK_END)
        file.write(np.array([np.nan], "<f4").tobytes())
    assert prepare(source, tmp_path / "dataset") == 0
    folder = tmp_path / "dataset" / "baby"
    assert (folder / "baby.image").read_text().splitlines()[1:] == [ITEMS[1]]
    assert notes(folder)[1:] == [
        "- repeated items in the image features: 1 (B000000001)",
        "- image features of zeros: 1 (B000000003)",
        "- image features with NaN or infinite numbers: 1 (B000000002)",
        "- items without image features: 4",
    ]


def test_download_from_a_mirror_prepares_the_same_set(tmp_path, monkeypatch):
    source = write_amazon_2014(tmp_path / "raw")
    monkeypatch.chdir(tmp_path)
    with serve() as site:
        for name, place in (
            ("reviews_Baby_5.json.gz", ""),
            ("meta_Baby.json.gz", ""),
            ("image_features_Baby.b", "image_"),
        ):
            folder = "/image_features/categoryFiles" if place else "/categoryFiles"
            site.files[f"{folder}/{name}"] = (source / name).read_bytes()
        arguments = ["--category", "Baby", "--download", "--base_address", site.address, "--text_model", "none"]
        assert main(["prepare", "amazon", *arguments]) == 0
        assert len(site.sent) == 3
    assert prepare(source, "other") == 0
    for path in (tmp_path / "other" / "baby").iterdir():
        assert (tmp_path / "dataset" / "baby" / path.name).read_bytes() == path.read_bytes()
