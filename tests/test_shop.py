"""The walk-through docs/shop.md, run as it stands: every command in one shell, what it says, and what it leaves."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from recbole_cadmr.runs.result import read_result
from tests.docs.shell import environment, warm_python

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "shop.md").read_text(encoding="utf-8")
NEEDED = ("bash", "curl", "flock")
TEXT = {"user_id": str, "item_id": str, "product": str, "customer": str}

pytestmark = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in NEEDED), reason=f"needs the commands {', '.join(NEEDED)}"
)


def blocks(kind):
    """The fenced blocks of the page, in order."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.M | re.S)


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    """Run all commands; the folder of the shop, what they said, and their environment."""
    folder = tmp_path_factory.mktemp("walk")
    variables = environment(folder)
    script = "set -euo pipefail\ntrap 'kill $(jobs -p) 2> /dev/null || true' EXIT\n" + "\n".join(blocks("bash"))
    with warm_python(variables):
        done = subprocess.run(
            ["bash", "-c", script], cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=1200,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:]
        yield folder / "shop", done.stdout, variables


def lists(path):
    return pd.read_csv(path, dtype=TEXT)


def test_what_the_page_shows_is_what_is_said(walk):
    for block in blocks("text"):
        for line in block.splitlines():
            assert f"\n{line.partition('...')[0]}" in walk[1], line


def test_nobody_is_recommended_what_they_have_or_what_is_not_to_be_had(walk):
    shop = walk[0]
    orders = pd.concat(
        [
            pd.read_csv(shop / "orders_until_july.csv", sep=";", dtype=TEXT),
            *(pd.read_csv(shop / file, dtype=TEXT) for file in ("orders.csv", "tuesday/orders.csv")),
        ]
    )
    bought = orders[(orders["quantity"] > 0) & (orders["date"] != "unknown")].dropna(subset=["customer"])
    catalogue = set(pd.read_csv(shop / "products.csv", dtype=TEXT)["product"])
    out_of_stock = set((shop / "out_of_stock.txt").read_text().split())
    nightly, new = lists(shop / "lists" / "now.csv"), lists(shop / "lists" / "new_for_you.csv")
    assert (nightly.groupby("user_id").size() == 10).all()
    assert set(nightly["user_id"]) == set(new["user_id"]) == set(bought["customer"])  # those of Tuesday among them
    assert set(nightly["item_id"]) <= catalogue - out_of_stock
    assert set(new["item_id"]) <= set(pd.read_csv(shop / "tuesday" / "products.csv", dtype=TEXT)["product"])
    pairs = set(zip(bought["customer"], bought["product"]))
    for table in (nightly, new):
        assert not pairs & set(zip(table["user_id"], table["item_id"]))
    assert new["title"].str.startswith("Bamboo ").all()


def test_what_is_served_was_trained_on_everything_and_what_was_compared_was_not(walk):
    shop = walk[0]
    for day in ("monday", "tuesday"):
        run = read_result(shop / "runs" / day)
        card = json.loads((shop / "exports" / day / "card.json").read_text())
        assert card["final"]["run"] == run["id"]
        parts = run["fingerprint"]["counts"]["interactions"]
        assert card["fingerprint"]["counts"]["interactions"] == [sum(parts), 0, 0] and min(parts) > 0
    table = (shop / "compared" / "table.md").read_text()
    assert [name for name in ("LinearCADMR", "EASE", "Pop") if f"| {name} |" in table] == ["LinearCADMR", "EASE", "Pop"]


def test_the_service_changes_with_the_link_and_back(walk):
    shop, said, _ = walk
    monday, tuesday = (
        str(json.loads((shop / "exports" / day / "card.json").read_text())["fingerprint"]["counts"]["items"])
        for day in ("monday", "tuesday")
    )
    health = re.findall(r'"items":(\d+),"takes_histories"', said)
    assert health == [tuesday, monday] and monday != tuesday
    assert os.readlink(shop / "exports" / "now") == "monday"
    assert (shop / "serve.log").read_text().rstrip().endswith("stopped")


def nightly(walk, *arguments):
    """Run the nightly job again; its status and the last line that it says."""
    done = subprocess.run(
        ["sh", "nightly.sh", *arguments], cwd=walk[0], env=walk[2], capture_output=True, text=True, timeout=600
    )
    return done.returncode, (done.stderr.strip().splitlines() or [""])[-1]


def test_a_night_that_fails_changes_nothing(walk):
    shop = walk[0]
    before = (shop / "lists" / "now.csv").read_bytes()
    status, said = nightly(walk, "tuesday")  # the same day again
    assert status == 2 and "dataset/tuesday is already there" in said
    with (shop / "orders.csv").open("a") as file:  # a shop that writes its dates in a third way
        file.writelines(f"C0001,{number:05d},sometime,1,1\n" for number in range(1, 300))
    status, said = nightly(walk, "wednesday")
    assert status == 2 and "the time column of" in said
    held = ["flock", "nightly.lock", "sh", "-c", "echo held; exec sleep 60"]
    with subprocess.Popen(held, cwd=shop, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout.readline() == "held\n"
            assert nightly(walk, "wednesday")[0] == 75
        finally:
            other.terminate()
    assert os.readlink(shop / "exports" / "now") == "monday" and (shop / "lists" / "now.csv").read_bytes() == before
    assert not list(shop.glob("*/wednesday*"))
