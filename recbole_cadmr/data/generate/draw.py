"""The generated world: items with known factors, what each modality shows of them, and who chose what.

Items carry independent factors of two peaks each (an item is rather rustic or rather chrome). Each modality shows
the shared factors and its own private ones through a random linear map, under noise. A person has a few tastes, each
a place in the space of all factors and a weight for each of them; what fits a taste, and is popular, is chosen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SEED, USERS, ITEMS = 2412, 1500, 800  # of the embedded set
FACTORS = ("shared_1", "shared_2", "shared_3", "shared_4", "text_1", "text_2", "image_1", "image_2")
SHARED, TEXT, IMAGE = slice(0, 4), slice(4, 6), slice(6, 8)
TEXT_WIDTH, IMAGE_WIDTH = 32, 48

SPREAD = 0.35  # of a factor's values around its two peaks at -1 and +1
MODALITY_NOISE = 0.4  # standard deviation in each dimension, beside about 1 of what the factors show
POPULARITY = 0.8  # standard deviation of an item's log popularity
TASTES = 2  # a person's
CARES = 0.9  # how likely a taste minds a factor
SHARPNESS = 2.0  # of a taste: the largest weight of a factor's squared distance in the log-odds

MEAN_TRAIN, LEAST_TRAIN = 5.0, 3  # train interactions a user
HELD_OUT = 0.6  # how likely each of two interactions of a user is in the validation part; the same for test
COLD = 0.05  # share of items that are new: in no train interaction
PICTURELESS = 0.02  # share of items without a picture

# A word for each quarter of a factor's values, lowest first: one row a factor that the text sees.
WORDS = (
    ("alpine", "outdoor", "indoor", "cosy"),
    ("rustic", "wooden", "metal", "chrome"),
    ("toddler", "junior", "adult", "senior"),
    ("silent", "quiet", "lively", "loud"),
    ("budget", "simple", "fine", "luxury"),
    ("classic", "timeless", "modern", "futuristic"),
)
# Titles are words for what the text shows; what an item is tells nothing about taste.
NOUNS = ("blanket", "bottle", "bowl", "chair", "clock", "cushion", "lamp", "mirror", "rack", "shelf", "table", "tray")


@dataclass(frozen=True)
class World:
    """A generated world; users and items are numbered from 0.

    Attributes:
        factors: what the items are [n_items, len(FACTORS)], known because it was drawn.
        cold: whether an item is new, so that no train interaction has it [n_items].
        pictured: whether an item has a picture [n_items].
        text: text features [n_items, TEXT_WIDTH].
        image: image features [n_items, IMAGE_WIDTH]; meaningless where there is no picture.
        titles: one an item.
        parts: ``train``, ``valid`` and ``test`` interactions as (user, item) rows [n, 2], by user.
    """

    factors: np.ndarray
    cold: np.ndarray
    pictured: np.ndarray
    text: np.ndarray
    image: np.ndarray
    titles: list[str]
    parts: dict[str, np.ndarray]


def draw_world(seed: int, n_users: int, n_items: int) -> World:
    """Draw a world; the same arguments give the same world. Items that nobody chose are not part of it.

    Sums run over factors, a handful, elementwise and in a fixed order: no matrix product, whose rounding depends on
    the machine.
    """
    rng = np.random.default_rng(seed)
    shape = (n_items, len(FACTORS))
    factors = rng.choice([-1.0, 1.0], shape) + SPREAD * rng.standard_normal(shape)
    popularity = POPULARITY * rng.standard_normal(n_items)
    cold, pictured = np.zeros(n_items, bool), np.ones(n_items, bool)
    cold[rng.choice(n_items, round(COLD * n_items), replace=False)] = True
    pictured[rng.choice(n_items, round(PICTURELESS * n_items), replace=False)] = False

    text_factors = np.concatenate([factors[:, SHARED], factors[:, TEXT]], axis=1)
    image_factors = np.concatenate([factors[:, SHARED], factors[:, IMAGE]], axis=1)
    text, image = _show(rng, text_factors, TEXT_WIDTH), _show(rng, image_factors, IMAGE_WIDTH)
    titles = _titles(rng, text_factors)
    parts = _choose(rng, _fit(rng, factors, n_users) + popularity, cold)

    kept = np.unique(np.concatenate(list(parts.values()))[:, 1])
    new_number = np.full(n_items, -1)
    new_number[kept] = np.arange(len(kept))
    return World(
        factors=factors[kept],
        cold=cold[kept],
        pictured=pictured[kept],
        text=text[kept],
        image=image[kept],
        titles=[titles[item] for item in kept],
        parts={part: np.stack([rows[:, 0], new_number[rows[:, 1]]], axis=1) for part, rows in parts.items()},
    )


def _show(rng: np.random.Generator, factors: np.ndarray, width: int) -> np.ndarray:
    """What a modality shows: a random linear map of the factors it sees, and noise [n_items, width]."""
    seen = factors.shape[1]
    maps = rng.standard_normal((seen, width)) / np.sqrt(seen)
    shown = MODALITY_NOISE * rng.standard_normal((len(factors), width))
    for j in range(seen):
        shown = shown + factors[:, j, None] * maps[j]
    return shown


def _fit(rng: np.random.Generator, factors: np.ndarray, n_users: int) -> np.ndarray:
    """How well items fit people, as log-odds [n_users, n_items]: the best over a person's tastes, softly."""
    fit = np.full((n_users, len(factors)), -np.inf)
    for _ in range(TASTES):
        place = rng.choice([-1.0, 1.0], (n_users, factors.shape[1]))
        weight = SHARPNESS * (rng.random(place.shape) < CARES) * rng.random(place.shape)
        taste = np.zeros_like(fit)
        for j in range(factors.shape[1]):
            taste = taste - weight[:, j, None] * (factors[:, j] - place[:, j, None]) ** 2
        fit = np.logaddexp(fit, taste)
    return fit


