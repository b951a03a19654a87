"""Users of two domains in the layout of ABXI and DPT: a line a user, and a map from items to their domain."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recbole_cadmr.data.atomic import read_table
from recbole_cadmr.data.prepare.content import Prepared
from recbole_cadmr.data.prepare.interactions import clean
from recbole_cadmr.data.prepare.options import add_options, read_options
from recbole_cadmr.data.prepare.skipped_rows import SkippedRows
from recbole_cadmr.data.prepare.split import split_parts
from recbole_cadmr.data.working_folder import working_folder
from recbole_cadmr.errors import UserError
from recbole_cadmr.files import read_text, refuse_used_folder

TITLES = "titles.tsv"
_EVENT = re.compile(r"([0-9]{1,18})\|([0-9]{1,18})")
# What the settings of such a data set say: RecBole keeps times as float32, whose steps are 128 s today.
_SETTINGS: dict[str, Any] = {
    "TIME_FIELD": "order",
    "load_col": {"inter": ["user_id", "item_id", "order"], "item": ["item_id", "domain"]},
    "domain_field": "domain",
    "mask_valid_at_test": True,
    "metrics": ["Recall", "NDCG", "NDCG_A", "NDCG_B", "NDCG_AB"],
    "valid_metric": "NDCG_AB@10",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``prepare cross-domain``."""
    parser.add_argument("--source", required=True, type=Path, metavar="DIR", help="the folder to import")
    parser.add_argument(
        "--domains", nargs=2, default=["A", "B"], metavar="NAME", help="what to call the two (default: A B)"
    )
    add_options(parser, only=("name", "data_path", "seed"))


def run(arguments: argparse.Namespace) -> Path:
    """Write the data set and return its folder.

    The source holds, under any names, a text file of a line a user, ``user item|time item|time ...`` (ABXI's
    ``*_preprocessed.txt``), and a json file ``{NAME: [item, domain]}`` with the domains 0 and 1 (``map_item*.txt``);
    and, if titles are known, ``titles.tsv`` with the columns ``item`` and ``title``. Items are numbers; they stay as
    they are.

    Interactions of a user at the same time get a random order, drawn from the seed: the layout lists them by item, so
    that their order in the file would tell the next one. Only then the last interaction of each user becomes the test
    part and the one before it the validation part, of the merged sequence of both domains, as ABXI and C2DSR do; the
    held-out item lies in the one domain or in the other. Users of a single domain are left out. The same input and
    seed give the same bytes.

    Raises:
        UserError: if a file is missing or malformed, a domain is empty, or the data set exists.
    """
    from recbole_cadmr.data.prepare.write import deliver  # heavy: torch and plotly

    source, skipped = arguments.source, SkippedRows()
    if not source.is_dir():
        raise UserError(f"there is no folder {source}")
    options = read_options(arguments, source.resolve().name)
    names = list(arguments.domains)
    if len(set(names)) < 2 or not all(re.fullmatch(r"\S+", name) for name in names):
        raise UserError(f"--domains must give two different words, not {' '.join(map(repr, names))}")
    refuse_used_folder(options.folder)
    sequences, items = _find(source)
    domain_of = _read_map(items)
    table = clean(_read_sequences(sequences, set(domain_of), skipped), skipped)
    table["domain"] = table["item_id"].astype(str).map(domain_of)
    table = _of_both_domains(table, sequences, skipped)
    table, ties = _in_order(table, options.seed)
    parts = split_parts(table, "leave-last", options.seed, skipped)
    kept = table.drop_duplicates("item_id").sort_values("item_id", key=lambda ids: ids.astype(np.int64))
    titles = _read_titles(source / TITLES, set(kept["item_id"]))
    sizes = zip(names, table.groupby("domain")["item_id"].nunique(), table["domain"].value_counts().sort_index())
    prepared = Prepared(
        options.name,
        {part: rows[["user_id", "item_id", "timestamp", "order"]] for part, rows in parts.items()},
        titles=titles,
        features=[],
        origin="Imported from a folder in the layout of ABXI: users of two domains, with the times of what they did.",
        licence="Its licence is that of its source.",
        sources=[sequences, items, *([source / TITLES] if titles else [])],
        notes=skipped.lines(),
        steps={
            "order": f"{ties:.1%} of a user's steps are to an item of the same time; the order within a time was drawn "
            f"at random (seed {options.seed}), before the split",
            "split": "leave-last of the merged sequence: a user's last interaction is test, the one before it "
            "validation, whichever their domain",
            **{f"domain {name}": f"{items:,} items, {rows:,} interactions" for name, items, rows in sizes},
        },
        settings=_SETTINGS,
        domains={item: names[domain] for item, domain in zip(kept["item_id"], kept["domain"])},
    )
    with working_folder(options.folder) as work:
        return deliver(prepared, options.folder, work, told=["order"])


