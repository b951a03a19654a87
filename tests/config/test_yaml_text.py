"""Yaml is read to plain values of bounded size; a person's words stay words."""

from __future__ import annotations

import pytest

from recbole_cadmr.config.yaml_text import load_yaml, parse_value, read_yaml, shown
from recbole_cadmr.errors import UserError

BOMB = "\n".join(["a: &r", *(f"  - &l{k} [{','.join([f'*l{k - 1}' if k else 'x'] * 10)}]" for k in range(10))])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2020-01-31", "2020-01-31"),
        ("2020-13-45", "2020-13-45"),
        ("010", "010"),
        ("12:30", "12:30"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("-3", -3),
        ("0", 0),
        ("1.5e3", 1500.0),
        (".5", 0.5),
        ("no", False),
        ("~", None),
        ("[5,inf)", "[5,inf)"),
        ("(0,5]", "(0,5]"),
        ("(0, 5)", "(0, 5)"),
        ("[0,14]", [0, 14]),
        ("'[5,inf)'", "[5,inf)"),
        (
            "{rating: [3,inf), time: (0,5];[8,8], gender: [M]}",
            {"rating": "[3,inf)", "time": "(0,5];[8,8]", "gender": ["M"]},
        ),
        ("[1,2];[4,5)", "[1,2];[4,5)"),
        ("{'RS':[0.8,0.2]}", {"RS": [0.8, 0.2]}),
        ("a note (see 1)", "a note (see 1)"),
    ],
)
def test_what_is_typed(text, value):
    assert parse_value(text) == value


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (BOMB, "holds more than 1,000,000 values, repeated ones included"),
        ("a: &a [*a]", "contains itself"),
        ("[" * 5000 + "]" * 5000, "nested too deeply"),
        ("a: !!timestamp 2020-13-45", "no setting is of the type 'tag:yaml.org,2002:timestamp'"),
        ("a: !!binary aGk=", "no setting is of the type"),
        ("a: !!set {b}", "no setting is of the type"),
        ("a: !!int x", "holds a value that cannot be read"),
        ("a: !!float x", "holds a value that cannot be read"),
        ("a: !!bool x", "holds a value that cannot be read"),
        (f"a: {'9' * 5000}", "holds a value that cannot be read"),
        ("? [1]\n: 2", "is not valid yaml"),
        ("{[1]: 2}", "is not valid yaml"),
        ('a: "\\0"', "a character that is not allowed in a text"),
        ('a: "\\ud800"', "a character that is not allowed in a text"),
        ("a: \0", "is not valid yaml"),
        ("a: 1\na: 2", "names 'a' twice"),
        ("a: {b: 1, b: 2}", "names 'b' twice"),
        ("a: 1\n--- \nb: 2", "is not valid yaml"),
    ],
)
def test_what_is_refused(text, sentence):
    with pytest.raises(UserError, match=f"^f.yaml .*{sentence}") as caught:
        load_yaml(text, "f.yaml")
    assert len(str(caught.value)) < 400 and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"a: \xff", b"\x00\x01", b"\xff\xfe"])
def test_files_that_are_no_text(tmp_path, content):
    (tmp_path / "c.yaml").write_bytes(content)
    with pytest.raises(UserError, match="c.yaml"):
        read_yaml(tmp_path / "c.yaml")


@pytest.mark.parametrize("place", ["absent.yaml", ".", "a\0b"])
def test_places_that_are_no_files(tmp_path, place):
    with pytest.raises(UserError, match="settings file"):
        read_yaml(tmp_path / place)


LONG = {"text": "x" * 10**6, "digits": 10**5000, "list": list(range(10**6)), "mapping": {k: k for k in range(10**5)}}


@pytest.mark.parametrize("name", LONG)
def test_values_are_shown_short(name):
    assert len(shown(LONG[name])) <= 200