def _choose(rng: np.random.Generator, log_odds: np.ndarray, cold: np.ndarray) -> dict[str, np.ndarray]:
    """Every user's items by part, drawn without replacement by ``log_odds`` (Plackett-Luce, by Gumbel noise).

    The first are train interactions and pass over cold items, which are not out yet; the next are held out.
    """
    n_users = len(log_odds)
    n_train = LEAST_TRAIN + rng.poisson(rng.exponential(MEAN_TRAIN - LEAST_TRAIN, n_users))
    n_valid, n_test = rng.binomial(2, HELD_OUT, (2, n_users))
    wish_lists = np.argsort(-(log_odds + rng.gumbel(size=log_odds.shape)), axis=1, kind="stable")
    rows: dict[str, list[tuple[int, int]]] = {"train": [], "valid": [], "test": []}
    for user, wishes in enumerate(wish_lists):
        train = wishes[~cold[wishes]][: n_train[user]]
        held_out = wishes[~np.isin(wishes, train)][: n_valid[user] + n_test[user]]
        valid, test = np.split(rng.permutation(held_out), [n_valid[user]])
        for part, items in (("train", train), ("valid", valid), ("test", test)):
            rows[part] += [(user, int(item)) for item in items]
    return {part: np.array(pairs, dtype=np.int64).reshape(-1, 2) for part, pairs in rows.items()}


def _titles(rng: np.random.Generator, factors: np.ndarray, mention: float = 0.8) -> list[str]:
    """One title an item.

    Args:
        factors: values of the factors that the text sees [n_items, n_factors], at most ``len(WORDS)`` of them.
        mention: how likely a title mentions a factor.
    """
    ranks = np.argsort(np.argsort(factors, axis=0, kind="stable"), axis=0, kind="stable")
    quarters = ranks * 4 // len(factors)
    mentioned = rng.random(factors.shape) < mention
    nouns = rng.integers(len(NOUNS), size=len(factors))
    return [
        " ".join([*(WORDS[j][q] for j, q in enumerate(row) if says[j]), NOUNS[noun]]).capitalize()
        for row, says, noun in zip(quarters, mentioned, nouns, strict=True)
    ]
