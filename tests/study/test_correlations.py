"""Correlations within cells and pooled, and verdicts, against known answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats

from recbole_cadmr.config.config import Config
from recbole_cadmr.errors import UserError
from recbole_cadmr.runs.folder import scratch_folder
from recbole_cadmr.runs.session import open_session
from recbole_cadmr.study.claims import verdicts
from recbole_cadmr.study.correlations import correlations_of, points_of
from recbole_cadmr.study.effects import correct
from recbole_cadmr.study.measurements import MEASUREMENTS
from recbole_cadmr.study.plan import Claim, read_plan
from recbole_cadmr.study.study import study
from recbole_cadmr.study.two_domains import LAYERS, measure
from recbole_cadmr.study.variants import trained_variants
from tests.cells import no_processes

COLUMNS = ["dataset", "variant", "departure", "seed", "stratum", "figure", "value"]
CELLS = {"one": "narrow", "two": "narrow", "three": "wide"}


def data_of(points):
    """Data of the figures cos and ndcg: rows (dataset, variant, seed, cos, ndcg)."""
    rows = [
        (dataset, variant, "", seed, "", figure, value)
        for dataset, variant, seed, *values in points
        for figure, value in zip(("cos", "ndcg"), values)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def paradox(seed=0, n=1):
    """Within each cell the two rise together; the cell of higher cos has the lower ndcg. ``n`` data sets."""
    rng = np.random.default_rng(seed)
    points = []
    for place in range(n):
        for variant, cos, ndcg in (("one", 0.1, 0.9), ("three", 0.8, 0.2)):
            for number in range(20):
                x = rng.normal()
                point = (cos + 0.02 * x, ndcg + 0.02 * x + 0.01 * rng.normal())
                points.append((f"set {place}", variant, number, *point))
    return data_of(points)


def test_simpsons_paradox_is_seen():
    (row,) = correlations_of(paradox(n=8), [("cos", "ndcg")], CELLS).to_dict("records")
    assert row["within"] > 0.7 and row["within_low"] > 0.5 and row["pooled"] < -0.9 and row["pooled_high"] < -0.8
    assert (row["n"], row["cells"]) == (320, 16)


def test_what_does_not_differ_within_cells_has_no_correlation_there():
    points = [("set", variant, n, x, n / 7) for variant, x in (("one", 0.1), ("three", 0.7)) for n in range(10)]
    (row,) = correlations_of(data_of(points), [("cos", "ndcg")], CELLS).to_dict("records")
    assert np.isnan(row["within"]) and row["pooled"] == pytest.approx(0)


def many(n, seeds):
    """Variants whose figures rise together, with as many seeds that all give the same."""
    x, y = np.random.default_rng(0).normal(size=(2, n))
    points = [("set", str(v), seed, x[v], 0.6 * x[v] + y[v]) for v in range(n) for seed in range(seeds)]
    return data_of(points), {str(variant): "all" for variant in range(n)}


def test_of_independent_runs_the_intervals_are_about_fishers():
    data, cells = many(60, 1)
    points = points_of(data, ("cos", "ndcg"), cells)
    (row,) = correlations_of(data, [("cos", "ndcg")], cells).to_dict("records")
    expected = stats.pearsonr(points["x"], points["y"])
    low, high = expected.confidence_interval()
    for kind in ("within", "pooled"):  # of one cell they are the same
        assert row[kind] == pytest.approx(expected.statistic)
        assert (row[f"{kind}_low"], row[f"{kind}_high"]) == pytest.approx((low, high), abs=0.1)
    assert row["p"] < 0.01


def test_more_seeds_of_the_same_variants_are_no_more_evidence():
    rows = []
    for seeds in (1, 20):
        data, cells = many(12, seeds)
        rows += correlations_of(data, [("cos", "ndcg")], cells).to_dict("records")
    one, twenty = rows
    assert (one["n"], twenty["n"]) == (12, 240)
    for name in ("within", "within_low", "within_high", "p"):
        assert twenty[name] == pytest.approx(one[name], abs=1e-9)


def test_two_variants_give_no_interval():
    (row,) = correlations_of(paradox(), [("cos", "ndcg")], CELLS).to_dict("records")
    assert all(np.isnan(row[name]) for name in ("within_low", "within_high", "pooled_low", "pooled_high", "p"))


def test_correlations_are_corrected_with_the_effects_of_the_first_figure():
    effects = EFFECTS.assign(p=[0.01, 0.04, np.nan, 0.03])
    correlations = pd.DataFrame({"x": ["a", "b"], "y": ["c", "d"], "p": [0.02, np.nan]})
    correct(effects, "ndcg", correlations)
    np.testing.assert_allclose(effects["p"], [0.03, 0.04, np.nan, 0.03])  # 3 x .01; of recall there is one test
    np.testing.assert_allclose(correlations["p"], [0.04, np.nan])  # 2 x .02


def test_cells_are_a_data_set_and_what_variants_share():
    data = data_of([(d, v, 1, 0.1, 0.2) for d in ("a", "b") for v in ("one", "two", "three", "left out")])
    points = points_of(data, ("cos", "ndcg"), CELLS)
    assert points.groupby("cell").size().to_dict() == {"a, narrow": 2, "a, wide": 1, "b, narrow": 2, "b, wide": 1}
    (row,) = correlations_of(data, [("cos", "ndcg")], CELLS).to_dict("records")
    assert np.isnan(row["within"]) and np.isnan(row["pooled"])  # nothing varies


EFFECTS = pd.DataFrame(
    [
        ("set", "gca", "", "base", "ndcg", 0.02, 0.001),
        ("other", "gca", "", "base", "ndcg", 0.01, 0.2),
        ("set", "control", "", "gca", "ndcg", 0.03, 0.01),
        ("set", "gca", "", "base", "recall", -0.5, 0.001),
    ],
    columns=["dataset", "variant", "departure", "base", "figure", "difference", "p"],
)


@pytest.mark.parametrize(
    ("claim", "word", "found"),
    [
        ({"better": [("gca", "base")]}, "partly borne out", (1, 2, 0, "; for it: gca against base on set")),
        ({"better": [("gca", "control")]}, "contradicted", (0, 1, 1, "; against it: gca against control on set")),
        ({"better": [("control", "gca")]}, "borne out", (1, 1, 0, "; for it: control against gca on set")),
        ({"negative": [("cos", "ndcg")]}, "contradicted", (0, 1, 1, "; against it: cos with ndcg")),
    ],
)
def test_verdicts(claim, word, found):
    correlations = correlations_of(paradox(n=8), [("cos", "ndcg")], CELLS)
    said = verdicts([Claim("x", **claim), Claim("y", better=[("gca", "nothing")])], correlations, EFFECTS, "ndcg")
    speak, tests, against, names = found
    expected = f"{word} ({speak} of {tests} tests speak for it, {against} against it{names})."
    assert said == {"x": expected, "y": "nothing could be tested."}


def test_what_is_measured_of_two_domains():
    settings = {"embedding_size": 8, "topk": [10], "show_progress": False, "gca_positions": "early", "gca_frozen": True}
    with scratch_folder() as scratch:
        session = open_session(Config("TwoDomainSASRec", "two_domains", settings=settings), scratch)
    (figures,) = measure(session).values()
    trained = {name: p.numel() for name, p in session.model.named_parameters() if p.requires_grad}
    vectors = sum(size for name, size in trained.items() if "embedding" in name)
    assert figures[LAYERS] == sum(trained.values()) - vectors
    assert sum(trained.values()) < sum(p.numel() for p in session.model.parameters())  # the random attention stays
    with pytest.raises(UserError, match="data sets of one domain"):
        MEASUREMENTS["departures"].measure(session)
    # Fewer than 999 items are left in a domain, so that all of them are drawn.
    result = session.trainer.evaluate(session.test_data, load_best_model=False)
    for name in "ab":
        assert figures[f"ndcg999_{name}@10"] == pytest.approx(result[f"ndcg_{name}@10"])


def test_the_study_of_alignment_is_whole():
    _, plan = read_plan("alignment")
    made, left_out = trained_variants(plan, "two_domains", plan.quick.settings, Path())
    assert (
        len(made) == 22
        and not left_out
        and sorted(set(filter(None, (v.cell for v in plan.variants))))
        == [
            "width 16",
            "width 32",
            "width 64",
        ]
    )
    for width in (16, 32, 64):
        sizes = {}
        for name in ("early", "feed-forward of equal parameters", "width of equal parameters"):
            (one,) = (one for one in made if one.variant == f"{name} {width}")
            with scratch_folder() as scratch:
                model = open_session(one.spec.config, scratch).model
            sizes[name] = sum(p.numel() for n, p in model.named_parameters() if "embedding" not in n)
        assert max(sizes.values()) / min(sizes.values()) < 1.04


def test_a_study_answers_by_correlations_and_claims(tmp_path):
    settings = {"embedding_size": 8, "epochs": 1, "topk": [10], "threads": 1}
    early = {"gca_positions": "early", "gca_gate_start": 0.5}
    plan = {
        "question": "Does it help?",
        "datasets": ["two_domains"],
        "seeds": 2,
        "figures": ["ndcg_ab@10", LAYERS],
        "measure": ["two domains"],
        "settings": settings,
        "correlations": [["abs_cos_A", "ndcg_a@10"]],
        "variants": [
            {"name": "base", "model": "TwoDomainSASRec"},
            {"name": "early", "of": "base", "settings": early, "cell": "all"},
            {"name": "stack", "of": "early", "settings": {"gca_positions": "stack"}, "cell": "all"},
            {"name": "own", "of": "early", "settings": {"gca_source": "own"}, "cell": "all"},
        ],
        "claims": [{"says": "it helps", "better": [["early", "base"]]}],
    }
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(plan, sort_keys=False))
    with no_processes():
        found = study(str(tmp_path / "own.yaml"), tmp_path / "out")
    points = points_of(found.data, ("abs_cos_A", "ndcg_a@10"), found.plan.cells)
    assert len(points) == 6 and points["x"].between(0, 1).all()
    r = np.corrcoef(points["x"], points["y"])[0, 1]
    answer = (tmp_path / "out/answer.md").read_text()
    shown = f"{r:+.2f}".replace("-", "−")
    assert f"abs_cos_A with ndcg_a@10 {shown} [" in answer and "(6 runs, 1 cell)" in answer
    assert (
        "The claim that it helps: " in answer
        and "of 1 tests speak for it" in answer
        and "over the 4 tests of the study" in answer
    )
    assert "| abs_cos_A with ndcg_a@10 | 6 | 1 |" in (tmp_path / "out/tables.md").read_text()
    report = (tmp_path / "out/report.html").read_text()
    assert 'id="scatter-0"' in report and "A point a run" in report


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"correlations": [["abs_cos_C", "ndcg@10"]]},
            "no figure 'abs_cos_C'; did you mean abs_cos_B or abs_cos_A",
        ),
        ({"claims": [{"says": "x", "negative": [["abs_cos_A", "ndcg@10"]]}]}, "which are not in correlations"),
        ({"claims": [{"says": "x", "better": [["one", "two"]]}]}, "names one and two, which are not paired"),
    ],
)
def test_bad_input(tmp_path, change, message):
    variants = [{"name": "one", "model": "BPR"}, {"name": "two", "model": "Pop"}]
    plan = {"question": "?", "datasets": ["two_domains"], "figures": ["ndcg@10"], "variants": variants, **change}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(plan))
    with pytest.raises(UserError, match=message):
        read_plan(str(tmp_path / "own.yaml"))
