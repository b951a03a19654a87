"""Charts of a page as pictures of the docs: python -m tools.page_pictures DIR/report.html CHART=NAME ...

Draws the charts of these ids (``effects-0``, ``values-0``, ... of a study's page; ``growth`` of the page of
``tests/benchmarks/scale.py``) in Chromium, as the page does, into ``docs/NAME.svg``. Needs the extra ``test``, and
Chromium with its driver.
"""

from __future__ import annotations

import argparse
import re
import shutil
from pathlib import Path
from urllib.parse import unquote

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

DOCS = Path(__file__).parents[1] / "docs"
WIDTH = 760  # pixels
_DRAW = """
const [id, width, done] = arguments, chart = document.getElementById(id);
if (!chart?.layout) done("");
else Plotly.toImage(chart, {format: "svg", width, height: chart.layout.height}).then(done);
"""


def drawn(driver: webdriver.Chrome, chart: str) -> str:
    """A chart of the page that is open, as SVG: the same chart gives the same text. "" if there is none."""
    picture = unquote(driver.execute_async_script(_DRAW, chart, WIDTH).partition(",")[2])
    drawing = re.search('id="defs-([0-9a-f]+)"', picture)  # its number, and those of traces, are drawn at random
    return re.sub('( trace)[0-9a-f]{6}(?=")', r"\1", picture.replace(drawing[1], chart)) + "\n" if drawing else ""


def main() -> None:
    """Draw the charts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("charts", nargs="+", metavar="CHART=NAME")
    given = parser.parse_args()
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", f"--window-size={WIDTH + 40},4000"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    try:
        driver.get(given.page.resolve().as_uri())
        for chart, _, name in (text.partition("=") for text in given.charts):
            if not (picture := drawn(driver, chart)):
                parser.error(f"the page draws no chart {chart}")
            (DOCS / f"{name}.svg").write_text(picture, encoding="utf-8")
    finally:
        driver.quit()


if __name__ == "__main__":
    main()
