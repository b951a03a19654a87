"""The embedded data set: what its generator promises holds of the files that are shipped."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import yaml

from recbole_cadmr.cli.main import main
from recbole_cadmr.data.generate import generate
from recbole_cadmr.data.generate.draw import FACTORS
from recbole_cadmr.errors import UserError
from tests.oracles.ranking import ranking_metrics

EMBEDDED = Path(str(files("recbole_cadmr.embedded"))) / "synthetic"


def read_column(name: str, column: int = 0) -> list[str]:
    lines = (EMBEDDED / f"synthetic.{name}").read_text(encoding="utf-8").splitlines()
    return [line.split("\t")[column] for line in lines[1:]]


PARTS = ("train", "valid", "test")
ITEMS = read_column("item")
NUMBER = {item: number for number, item in enumerate(ITEMS)}


def read_part(part: str) -> tuple[np.ndarray, np.ndarray]:
    """Interactions of a part as user and item numbers."""
    users = [int(user[1:]) for user in read_column(f"{part}.inter")]
    return np.array(users), np.array([NUMBER[item] for item in read_column(f"{part}.inter", 1)])


def read_rows(modality: str) -> tuple[np.ndarray, np.ndarray]:
    """Item numbers and features of a modality."""
    return np.array([NUMBER[item] for item in read_column(modality)]), np.load(EMBEDDED / f"synthetic.{modality}.npy")


def test_regenerates_to_the_same_bytes(tmp_path):
    made = generate(tmp_path / "synthetic")
    shipped = sorted(file.name for file in EMBEDDED.iterdir())
    assert sorted(file.name for file in made.iterdir()) == shipped
    differing = [name for name in shipped if (made / name).read_bytes() != (EMBEDDED / name).read_bytes()]
    assert differing == []


def test_is_small():
    assert sum(file.stat().st_size for file in EMBEDDED.iterdir()) < 2_000_000


def test_another_seed_makes_another_world_of_the_folders_name(tmp_path):
    one, other = (generate(tmp_path / name, seed, users=30, items=60) for name, seed in (("one", 1), ("other", 2)))
    assert (one / "one.train.inter").read_text() != (other / "other.train.inter").read_text()
    assert "Generated" in (one / "dataset_card.md").read_text()
    assert yaml.safe_load((one / "one.yaml").read_text())["benchmark_filename"] == ["train", "valid", "test"]


def test_parts_are_disjoint_and_every_user_and_item_occurs():
    pairs = {part: set(zip(*(column.tolist() for column in read_part(part)), strict=True)) for part in PARTS}
    assert sum(map(len, pairs.values())) == len(set.union(*pairs.values()))
    assert [len(pairs[part]) for part in PARTS] == [len(read_part(part)[0]) for part in PARTS]
    assert {item for part in PARTS for _, item in pairs[part]} == set(range(len(ITEMS)))
    assert {user for user, _ in pairs["train"]} == set(range(1500))


def test_cold_items_are_held_out_only():
    trained = set(read_part("train")[1].tolist())
    cold = [set(read_part(part)[1].tolist()) - trained for part in ("valid", "test")]
    assert 30 <= len(set.union(*cold)) <= 80
    assert all(len(items) > 10 for items in cold)


def test_some_items_have_no_picture_and_all_have_text():
    assert sorted(read_rows("text")[0]) == list(range(len(ITEMS)))
    pictured, image = read_rows("image")
    assert len(set(pictured.tolist())) == len(pictured) == len(image)
    assert 5 <= len(ITEMS) - len(pictured) <= 30


def test_popularity_has_a_long_tail():
    counts = np.sort(np.bincount(read_part("train")[1], minlength=len(ITEMS)))[::-1]
    top_tenth = counts[: len(ITEMS) // 10].sum() / counts.sum()
    assert 0.2 < top_tenth < 0.5


def test_titles_are_words_of_the_factors():
    titles, (_, factors) = read_column("item", 1), read_rows("factors")
    assert all(title.replace(" ", "").isalpha() for title in titles)
    first = factors[:, FACTORS.index("shared_1")]
    cosy, alpine = (np.array([word in title.lower() for title in titles]) for word in ("cosy", "alpine"))
    assert min(first[cosy]) > max(first[alpine])


@pytest.mark.parametrize("modality", ["text", "image"])
def test_a_modality_shows_the_shared_and_its_own_factors_and_no_others(modality):
    items, features = read_rows(modality)
    factors = read_rows("factors")[1][items]
    train, test = items % 2 == 0, items % 2 == 1
    inputs = np.column_stack([features, np.ones(len(features))])
    map_, *_ = np.linalg.lstsq(inputs[train], factors[train], rcond=None)
    error = ((inputs[test] @ map_ - factors[test]) ** 2).mean(axis=0)
    explained = dict(zip(FACTORS, 1 - error / factors[test].var(axis=0), strict=True))
    other = "image" if modality == "text" else "text"
    seen = [value for name, value in explained.items() if not name.startswith(other)]
    unseen = [value for name, value in explained.items() if name.startswith(other)]
    assert min(seen) > 0.75
    assert max(unseen) < 0.1


def test_factors_are_independent():
    correlation = np.corrcoef(read_rows("factors")[1], rowvar=False)
    assert np.abs(correlation - np.eye(len(FACTORS))).max() < 0.15


def test_collaboration_beats_popularity_and_content_adds_to_it():
    users, items = read_part("train")
    ratings = np.zeros((users.max() + 1, len(ITEMS)))
    ratings[users, items] = 1
    neighbours = sum(_nearest(*read_rows(modality)) for modality in ("text", "image"))
    neighbours /= neighbours.sum(axis=1, keepdims=True)
    filled = ratings + 0.5 * ratings @ neighbours
    scores = {
        "popularity": np.broadcast_to(ratings.sum(axis=0), ratings.shape),
        "EASE": ratings @ _ease(ratings, ratings),
        "EASE with content": filled @ _ease(filled, ratings) + 0.05 * ratings @ neighbours,
    }
    masked, held_out = _by_user("train"), _by_user("valid")
    ndcg = {name: ranking_metrics(values, masked, held_out, [20])["ndcg@20"] for name, values in scores.items()}
    assert ndcg["EASE"] > 2 * ndcg["popularity"], ndcg
    assert ndcg["EASE with content"] > 1.15 * ndcg["EASE"], ndcg


def _by_user(part: str) -> dict[int, list[int]]:
    by_user: dict[int, list[int]] = {}
    for user, item in zip(*read_part(part), strict=True):
        by_user.setdefault(int(user), []).append(int(item))
    return by_user


def _ease(inputs: np.ndarray, ratings: np.ndarray, regularisation: float = 30.0) -> np.ndarray:
    """Item weights of EASE (arXiv 1905.03375, eq. 8), learnt from ``inputs``."""
    precision = np.linalg.inv(inputs.T @ inputs + regularisation * np.eye(ratings.shape[1]))
    weights = -precision / np.diag(precision)
    np.fill_diagonal(weights, 0)
    return weights


def _nearest(items: np.ndarray, features: np.ndarray, k: int = 10) -> np.ndarray:
    """1 where the column is among the ``k`` nearest of the row by cosine [n_items, n_items]."""
    unit = features - features.mean(axis=0)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -np.inf)
    graph = np.zeros((len(ITEMS), len(ITEMS)))
    graph[items[:, None], items[np.argsort(-cosine, axis=1)[:, :k]]] = 1
    return graph


@pytest.mark.parametrize(("option", "value"), [("seed", -1), ("users", 9), ("items", 49)])
def test_numbers_out_of_range_are_named(tmp_path, capsys, option, value):
    assert main(["generate", "--output", str(tmp_path / "small"), f"--{option}={value}"]) == 2
    assert re.search(f"--{option} must be at least .*, not '{value}'", capsys.readouterr().err)
    assert not (tmp_path / "small").exists()


def test_a_folder_in_use_is_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "note").write_text("keep")
    with pytest.raises(UserError, match="already there"):
        generate(tmp_path / "mine", users=10, items=50)
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["note"]


def test_a_world_beyond_memory_is_refused_at_once(tmp_path):
    with pytest.raises(UserError, match="2,000,000 users and 2,000,000 items need .* GiB of memory to draw"):
        generate(tmp_path / "big", users=2_000_000, items=2_000_000)
    assert not list(tmp_path.iterdir())
