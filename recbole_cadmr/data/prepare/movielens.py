"""MovieLens, 100k to 25M: ratings, titles with genres, and posters from a folder."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pandas as pd

from recbole_cadmr.data.archive import extract_zip
from recbole_cadmr.data.prepare.assemble import assemble
from recbole_cadmr.data.prepare.content import Content
from recbole_cadmr.data.prepare.downloads import add_place, fetch, raw_folder, release_info
from recbole_cadmr.data.prepare.lines import lines_of
from recbole_cadmr.data.prepare.options import add_options, read_options
from recbole_cadmr.data.prepare.pictures import find_pictures, need_folder
from recbole_cadmr.data.prepare.skipped_rows import SkippedRows
from recbole_cadmr.data.prepare.tables import read_rows
from recbole_cadmr.data.prepare.texts import one_line
from recbole_cadmr.data.text_columns import text_table
from recbole_cadmr.errors import UserError

RELEASE = "movielens"
# Genres of the 100k release, in the order of its flags.
_GENRES = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama"),
    *("Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
)
# Ratings and movies of the releases.
_FILES = (("u.data", "u.item"), ("ratings.dat", "movies.dat"), ("ratings.csv", "movies.csv"))
_RATINGS = ["user_id", "item_id", "rating", "timestamp"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``prepare movielens``."""
    add = parser.add_argument
    add("--size", default="100k", choices=release_info(RELEASE)["files"], help="of the release (default: %(default)s)")
    add("--posters", type=Path, metavar="DIR", help="pictures named by movie id, such as 318.jpg")
    add_place(parser)
    add_options(parser)


def run(arguments: argparse.Namespace) -> Path:
    """Write the data set and return its folder."""
    options = read_options(arguments, f"ml-{arguments.size}")
    folder = raw_folder(arguments, RELEASE, arguments.size)
    need_folder(arguments.posters, "--posters")
    if arguments.download and not _find(folder):
        archive = fetch(RELEASE, [arguments.size], folder, arguments.base_address)[arguments.size]
        extract_zip(archive, folder / archive.stem)
    paths = _find(folder)
    if not paths:
        names = ", or ".join(f"{ratings} and {movies}" for ratings, movies in _FILES)
        raise UserError(f"{folder} does not hold {names}; unpack the archive there, or give --download")
    ratings, movies = paths
    skipped = SkippedRows(options.strict)

    def read_content(items: Sequence[str], work: Path) -> Content:
        titles, texts = read_movies(movies, set(items), skipped)
        posters = arguments.posters
        return Content(titles, texts, find_pictures(posters, items, skipped, "--posters") if posters else {})

    def catalogue() -> Iterator[str]:
        return (item for item, _, _ in _movies(movies, SkippedRows()))

    about = (f"MovieLens {arguments.size}.", release_info(RELEASE)["licence"], [ratings, movies])
    return assemble(read_ratings(ratings, skipped), read_content, options, skipped, *about, catalogue)


def _find(folder: Path) -> tuple[Path, Path] | None:
    """Ratings and movies in ``folder``, or in a subfolder as in the archives."""
    for ratings, movies in _FILES:
        for pattern in ("", "*/", "*/*/"):
            for path in sorted(folder.glob(f"{pattern}{ratings}")):
                partial = any(part.startswith(".") for part in path.relative_to(folder).parts)  # unpacked halfway
                if not partial and (path.parent / movies).is_file():
                    return path, path.parent / movies
    return None


def read_ratings(path: Path, skipped: SkippedRows) -> pd.DataFrame:
    """``user_id, item_id, rating, timestamp`` of ``u.data``, ``ratings.dat`` or ``ratings.csv``, as text."""
    if path.suffix == ".csv":
        rows = read_rows(path, skipped, ["userId", "movieId", "rating", "timestamp"], ids=("userId", "movieId"))
        return rows.set_axis(_RATINGS, axis="columns")
    separator = "::" if path.suffix == ".dat" else "\t"
    return text_table(_RATINGS, _fields(path, separator, len(_RATINGS), skipped), ids=_RATINGS[:2])


def read_movies(path: Path, items: set[str], skipped: SkippedRows) -> tuple[dict[str, str], dict[str, str]]:
    """Titles, and titles with genres, of ``items``."""
    titles: dict[str, str] = {}
    texts: dict[str, str] = {}
    for item, title, genres in _movies(path, skipped):
        if item in items and one_line(title):
            titles[item] = one_line(title)
            texts[item] = one_line(title, genres.replace("(no genres listed)", "").replace("|", " "))
    skipped.note("movies without a title", n=len(items - titles.keys()))
    return titles, texts


def _movies(path: Path, skipped: SkippedRows) -> Iterable[Sequence[str]]:
    """Id, title and genres of all movies."""
    if path.suffix == ".csv":
        return iter(read_rows(path, skipped, ["movieId", "title", "genres"]).to_numpy())
    if path.suffix == ".dat":
        return _fields(path, "::", 3, skipped)
    return ((row[0], row[1], _flagged(row[5:])) for row in _fields(path, "|", 5 + len(_GENRES), skipped))


def _flagged(flags: Sequence[str]) -> str:
    return " ".join(genre for genre, flag in zip(_GENRES, flags) if flag == "1" and genre != "unknown")


def _fields(path: Path, separator: str, n: int, skipped: SkippedRows) -> Iterator[list[str]]:
    """The fields of every line that has ``n``."""
    for number, line in lines_of(path, skipped, otherwise="latin-1"):  # the two oldest releases
        fields = line.split(separator)
        if len(fields) == n:
            yield fields
        else:
            skipped.malformed(path, number, f"it has {len(fields)} fields instead of {n}")
