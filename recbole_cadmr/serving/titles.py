"""Items found by their titles, and people by their ids, while somebody types.

Case and accents do not matter; words of titles count by their beginnings.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

import numpy as np

_WORD = re.compile(r"\w+")
# Letters that Unicode does not take for another one with a mark.
_LETTERS = str.maketrans({"ł": "l", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i"})
_LAST = chr(0x10FFFF)
_BREAK = "\n"  # between two titles; folding leaves none in them


def folded(text: str) -> str:
    """A text in small letters without accents and the like: ``Émile  ŻÓŁĆ`` becomes ``emile zolc``, ``ß`` ``ss``."""
    if not text.isascii():
        letters = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold()).translate(_LETTERS)
        text = "".join(sign for sign in letters if not unicodedata.combining(sign))
    return " ".join(text.lower().split())


class PeopleIndex:
    """Ids of people, found by how they begin, whatever the case and the accents.

    Args:
        ids: of all of them, in any order.
    """

    def __init__(self, ids: Iterable[str]) -> None:
        pairs = sorted((folded(name), name) for name in ids)
        self._folded, self._ids = [text for text, _ in pairs], [name for _, name in pairs]

    def __len__(self) -> int:
        return len(self._ids)

    def find(self, beginning: str, k: int) -> list[str]:
        """The first ``k`` that begin so, in their order."""
        text = folded(beginning)
        first, end = bisect_left(self._folded, text), bisect_right(self._folded, text + _LAST)
        return self._ids[first : min(end, first + k)]


class TitleIndex:
    """The words of all titles and ids, in their order, and which items each is of.

    Args:
        ids: of all items.
        titles: of all items, "" where there is none.
        popularity: of all items; of titles that match equally well, those of the more popular items come first.
    """

    def __init__(self, ids: Sequence[str], titles: Sequence[str], popularity: np.ndarray) -> None:
        folded_titles, folded_ids = [folded(title) for title in titles], [folded(item) for item in ids]
        postings: dict[str, list[int]] = {}
        self._by_id: dict[str, list[int]] = {}
        for item, (title, name) in enumerate(zip(folded_titles, folded_ids)):
            self._by_id.setdefault(name, []).append(item)
            for word in {*_WORD.findall(title), *_WORD.findall(name), name}:
                postings.setdefault(word, []).append(item)
        self._words = sorted(postings)
        # The items of words that begin alike lie side by side, and so do titles that begin alike.
        self._start = np.cumsum([0, *(len(postings[word]) for word in self._words)])
        self._items = np.array([item for word in self._words for item in postings[word]], dtype=np.int64)
        order = sorted(range(len(folded_titles)), key=folded_titles.__getitem__)
        self._titles, self._of_title = [folded_titles[item] for item in order], np.array(order, dtype=np.int64)
        self._popularity = np.asarray(popularity, dtype=np.float64)
        self._length = np.array([len(title) for title in folded_titles], dtype=np.int64)
        self._text, self._offsets = _BREAK.join(folded_titles), np.cumsum([0, *(self._length + 1)])

    def __len__(self) -> int:
        return len(self._titles)

    def find(self, query: str, k: int) -> list[int]:
        """Positions of the ``k`` best matches of ``query``.

        Those come first whose title, or id, is the query; then those whose title begins with it, those that have all
        of its words, those that have words that begin so, and those in which it stands anywhere.
        """
        text = folded(query)
        words = _WORD.findall(text) or text.split()
        if not words:
            return []
        begun = self._with_words(words, _LAST)
        matching = np.union1d(begun, self._titled(text, _LAST))
        if len(matching) < k:
            matching = np.union1d(matching, self._containing(text))
        rank = np.full(len(matching), 4)
        whole = np.union1d(self._titled(text, ""), self._by_id.get(text, []))
        for better, items in ((3, begun), (2, self._with_words(words, "")), (1, self._titled(text, _LAST)), (0, whole)):
            rank[np.isin(matching, items)] = better
        order = np.lexsort((matching, self._length[matching], -self._popularity[matching], rank))
        return matching[order][:k].tolist()

    def _with_words(self, words: Sequence[str], end: str) -> np.ndarray:
        """Items that have, for each word, one between it and it with ``end`` behind it."""
        found: np.ndarray | None = None
        for word in sorted(words, key=len, reverse=True):
            first, last = bisect_left(self._words, word), bisect_right(self._words, word + end)
            items = np.unique(self._items[self._start[first] : self._start[last]])
            found = items if found is None else np.intersect1d(found, items, assume_unique=True)
            if not len(found):
                break
        return np.empty(0, dtype=np.int64) if found is None else found

    def _titled(self, text: str, end: str) -> np.ndarray:
        """Items whose titles lie between a text and it with ``end`` behind it."""
        return self._of_title[bisect_left(self._titles, text) : bisect_right(self._titles, text + end)]

    def _containing(self, text: str) -> np.ndarray:
        """Items in whose titles a text stands anywhere, as in a script without blanks."""
        places = [match.start() for match in re.finditer(re.escape(text), self._text)]
        return np.unique(np.searchsorted(self._offsets, places, side="right") - 1)
