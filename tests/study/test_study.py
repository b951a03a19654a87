"""A study as a user runs it, on the micro set: outputs, resumption, bad input."""

from __future__ import annotations

import json
import shutil
import signal
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import yaml

from recbole_cadmr.benchmark.progress import Progress
from recbole_cadmr.cli.main import main
from recbole_cadmr.config.config import Config
from recbole_cadmr.config.declarations import Setting
from recbole_cadmr.data.prepare.catalog import catalog
from recbole_cadmr.errors import UserError
from recbole_cadmr.runs.result import read_result
from recbole_cadmr.study import departures
from recbole_cadmr.study.plan import read_plan, study_names
from recbole_cadmr.study.variants import trained_variants
from tests.browser import needs_browser
from tests.cells import no_processes
from tests.micro import write_micro

PLAN = {
    "question": "What is the attention worth?",
    "datasets": ["micro"],
    "seeds": 2,
    "figures": ["ndcg@2", "parameters"],
    "settings": {"topk": [1, 2], "valid_metric": "Recall@2", "threads": 1, "epochs": 1, "adaptive_fits": 1},
    "variants": [
        {"name": "linear", "model": "LinearCADMR"},
        {"name": "no attention", "of": "linear", "settings": {"attention": "none"}},
        {"name": "bpr", "model": "BPR"},
    ],
    "pairs": [["bpr", "linear"]],
    "measure": ["departures"],
    "departures": [
        {"name": "trained on all parts", "parts": {"train": ["train", "valid", "test"]}},
        {"name": "by time", "whole": True, "settings": {"eval_args": {"order": "TO"}}},
    ],
    "hours": {"micro": 0.5},
}
OUTPUTS = ["answer.md", "data.csv", "report.html", "study.json", "tables.md"]


@pytest.fixture(autouse=True)
def in_this_process():
    with no_processes():
        yield


def command(place, plan, *more):
    """The command line of a study of the micro set in ``place``, and its output folder."""
    file = place / "own.yaml"
    file.write_text(yaml.safe_dump(plan, sort_keys=False))
    return ["study", str(file), "--output", str(place / "out"), f"--data_path={place / 'dataset'}", *more]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    place = tmp_path_factory.mktemp("study")
    write_micro(place / "dataset")
    with no_processes():
        assert main(command(place, PLAN)) == 0
    return place


