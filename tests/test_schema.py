"""Files that were edited are refused in one sentence that says where; sound ones arrive as they were."""

from __future__ import annotations

import msgspec
import pytest
import torch

from recbole_cadmr.errors import UserError
from recbole_cadmr.files import read_text
from recbole_cadmr.schema import checked, read_json, read_json_lines


class Entry(msgspec.Struct, frozen=True):
    number: int
    scores: dict[str, float | None]


def test_sound_file_arrives_as_it_was(tmp_path):
    file = tmp_path / "entry.json"
    file.write_text('{"number": 3, "scores": {"recall@20": 0.5, "ndcg@20": null}, "later": 1}')
    assert read_json(file, Entry) == Entry(3, {"recall@20": 0.5, "ndcg@20": None})


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"number": ' + "[" * 100_000, "damaged"),
        ('{"scores": {"a": 1}, "number": 3, "other": ' + "[" * 100_000, "recursion"),
        ('{"number": 3}', "missing required field 'scores'"),
        ('{"number": "3", "scores": {}}', "Expected 'int', got 'str' - at '$.number'"),
        ('{"number": 3, "scores": {"a": "<b>"}}', "at '$.scores[...]'"),
        ('{"number": 3, "scores": {"a": NaN}}', "malformed"),
        ('{"number": 3, "scores": {"a": 1e999}}', "out of range"),
        ("", "truncated"),
    ],
)
def test_edited_file_is_one_sentence(tmp_path, content, sentence):
    file = tmp_path / "entry.json"
    file.write_text(content)
    with pytest.raises(UserError, match="is damaged or was edited") as error:
        read_json(file, Entry)
    assert sentence in str(error.value) and "\n" not in str(error.value)


def test_lines_are_checked_each_and_an_unfinished_one_is_ignored(tmp_path):
    file = tmp_path / "entries.jsonl"
    file.write_bytes(b'{"number": 1, "scores": {}}\n{"number": 2, "scores": {"a": null}}\n{"number": \xff')
    assert read_json_lines(file, Entry) == [Entry(1, {}), Entry(2, {"a": None})]
    file.write_bytes(b'{"number": 1, "scores": {}}\n{"number": "2", "scores": {}}\n')
    with pytest.raises(UserError, match="entries.jsonl is damaged or was edited: Expected 'int', got 'str'"):
        read_json_lines(file, Entry)


def test_content_of_a_checkpoint_is_checked_too(tmp_path):
    tensor = torch.zeros(2)
    assert checked({"a": tensor}, dict[str, torch.Tensor], tmp_path)["a"] is tensor
    with pytest.raises(UserError, match="Expected 'Tensor', got 'int'"):
        checked({"a": 5}, dict[str, torch.Tensor], tmp_path)
    for kind in (dict[str, float], Entry):  # releases of msgspec differ in what they ask of a tensor
        with pytest.raises(UserError, match="is damaged or was edited"):
            checked({"a": tensor}, dict[str, kind], tmp_path)


@pytest.mark.parametrize("name", ["absent", "\0", "a" * 5000, "."])
def test_what_cannot_be_read_is_one_sentence(tmp_path, name):
    with pytest.raises(UserError, match="there is no file|cannot read"):
        read_text(f"{tmp_path}/{name}")