_BEGIN = 2**16  # characters that tell what a file holds


def _find(source: Path) -> tuple[Path, Path]:
    """The file of sequences and the map of items, told by what they hold."""
    sequences, maps = [], []
    for file in sorted(path for path in source.iterdir() if path.suffix in (".txt", ".json") and path.is_file()):
        with open(file, encoding="utf-8-sig", errors="replace") as opened:
            begin = opened.read(_BEGIN)
        if re.match(r'\s*\{\s*"[^"]*"\s*:\s*\[', begin):
            maps.append(file)
        elif re.search(
            r"^[^\S\n]*[^\s|{\[]\S*[^\S\n]+[^\s|]+\|", begin, re.MULTILINE
        ):  # users without events may stand before
            sequences.append(file)
    for found, what in ((sequences, "of lines `user item|time ...`"), (maps, "{NAME: [item, domain]}")):
        if len(found) != 1:
            listed = ", ".join(file.name for file in found) or "none"
            raise UserError(f"{source} must hold one .txt or .json file {what}, not {len(found)} ({listed})")
    return sequences[0], maps[0]


def _read_map(path: Path) -> dict[str, int]:
    """The domain, 0 or 1, of each item by its number."""
    try:
        content = json.loads(read_text(path).removeprefix("\ufeff"))
    except ValueError as error:
        raise UserError(f"{path} is no json: {error}") from error
    domain_of: dict[str, int] = {}
    for name, entry in content.items():
        match entry:
            case [int(item), (0 | 1) as domain] if item >= 0 and bool not in map(type, entry):
                if domain_of.setdefault(str(item), domain) != domain:
                    raise UserError(f"{path} gives the item {item} to both domains")
            case _:
                raise UserError(f"{path}: {name!r:.60} must have [item, 0 or 1], not {entry!r:.60}")
    for domain in (0, 1):
        if domain not in domain_of.values():
            raise UserError(f"{path} gives no item to the domain {domain}; both must have some")
    return domain_of


def _read_sequences(path: Path, known: set[str], skipped: SkippedRows) -> pd.DataFrame:
    """Interactions (``user_id``, ``item_id``, ``timestamp``) in the order of the file."""
    rows: list[tuple[str, str, int]] = []
    users: set[str] = set()
    for number, line in enumerate(read_text(path).removeprefix("\ufeff").splitlines(), start=1):
        user, *events = line.split() or [""]
        if not user:
            continue
        if user in users:
            raise UserError(f"{path} line {number} is of the user {user!r:.60} again; give each user one line")
        users.add(user)
        for event in events:
            read = _EVENT.fullmatch(event)
            if read is None:
                raise UserError(f"{path} line {number} is malformed: {event!r:.60} is no item|time in whole numbers")
            if read[1] not in known:
                raise UserError(f"{path} line {number}: the map of items does not have the item {read[1]}")
            rows.append((user, read[1], int(read[2])))
    skipped.note("users without interactions", n=len(users) - len({user for user, _, _ in rows}))
    return pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])


def _of_both_domains(table: pd.DataFrame, path: Path, skipped: SkippedRows) -> pd.DataFrame:
    """Interactions of the users who have some in each domain."""
    single = table.groupby("user_id", observed=True)["domain"].transform("nunique") < 2
    if single.all():
        raise UserError(f"no user of {path} has interactions in both domains")
    skipped.note("users of a single domain", n=table.loc[single, "user_id"].nunique())
    return table[~single].astype({"user_id": str, "item_id": str})


def _in_order(table: pd.DataFrame, seed: int) -> tuple[pd.DataFrame, float]:
    """Interactions by user and time, at random within a time, with their place ``order``; and the share of ties."""
    user = pd.factorize(table["user_id"])[0]
    draw = np.random.default_rng(seed).random(len(table))
    rows = np.lexsort((draw, table["timestamp"], user))
    table, user = table.iloc[rows].reset_index(drop=True), user[rows]
    table["order"] = table.groupby(user).cumcount()
    steps = user[1:] == user[:-1]
    tied = steps & (np.diff(table["timestamp"]) == 0)
    return table, tied.sum() / max(steps.sum(), 1)


def _read_titles(path: Path, items: set[str]) -> dict[str, str]:
    if not path.is_file():
        return {}
    table = read_table(path)
    if not {"item", "title"} <= set(table.columns):
        raise UserError(f"{path} must have the columns item and title, not {', '.join(table.columns):.200}")
    return {item: title for item, title in zip(table["item"], table["title"]) if item in items and title}