@needs_browser
def test_a_chart_becomes_a_picture_of_the_documentation(finished, driver):
    pictures = pytest.importorskip("tools.page_pictures", reason="selenium is not installed")
    shown = []
    for _ in range(2):
        driver.get((finished / "out/report.html").as_uri())
        shown.append(pictures.drawn(driver, "effects-0"))
    svg = ElementTree.fromstring(shown[0])
    comparisons = [("no attention", "linear"), ("bpr", "linear")]
    assert sum("point" in one.get("class", "").split() for one in svg.iter()) == len(comparisons)
    texts = [text.text for text in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert all(f"{variant} against {base}" in texts for variant, base in comparisons)
    assert shown[0] == shown[1] and pictures.drawn(driver, "nothing") == ""


def test_data_are_tidy_and_those_of_the_runs(finished):
    folder = finished / "out"
    assert sorted(path.name for path in folder.glob("[!.]*.*")) == OUTPUTS
    data = pd.read_csv(folder / "data.csv", keep_default_na=False)
    assert list(data.columns) == ["dataset", "variant", "departure", "seed", "stratum", "figure", "value"]
    assert not data.duplicated(list(data.columns[:-1])).any()
    assert set(data["variant"]) == {"linear", "no attention", "bpr"}
    mine = data.query("variant == 'bpr' and departure == '' and stratum == '' and figure == 'ndcg@2'")
    by_seed = {}
    for run in folder.glob("cells/micro-BPR-*/run"):
        result = read_result(run)
        by_seed[result["protocol"]["seed"]] = result["test_result"]["ndcg@2"]
    assert mine.set_index("seed")["value"].astype(float).to_dict() == by_seed and len(by_seed) == 2


def test_the_answer_is_computed_from_the_data(finished):
    answer = (finished / "out/answer.md").read_text()
    data = pd.read_csv(finished / "out/data.csv", keep_default_na=False)
    values = data.query("departure == '' and stratum == '' and figure == 'ndcg@2'").groupby("variant")["value"]
    means = values.apply(lambda column: column.astype(float).mean())
    assert answer.startswith(f"**{PLAN['question']}**")
    assert f"ndcg@2 of *linear* is {means['linear']:.4f} (1 run)" in answer
    for name in ("bpr", "no attention"):
        assert f"*{name}* by {means[name] - means['linear']:+.4f}".replace("-", "−") in answer
    facts = (finished / "out/report.html").read_text().partition('id="facts">')[2].partition("</script>")[0]
    effects = json.loads(facts)["effects"]
    paired = {(one["variant"], one["figure"]): (one["n"], one["unit"]) for one in effects if not one["departure"]}
    assert paired["no attention", "ndcg@2"] == (2, "users") and paired["no attention", "parameters"] == (1, "seeds")
    assert paired["bpr", "ndcg@2"] == (2, "seeds")


def test_a_departure_that_does_not_go_is_said_to_be_missing(finished):
    tables = (finished / "out/tables.md").read_text()
    assert "by time on micro | micro has no times" in tables
    assert "| ranked against 99 sampled items on micro | the data set has too few items for it" in tables


def test_times_that_are_not_loaded_are_for_a_departure_that_goes_by_them(tmp_path):
    parts = write_micro(tmp_path / "dataset").glob("micro/*.inter")
    for file in parts:
        header, *rows = file.read_text().splitlines()
        file.write_text("\n".join([f"{header}\ttime:float", *(f"{row}\t{k}" for k, row in enumerate(rows))]) + "\n")
    with open(tmp_path / "dataset/micro/micro.yaml", "a") as settings:
        settings.write("TIME_FIELD: time\n")
    last = {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user"}
    departure = {"name": "last", "whole": True, "settings": {"eval_args": last, "mask_valid_at_test": True}}
    variants = [{"name": "linear", "model": "LinearCADMR", "settings": {"attention": "none"}}]
    plan = {**PLAN, "pairs": [], "measure": [], "departures": [departure], "variants": variants}
    assert main(command(tmp_path, plan)) == 0
    assert "## Missing" not in (tmp_path / "out/tables.md").read_text()
    assert "| linear | last | 1 |" in (tmp_path / "out/tables.md").read_text()


def test_it_is_resumed_without_another_run(finished, capsys):
    before = {run: run.stat().st_mtime_ns for run in (finished / "out").glob("cells/*/run/result.json")}
    assert main(command(finished, PLAN)) == 0
    out = capsys.readouterr().out
    assert "about 0.5 hours on one core" in out and "nothing left to run" in out
    assert {run: run.stat().st_mtime_ns for run in before} == before


def test_a_folder_of_another_study_is_refused(finished, capsys):
    assert main(command(finished, PLAN, "--quick", "--datasets=micro")) == 2
    assert "holds the study own; choose another --output" in capsys.readouterr().err


@pytest.fixture
def begun(finished, tmp_path):
    """The place of a study whose folder has results, to be changed."""
    write_micro(tmp_path / "dataset")
    shutil.copytree(finished / "out", tmp_path / "out")
    return tmp_path


@pytest.mark.parametrize(
    ("plan", "more", "said"),
    [
        (PLAN, ["--seeds=1,3"], "holds the study own with the seed 2, which is not asked for now"),
        (PLAN, ["--reg_weight=5"], "holds the study own with reg_weight not given"),
        ({**PLAN, "measure": []}, [], "holds the study own by a file that says other measure"),
        ({**PLAN, "settings": {**PLAN["settings"], "epochs": 2}}, [], "by a file that says other settings"),
        ({**PLAN, "variants": [{**PLAN["variants"][0], "settings": {"reg_weight": 9.0}}, *PLAN["variants"][1:]]}, [],
         "by a file that says other variants"),
    ],
)  # fmt: skip
def test_a_folder_that_does_not_fit_is_refused(begun, capsys, plan, more, said):
    before = (begun / "out/study.json").read_bytes()
    assert main(command(begun, plan, *more)) == 2
    error = capsys.readouterr().err
    assert said in error and error.endswith("; choose another --output\n") and error.count("\n") == 1
    assert (begun / "out/study.json").read_bytes() == before


def test_other_interactions_are_refused(begun, capsys):
    with open(begun / "dataset/micro/micro.test.inter", "a") as file:
        file.write("ann\td\n")
    assert main(command(begun, PLAN)) == 2
    assert "holds the study own on other interactions of micro than there are now" in capsys.readouterr().err


def test_what_results_do_not_depend_on_can_be_changed(begun, capsys):
    settings = {**PLAN["settings"], "threads": 2}
    changed = {**PLAN, "axis": "layers", "orders": True, "question": "What else?", "settings": settings}
    assert main(command(begun, changed)) == 0
    assert "nothing left to run" in capsys.readouterr().out
    assert main(command(begun, {**changed, "orders": False})) == 2
    assert "by a file that says other orders" in capsys.readouterr().err


def test_damaged_measurements_are_said_and_left_out(begun):
    for name, content in (("micro-BPR-1-*/departures-*.json", b'{"x'), ("micro-trained*-BPR-1-*/run/model.pt", b"x")):
        (file,) = (begun / "out/cells").glob(name)
        file.write_bytes(content)
    for file in (begun / "out/cells").glob("micro-trained*-BPR-1-*/original_parts-*.json"):
        file.unlink()
    assert main(command(begun, PLAN)) == 0
    tables = (begun / "out/tables.md").read_text()
    assert "| departures of bpr on micro, seed 1 |" in tables and "; remove it to measure again |" in tables
    assert "| bpr (trained on all parts) on micro, seed 1 |" in tables


def test_seeds_and_variants_can_be_added(begun, capsys):
    first = set((begun / "out").glob("cells/*/run/result.json"))
    stamps = {run: run.stat().st_mtime_ns for run in first}
    added = {**PLAN, "variants": [*PLAN["variants"], {"name": "pop", "model": "Pop"}]}
    assert main(command(begun, added, "--seeds=1,2,3")) == 0
    assert {run: run.stat().st_mtime_ns for run in first} == stamps
    data = pd.read_csv(begun / "out/data.csv", keep_default_na=False)
    assert set(data.loc[data["variant"] == "bpr", "seed"]) == {1, 2, 3} and "pop" in set(data["variant"])
    assert main(command(begun, added)) == 2  # which would be fewer seeds
    assert "with the seed 3, which is not asked for now" in capsys.readouterr().err


@pytest.mark.parametrize("file", ["result.json", "test_lists.npz"])
def test_a_damaged_run_is_said_and_left_out(begun, capsys, file):
    (run,) = (begun / "out").glob("cells/micro-BPR-1-*/run")
    whole = (run / file).read_bytes()
    (run / file).write_bytes(whole[: len(whole) // 2])
    assert main(command(begun, PLAN)) == 0
    error = capsys.readouterr().err
    assert error.startswith("left out: ") and f"remove {run.parent} to run it again" in error
    assert error.count("\n") == 1 and "Traceback" not in error
    tables = (begun / "out/tables.md").read_text()
    assert "| bpr on micro, seed 1 |" in tables
    data = pd.read_csv(begun / "out/data.csv", keep_default_na=False)
    assert set(data.loc[(data["variant"] == "bpr") & (data["departure"] == ""), "seed"]) == {2}
    shutil.rmtree(run.parent)
    assert main(command(begun, PLAN)) == 0
    assert "bpr on micro, seed 1" not in (begun / "out/tables.md").read_text()


def with_variant(**changes):
    return {**PLAN, "pairs": [], "variants": [{"name": "one", "model": "LinearCADMR", **changes}]}


def with_variants(*others):
    first = {"name": "one", "model": "LinearCADMR"}
    return {**PLAN, "pairs": [], "variants": [first, *({"name": "other", "of": "one", **other} for other in others)]}


ALONE = {"name": "{modalities} alone", "each": "modality", "settings": {"modalities": "{modalities}"}}


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (with_variant(model="LinearCADMM"), "variant 'one' on micro: there is no model 'LinearCADMM'"),
        (with_variant(model="CADMR@nest"), "CADMR has no preset 'nest'"),
        (with_variant(settings={"regweight": 3}), "there is no setting 'regweight'; did you mean reg_weight"),
        (with_variant(settings={"modalities": ["audio"]}), "it needs the modality audio, which the data set lacks"),
        (with_variant(of="two"), "variant 'one' is of 'two', which is no single variant before it"),
        ({**PLAN, "figures": ["ndgc@2"]}, "there is no figure 'ndgc@2'; did you mean ndcg@2"),
        ({**PLAN, "figures": ["known factors explained"]}, "there is no figure 'known factors explained'"),
        ({**PLAN, "measure": ["everything"]}, "there is no measurement 'everything'"),
        ({**PLAN, "figures": ["ndcg@20"]}, "variant 'linear' on micro: ndcg@20 is not measured; metrics are Recall"),
        ({**PLAN, "seeds": 10**9}, "Expected `int` <= 100 - at `$.seeds`".replace("`", "'")),
        ({**PLAN, "departures": [{"name": "train items not left out"}]}, "is called as one that every trained"),
        ({**PLAN, "quick": {"datasets": []}}, "quick needs at least one data set; leave datasets out"),
        ({**PLAN, "departures": [{"name": "a b"}, {"name": "A-b"}]}, "each of other letters and digits"),
        ({**PLAN, "seeds": 1}, "'bpr' and 'linear' are paired by seed, and one seed is too few"),
        ({**PLAN, "datasets": ["macro"]}, "there is no data set 'macro'"),
        ({**PLAN, "settings": {**PLAN["settings"], "epoch": 3}}, "no variant has a setting 'epoch'; did you mean"),
        ({**PLAN, "pairs": [["bpr", "brp"]]}, "a pair names 'brp', which is no single variant; did you mean"),
        ({**PLAN, "pairs": [["bpr", "linear"], ["linear", "bpr"]]}, "pairs name two different variants, each two once"),
        ({**PLAN, "pairs": [["bpr", "bpr"]]}, "pairs name two different variants"),
        ({**PLAN, "measure": ["departures", "departures in good faith"]}, "measure names something twice"),
        ({**PLAN, "figures": ["ndcg@2", "ndcg@2"]}, "the figure ndcg@2 is named twice"),
        ({**PLAN, "correlations": [["ndcg@2", "recall@2"]] * 2}, "correlation ndcg@2 with recall@2 is named twice"),
        (with_variant(settings={"epochs": 2}), "every variant that has the setting 'epochs' says itself what it is"),
        ({**PLAN, "qestion": "?"}, "Object contains unknown field 'qestion'"),
        ({**PLAN, "variants": []}, "a study needs at least one variant"),
        ({**PLAN, "variants": [*PLAN["variants"], {"name": "2", "of": "bpr"}]}, "'bpr' and '2' are the same model"),
        ({**PLAN, "settings": {**PLAN["settings"], "seed": 3}}, "seed is no setting of a study's variants; use seeds"),
        (with_variant(settings={"save_lists": False}), "save_lists is no setting of a study's variants; use nothing"),
        (with_variant(settings={"data_path": "elsewhere"}), "use --data_path"),
        (with_variants({"settings": {"mask_valid_at_test": True}}), "mask_valid_at_test is True, not False as in the"),
        (with_variants({"name": " ", "settings": {"attention": "none"}}), "the names of variants and what claims say"),
        (with_variants({**ALONE, "cell": "x"}), "'{modalities} alone' stands for several, which have no cell"),
        ({**PLAN, "correlations": [["ndcg@2", "recall@2"]]}, "of variants that have a cell, and none has"),
        ({**PLAN, "figures": ["ndcg@02"]}, "there is no figure 'ndcg@02'"),
        ({**PLAN, "figures": ["ndcg@2", "abs_cos_video"]}, "on micro, which has no modality video"),
        ({**with_variant(cell="x"), "correlations": [["ndcg@2", "ndcg@20"]]}, "ndcg@20 is not measured"),
        ({**PLAN, "departures": [{"name": "none"}]}, "departure 'none' changes nothing of the variant 'linear'"),
        ({**PLAN, "departures": [{"name": "a", "parts": {"valid": []}}]}, "Expected 'array' of length >= 1"),
        ({**PLAN, "departures": [{"name": "a", "parts": {"valid": ["test"] * 2}}]}, "its valid part of one part twice"),
        (with_variants({"name": "text alone", "settings": {"attention": "none"}}, ALONE), "are called 'text alone'"),
        (with_variants({**ALONE, "settings": {"attention": "none"}}), "has no {modalities} in its settings"),
    ],
)  # fmt: skip
def test_bad_studies_are_one_sentence(tmp_path, capsys, plan, said):
    write_micro(tmp_path / "dataset")
    assert main(command(tmp_path, plan)) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not (tmp_path / "out/cells").exists() and not (tmp_path / "out/study.json").exists()


def test_what_a_study_decides_is_no_setting(tmp_path, capsys):
    write_micro(tmp_path / "dataset")
    assert main(command(tmp_path, PLAN, "--seed=3")) == 2
    assert "seed is no setting of a study's variants; use seeds" in capsys.readouterr().err


def test_an_unknown_study_is_one_sentence(tmp_path, capsys):
    assert main(["study", "head", "--output", str(tmp_path / "out")]) == 2
    assert "there is no study 'head'; did you mean heads?" in capsys.readouterr().err


def test_data_sets_of_the_studies_are_known_by_name():
    named = {dataset for name in study_names() for dataset in read_plan(name)[1].datasets}
    assert named - {"synthetic"} <= catalog().keys()


def test_what_comes_with_the_package_can_be_run(tmp_path, capsys):
    assert main(["study", "--list"]) == 0
    listed = capsys.readouterr().out
    for name in study_names():
        plan = read_plan(name)[1]
        assert name in listed and plan.question in listed and plan.hours
        trained, _ = trained_variants(plan, plan.quick.datasets[0], plan.quick.settings, tmp_path / name)
        assert len({(one.variant, one.departure) for one in trained}) == len(trained) > 1


def test_a_variant_of_each_modality_and_of_each_subset(tmp_path):
    entries = [
        {"name": "all", "model": "LinearCADMR"},
        {"name": "{modalities} alone", "of": "all", "each": "modality", "settings": {"modalities": "{modalities}"}},
        {"name": "{modalities}", "of": "all", "each": "subset", "settings": {"modalities": "{modalities}"}},
    ]
    file = tmp_path / "own.yaml"
    file.write_text(yaml.safe_dump({**PLAN, "variants": entries, "pairs": [], "departures": []}))
    write_micro(tmp_path / "dataset")
    place = {"data_path": str(tmp_path / "dataset")}
    trained, without = trained_variants(read_plan(str(file))[1], "micro", place, tmp_path)
    assert without["text + image"] == "it is the variant 'all' there" and len(without) == 3
    read = {one.variant: (one.base, one.spec.config["modalities"]) for one in trained}
    # What is there already, both modalities and each alone, is not there twice.
    expected = {"text alone": ("all", ["text"]), "image alone": ("all", ["image"])}
    assert read == {"all": (None, ["text", "image"]), **expected}


def test_no_setting_of_a_run_reaches_what_departures_are_trained_on():
    declared: dict[str, Setting] = Config("CADMR", "synthetic").declarations
    assert not {"parts", "whole", "departure", "departures", "measure"} & declared.keys()
    assert np.array_equal(Config("CADMR", "synthetic")["benchmark_filename"], ["train", "valid", "test"])


def refused(*_):
    raise UserError("too many items")


def test_a_study_that_was_stopped_goes_on(tmp_path, capsys, monkeypatch):
    write_micro(tmp_path / "dataset")
    arguments = command(tmp_path, {**PLAN, "departures": []})
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # off where tests run in the background
    with monkeypatch.context() as patch:
        end = Progress._on_end
        patch.setattr(Progress, "_on_end", lambda *arguments: (end(*arguments), signal.raise_signal(signal.SIGINT)))
        assert main(arguments) == 2
    signal.signal(signal.SIGINT, handler)
    assert "stopped; what is finished is kept" in capsys.readouterr().err
    first = {run: run.stat().st_mtime_ns for run in (tmp_path / "out").glob("cells/*/run/result.json")}
    assert len(first) == 1 and not (tmp_path / "out/answer.md").exists()
    with monkeypatch.context() as patch:
        patch.setattr(departures, "best", refused)
        assert main(arguments) == 0
    assert "departures of bpr on micro, seed 2 | too many items |" in (tmp_path / "out/tables.md").read_text()
    assert "4 cells, 1 finished" in capsys.readouterr().out
    assert {run: run.stat().st_mtime_ns for run in first} == first and (tmp_path / "out/answer.md").exists()


@pytest.mark.parametrize(("model", "dataset"), [("SASRec", "micro"), ("Pop", "two_domains")])
def test_parts_are_of_neither_sequences_nor_two_domains(tmp_path, capsys, model, dataset):
    variants = [{"name": "one", "model": model}]
    plan = {key: value for key, value in PLAN.items() if key in ("question", "seeds", "departures")}
    plan |= {"datasets": [dataset], "figures": ["epochs"], "variants": variants}
    write_micro(tmp_path / "dataset")
    place = [] if dataset == "two_domains" else [f"--data_path={tmp_path / 'dataset'}"]
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(plan))
    assert main(["study", str(tmp_path / "own.yaml"), "--output", str(tmp_path / "out"), *place]) == 2
    error = capsys.readouterr().err
    assert "departure 'trained on all parts' has parts, on which neither" in error and error.count("\n") == 1


def test_a_reason_of_all_runs_is_said_once(tmp_path, capsys):
    write_micro(tmp_path / "dataset")
    plan = {key: PLAN[key] for key in ("question", "datasets", "seeds")}
    plan |= {"figures": ["epochs"], "variants": [{"name": "gru", "model": "GRU4Rec"}]}
    plan |= {"settings": {"epochs": 1, "topk": [2], "valid_metric": "NDCG@2"}}
    assert main(command(tmp_path, plan)) == 2
    error = capsys.readouterr().err
    assert error.count("need the order of interactions") == error.count("\n") == 1
    assert error.endswith(f"; the logs are in {tmp_path / 'out' / 'cells'}\n")


def test_each_needs_modalities(tmp_path, capsys):
    each = {"name": "{modalities} alone", "model": "LinearCADMR", "each": "modality", "settings": {}}
    write_micro(tmp_path / "dataset", modalities="[]")
    assert main(command(tmp_path, {**PLAN, "pairs": [], "variants": [each]})) == 2
    assert "is for each modality of a data set, and this one has none" in capsys.readouterr().err
