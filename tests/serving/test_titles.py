"""Items found by their titles."""

from __future__ import annotations

import numpy as np
import pytest

from recbole_cadmr.serving.titles import PeopleIndex, TitleIndex, folded

TITLES = ["Crème brûlée", "Brulee cream pot", "Cream", "東京タワー", "", "Ice cream machine", "Łódź poster"]
INDEX = TitleIndex(["c1", "c2", "c3", "c4", "id-5", "c6", "c7"], TITLES, np.array([9, 1, 2, 3, 4, 5, 6]))


@pytest.mark.parametrize(
    ("text", "plain"),
    [("Crème  BRÛLÉE", "creme brulee"), ("ŻÓŁĆ", "zolc"), ("Straße", "strasse"), ("ﬁne ＦＵＬＬ", "fine full")],
)
def test_case_accents_and_widths_do_not_matter(text, plain):
    assert folded(text) == plain


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("cream", [2, 5, 1]),  # the title itself, then the more popular
        ("CRÈ", [0, 2, 5, 1]),  # titles that begin so, then words that do
        ("brul cre", [0, 1]),
        ("cre brul", [0, 1]),
        ("crea machine", [5]),
        ("タワー", [3]),  # in the middle of what has no blanks
        ("ID-5", [4]),
        ("id", [4]),
        ("lodz", [6]),
        ("reme", [0]),
        ("nothing", []),
        ("", []),
        ("  ", []),
        (".*", []),
    ],
)
def test_the_best_matches_come_first(query, found):
    assert INDEX.find(query, 10) == found
    assert INDEX.find(query, 1) == found[:1]


def test_all_that_is_found_among_many_is_what_a_search_one_by_one_finds():
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abc"), 3)) for _ in range(300)]
    titles = [" ".join(rng.choice(words, 4)) for _ in range(2000)]
    index = TitleIndex([f"#{n}" for n in range(2000)], titles, rng.random(2000))
    for query in ("a", "ab c", "abc", "b b", "cab ab"):
        expected = {
            n
            for n, title in enumerate(titles)
            if all(any(word.startswith(part) for word in title.split()) for part in query.split()) or query in title
        }
        assert set(index.find(query, 2000)) == expected


def test_people_by_the_beginning_of_their_ids_whatever_the_case():
    people = PeopleIndex(["kunde2", "Kunde10", "KUNDE1", "Élan", "straße", "x"])
    assert people.find("kUnDe", 9) == ["KUNDE1", "Kunde10", "kunde2"]
    assert people.find("Kunde", 2) == ["KUNDE1", "Kunde10"]
    assert people.find("ela", 9) == ["Élan"] and people.find("STRASSE", 9) == ["straße"]
    assert people.find("", 9) == ["Élan", "KUNDE1", "Kunde10", "kunde2", "straße", "x"]
    assert people.find("unde", 9) == [] and len(people) == 6
