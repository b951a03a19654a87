"""What a person sees of work on its way: bars, the lines of the log, curves, results that print."""

import io
import logging
import xml.etree.ElementTree as ElementTree

import pytest

from recbole_cadmr import progress
from recbole_cadmr.formatting import folded
from recbole_cadmr.runs.folder import run_log
from recbole_cadmr.runs.learning_curves import learning_curves, round_ticks
from recbole_cadmr.runs.result import PrintedResult


class Terminal(io.StringIO):
    """A terminal that remembers what is written to it."""

    def isatty(self):
        return True


def test_a_bar_is_lines_in_a_file(monkeypatch):
    monkeypatch.setattr(progress.sys, "stderr", out := io.StringIO())
    monkeypatch.setattr(progress, "_DELAY", 0)
    monkeypatch.setattr(progress, "_EVERY", 0)
    with progress.bar(total=3, desc="pictures", miniters=1) as bar:
        for _ in range(3):
            bar.update(1)
    lines = out.getvalue().splitlines()
    assert lines[-1].startswith("pictures: 100%") and "3/3" in lines[-1] and "\r" not in out.getvalue()
    assert all(len(line) <= 80 for line in lines)


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_a_bar_asks_for_one_iterator(monkeypatch, stream):
    """A loader draws the order of its rows whenever it is asked for one: with bars, runs would be others."""

    class Loader(list):
        asked = 0

        def __iter__(self):
            self.asked += 1
            return super().__iter__()

    monkeypatch.setattr(progress.sys, "stderr", stream())
    for bar in (progress.bar, progress.bar_of_batches):
        loader = Loader("abc")
        assert list(bar(loader)) == ["a", "b", "c"] and loader.asked == 1


@pytest.mark.parametrize("width", [20, 80])
def test_bars_are_as_wide_as_the_terminal_and_gone_at_the_end(monkeypatch, width):
    monkeypatch.setattr(progress.sys, "stderr", out := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("tqdm.std._screen_shape_wrapper", lambda: lambda stream: (width, 25))
    with progress.bar_of_batches(range(3), total=3, desc="\x1b[1;35mTrain     1\x1b[0m") as bar:
        bar.delay = 0
        bar.mininterval = 0
        assert list(bar) == [0, 1, 2]
    shown = out.getvalue().split("\r")
    assert any(line.startswith("Train 1: ") for line in shown) and max(map(len, shown)) <= width
    assert not shown[-1].strip() and "\x1b[1" not in out.getvalue()


def test_a_dumb_terminal_gets_no_bars(monkeypatch):
    monkeypatch.setattr(progress.sys, "stderr", out := Terminal())
    monkeypatch.setenv("TERM", "dumb")
    assert list(progress.bar_of_batches(range(3), total=3, desc="Train")) == [0, 1, 2]
    assert not out.getvalue()


@pytest.mark.parametrize("verbose", [False, True])
def test_the_screen_is_brief_unless_asked_and_the_file_holds_all(tmp_path, capsys, verbose):
    log = logging.getLogger("recbole_cadmr")
    with run_log(tmp_path, verbose=verbose):
        log.info("loss/a 1 loss/b 2", extra={"screen": "loss 3"})
        log.info("a diagnostic", extra={"screen": ""})
        log.info("all settings", extra={"screen": False})
        log.info("\x1b[1;35mthe end\x1b[0m")
    shown = capsys.readouterr().out.splitlines()
    assert shown == (["loss/a 1 loss/b 2", "a diagnostic", "the end"] if verbose else ["loss 3", "the end"])
    kept = (tmp_path / "log" / "run.log").read_text()
    assert all(line in kept for line in ("loss/b 2", "a diagnostic", "all settings", "the end")) and "\x1b" not in kept


def test_lines_are_folded_to_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    assert folded("settings: epochs=100, name=['a', 'b']") == "settings:\n  epochs=100,\n  name=['a', 'b']"


@pytest.mark.parametrize(
    ("low", "high", "most", "whole", "ticks"),
    [
        (0.037, 0.183, 5, False, [0.05, 0.1, 0.15]),
        (0, 48, 5, True, [0, 10, 20, 30, 40]),
        (1, 3, 5, True, [1, 2, 3]),
        (7, 7, 5, True, [7]),
        (0, 1, 5, False, [0, 0.2, 0.4, 0.6, 0.8, 1]),
    ],
)
def test_ticks_are_round(low, high, most, whole, ticks):
    assert round_ticks(low, high, most, whole) == ticks


def test_curves_mark_the_best_epoch_and_keep_phases_apart(brief_run, tmp_path):
    result = brief_run.result
    assert learning_curves(result, tmp_path / "curves.svg")
    texts = [e.text for e in ElementTree.parse(tmp_path / "curves.svg").iter("{http://www.w3.org/2000/svg}text")]
    assert texts[0] == "CADMR on synthetic (generated data)"
    assert f"best: {result['best_valid_score']:.4f} in epoch {result['best_epoch']}" in texts
    assert "pretrain: training loss" in texts and "finetune: validation recall@20" in texts
    # The attention of `best` is weighed several times in one epoch: points, of which the best one is marked.
    entry = {**result["history"][-1], "phase": "weight", "losses": {}, "epoch": 9}
    weighed = [{**entry, "valid_score": score} for score in (0.1, 0.3, 0.2)]
    best = {**result, "history": [*result["history"], *weighed], "best_epoch": 9, "best_valid_score": 0.3}
    assert learning_curves(best, tmp_path / "best.svg")
    parts = list(ElementTree.parse(tmp_path / "best.svg").iter())
    (label,) = [e for e in parts if e.text == "best: 0.3000 in epoch 9"]
    points = [e.get("points").split() for e in parts if e.get("stroke") == "#b4531f"]
    (circle,) = [e for e in parts if e.tag.endswith("circle")]
    assert len(points) == 3 and all(one == other for one, other in points)
    assert f"{circle.get('cx')},{circle.get('cy')}" == points[1][0] and float(label.get("x")) + 150 < 720
    once = {**result, "history": result["history"][:1]}
    assert not learning_curves(once, tmp_path / "none.svg") and not (tmp_path / "none.svg").exists()


def test_a_result_prints_as_tables_and_is_a_dict(brief_run):
    result, text = brief_run.result, repr(brief_run)
    assert isinstance(result, dict) and isinstance(result, PrintedResult) and result == dict(result)
    assert f"{result['test_result']['recall@20']:.4f}" in text and "history" not in text
    assert max(map(len, text.splitlines()[:-1])) <= 80 and text.endswith(f"in {brief_run.folder}")
    html = brief_run._repr_html_()
    assert html.count("<table") == 2 and f"{result['best_valid_result']['ndcg@10']:.4f}" in html
