"""Draw the small shop with dirty data that ``shop.md`` walks through, into a new folder: python shop_data.py FOLDER."""

from __future__ import annotations

import csv
import random
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

Row = dict[str, Any]

KINDS = {
    "table": ["coffee table", "dining table", "side table", "desk"],
    "chair": ["armchair", "dining chair", "office chair", "bar stool"],
    "lamp": ["floor lamp", "desk lamp", "pendant lamp", "wall lamp"],
    "shelf": ["bookcase", "wall shelf", "shoe rack", "sideboard"],
    "textile": ["wool rug", "linen curtain", "cotton cushion", "throw"],
    "kitchen": ["cast iron pan", "bread knife", "cutting board", "teapot"],
}
STYLES = ["oak", "walnut", "white", "black", "industrial", "rustic", "bamboo"]
N_CUSTOMERS, N_WEEKS = 300, 26
FIRST_DAY = datetime(2026, 5, 4)
COLUMNS = ["customer", "product", "date", "quantity", "price"]


def products() -> list[Row]:
    """One product of each style and name; those of the last style are new on the second day."""
    rows = []
    for style in STYLES:
        for kind, names in KINDS.items():
            for name in names:
                place = random.choice(["home", "office", "garden"])
                rows.append(
                    {
                        "product": f"{len(rows) + 1:05d}",  # zeros in front, as shops have them
                        "name": f"{style.capitalize()} {name}",
                        "category": kind,
                        "description": f"<p>A {style} {name} for your {place}.</p>",
                        "price": f"{random.uniform(9, 900):.2f}",
                    }
                )
    return rows


def orders(catalogue: list[Row], customers: list[str], first: datetime, days: int) -> list[Row]:
    """Who buys what when: everyone has a style and a kind or two, and mostly keeps to them."""
    rows = []
    for customer in customers:
        taste = random.Random(customer)
        kinds, style = taste.sample(list(KINDS), 2), taste.choice(STYLES[:-1])
        wanted = [row for row in catalogue if row["category"] in kinds or row["name"].startswith(style.capitalize())]
        for _ in range(random.randint(3, 12)):
            row = random.choice(wanted if random.random() < 0.8 else catalogue)
            time = first + timedelta(minutes=random.randrange(days * 24 * 60))
            values = customer, row["product"], time, random.choice("1112"), row["price"]
            rows.append(dict(zip(COLUMNS, values)))
    return sorted(rows, key=lambda row: row["date"])


def dirty(rows: list[Row]) -> None:
    """What real exports look like: sent twice, guests, discontinued products, returns, prices that are none."""
    for row in random.sample(rows, 30):
        rows.append(dict(row))
    for row in random.sample(rows, 15):
        row["customer"] = ""
    for row in random.sample(rows, 15):
        row["product"] = f"9{row['product'][1:]}"
    for row in random.sample(rows, 20):
        row["quantity"] = "-1"
    for row in random.sample(rows, 25):
        row["price"] = random.choice(["NaN", "", "n/a"])


def write(path: Path, rows: list[Row], separator: str = ",") -> None:
    """A csv with a header."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=separator)
        writer.writeheader()
        writer.writerows(rows)


def main(folder: Path) -> None:
    """Write the files of the first day, and those of the next one under ``tuesday``."""
    random.seed(2026)
    (folder / "tuesday").mkdir(parents=True)
    everything = products()
    n_old = len(everything) - len(everything) // len(STYLES)
    catalogue, new = everything[:n_old], everything[n_old:]
    customers = [f"C{number:04d}" for number in range(N_CUSTOMERS)]
    first, days = FIRST_DAY, N_WEEKS * 7
    sold = orders(catalogue[:-4], customers, first, days)  # four products wait for their first customer
    dirty(sold)
    old = [{**row, "date": row["date"].strftime("%d.%m.%Y")} for row in sold if row["date"] < first + timedelta(90)]
    now = [{**row, "date": row["date"].isoformat(sep=" ")} for row in sold if row["date"] >= first + timedelta(90)]
    for row in random.sample(now, 5):
        row["date"] = "unknown"
    write(folder / "orders_until_july.csv", old, ";")  # of the shop's former system
    write(folder / "orders.csv", now)
    for row in random.sample(catalogue, 6):
        row["name"] = ""
    for row in random.sample(catalogue, 6):
        row["price"] = "NaN"
    write(folder / "products.csv", [*catalogue, {**catalogue[0], "name": "Oak coffee table (old)"}])
    (folder / "out_of_stock.txt").write_text("00002\n00031\n00077\n")

    newcomers = [f"D{number:04d}" for number in range(5)]
    tomorrow = orders(everything, [*customers[:40], *newcomers], first + timedelta(days), 1)
    dated = [{**row, "date": row["date"].isoformat(sep=" ")} for row in tomorrow]
    write(folder / "tuesday" / "orders.csv", dated)
    write(folder / "tuesday" / "products.csv", new)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
