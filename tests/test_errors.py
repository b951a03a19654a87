"""What a foreign package refuses is quoted; a defect of this package keeps its own exception."""

from __future__ import annotations

import json

import pytest

from recbole_cadmr.errors import UserError, refusals_of


def test_the_innermost_of_both_packages_decides():
    sentence = "^cannot read it: JSONDecodeError: Expecting value: line 1"
    with pytest.raises(UserError, match=sentence), refusals_of("json", "read it"):
        json.loads("x")


@pytest.mark.parametrize("error", [UserError("said"), MemoryError(), ModuleNotFoundError("ray")])
def test_what_has_a_sentence_of_its_own_passes(error):
    def hook(_):
        raise error

    with pytest.raises(type(error)), refusals_of("json", "read it"):
        json.loads("{}", object_hook=hook)


def test_a_defect_of_ours_passes():
    from recbole_cadmr.errors import did_you_mean

    with pytest.raises(AttributeError), refusals_of("json", "read it"):
        json.loads("{}", object_hook=lambda _: did_you_mean(None, []))
