"""Every setting that RecBole declares is judged, and a judgement holds wherever the setting is given."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest
import recbole
import yaml

from recbole_cadmr.config.config import Config
from recbole_cadmr.config.declarations import declared
from recbole_cadmr.errors import UserError
from recbole_cadmr.models.registry import model_names
from tests.micro import write_drawn, write_micro

PROPERTIES = files("recbole_cadmr.properties")
JUDGED = {**declared(PROPERTIES / "recbole.yaml"), **declared(PROPERTIES / "overall.yaml")}
REFUSED = [name for name, setting in JUDGED.items() if setting.refused]


def config(folder, model="BPR", dataset="drawn", **settings):
    small = {"topk": [1, 2], "valid_metric": "Recall@2", "data_path": str(folder)}
    return Config(model, dataset, settings={**small, **settings})


@pytest.fixture
def drawn(tmp_path):
    return write_drawn(tmp_path, [f"u{u} i{(u + k) % 5}" for u in range(4) for k in range(4)])


def test_every_setting_of_recbole_is_judged():
    place = Path(recbole.__file__).parent / "properties"
    names = {name for names in Config("BPR").parameters.values() for name in names}
    for file in ("overall.yaml", "dataset/sample.yaml"):
        names |= yaml.safe_load((place / file).read_text()).keys()
    assert names <= JUDGED.keys()
    assert all(setting.help or setting.refused for setting in JUDGED.values())


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_says_why(drawn, name):
    with pytest.raises(UserError, match=f"^settings: {name} is not for use here: .{{20}}"):
        config(drawn, **{name: "something"})


@pytest.mark.parametrize("model", model_names())
def test_the_settings_of_a_run_can_be_given_again(model):
    if model == "RaCT":
        return
    plain = Config(model).plain_settings()
    assert Config(settings=plain).plain_settings() == plain


GOOD = [
    {"load_col": None},
    {"train_neg_sample_args": None},
    {"train_neg_sample_args": {"distribution": "none"}},
    {"load_col": None, "unload_col": {"inter": ["rating"]}},
    {"train_neg_sample_args": {"distribution": "popularity", "alpha": 0.5, "sample_num": 2}},
    {"train_neg_sample_args": {"dynamic": True, "candidate_num": 3}},
    {"user_inter_num_interval": None, "item_inter_num_interval": [2, 5]},
    {"user_inter_num_interval": "[0,3];(5,inf)"},
    {"eval_args": {"split": {"RS": [8, 1, 1]}, "group_by": None}},
    {"eval_args": {"split": {"RS": [0.9, 0, 0.1]}, "group_by": "none"}},
    {"eval_args": {"split": {"LS": "test_only"}, "order": "TO", "mode": {"valid": "full"}}},
    {"clip_grad_norm": {"max_norm": 5, "norm_type": 2}},
    {"metrics": "Recall"},
    {"metrics": ["GAUC"], "valid_metric": "GAUC"},
    {"metrics": ["gauc", "Recall"], "topk": 3, "valid_metric": "recall@3"},
    {"valid_metric_bigger": True},
    {"encoding": "latin-1"},
    {"filter_inter_by_user_or_item": False},
    {"state": "WARNING"},
    {"normalize_all": True},
]


@pytest.mark.parametrize("settings", GOOD)
def test_what_recbole_documents_is_taken(drawn, settings):
    plain = config(drawn, **settings).plain_settings()
    assert Config(settings=plain).plain_settings() == plain


BAD = [
    ({"eval_args": {"splitt": {"LS": "valid_and_test"}}}, r"eval_args has no entry 'splitt'; did you mean split\?"),
    ({"eval_args": {"split": {"RSS": [1, 1, 1]}}}, r"eval_args.split has no entry 'RSS'; did you mean RS"),
    ({"eval_args": {"split": {"RS": [8, 1]}}}, "RS needs three shares"),
    ({"eval_args": {"split": {"RS": "foo"}}}, "eval_args.split.RS must be a list, not 'foo'"),
    ({"eval_args": {"split": {"RS": [0.8, 0.1, -0.1]}}}, "eval_args.split.RS must be at least 0, not -0.1"),
    ({"eval_args": {"split": {"RS": [0.8, 0.1, float("nan")]}}}, "must be a finite number"),
    ({"eval_args": {"split": {"RS": [0, 0, 0]}}}, "RS needs three shares"),
    ({"eval_args": {"split": {"LS": "last"}}}, "LS must be one of valid_and_test, valid_only, test_only, not 'last'"),
    ({"topk": [10, 20, 10]}, r"topk names one twice: \[10, 20, 10\]"),
    ({"metrics": ["Recall", "recall"]}, "metrics names one twice"),
    ({"eval_args": {"split": {"LS": "valid_only"}, "group_by": "none"}}, "LS leaves out .* needs group_by: user"),
    ({"eval_args": {"split": {"LS": "valid_only", "RS": [8, 1, 1]}}}, "must name one way to split"),
    ({"eval_args": {"split": {}}}, "must name one way to split"),
    ({"eval_args": {"split": None}}, "eval_args.split must be a mapping, not None"),
    ({"eval_args": {"split": {"TS": [8, 1, 1]}}}, "needs order: TO"),
    ({"eval_args": {"order": "XX"}}, "eval_args.order must be one of RO, TO, not 'XX'"),
    ({"eval_args": {"group_by": "item"}}, "eval_args.group_by must be one of user, none"),
    ({"eval_args": {"mode": "uni100"}}, "only full ranking is measured here"),
    ({"eval_args": {"mode": {"valid": "full", "test": "pop100"}}}, "only full ranking is measured here"),
    ({"eval_args": {"mode": {"tset": "full"}}}, "eval_args.mode has no entry 'tset'; did you mean test"),
    ({"eval_args": None}, "eval_args must be a mapping, not None"),
    ({"eval_args": {1: 2}}, "eval_args must name its entries by words, not by 1"),
    ({"train_neg_sample_args": {"uniform": 4}}, "train_neg_sample_args has no entry 'uniform'"),
    ({"train_neg_sample_args": {"distrbution": "popularity"}}, "did you mean distribution"),
    ({"train_neg_sample_args": {"distribution": "foo"}}, "must be one of uniform, popularity, none, not 'foo'"),
    ({"train_neg_sample_args": {"sample_num": -1}}, "sample_num must be at least 1, not -1"),
    ({"train_neg_sample_args": {"sample_num": 1.5}}, "sample_num must be a whole number or a word, not 1.5"),
    ({"train_neg_sample_args": {"sample_num": "many"}}, "must be numbers"),
    ({"train_neg_sample_args": {"alpha": 0.5}}, "alpha is a power of popularity"),
    ({"train_neg_sample_args": {"dynamic": True}}, "candidate_num of at least 1"),
    ({"train_neg_sample_args": {"candidate_num": 3}}, "candidate_num of at least 1"),
    ({"load_col": {"inter": 5}}, "load_col.inter must be a list or a word, not 5"),
    ({"load_col": {"intr": ["user_id"]}}, "load_col has no entry 'intr'; did you mean inter"),
    ({"load_col": {"kg": ["head_id"]}}, "load_col has no entry 'kg'"),
    ({"unused_col": {"inter": [5]}}, "unused_col.inter must be a list, each a word"),
    ({"user_inter_num_interval": "[a,b]"}, r"must be an interval such as '\[3,5\]' or '\[3,inf\)', not '\[a,b\]'"),
    ({"user_inter_num_interval": "[5,3]"}, "must be an interval"),
    ({"user_inter_num_interval": 5}, "must be an interval"),
    ({"val_interval": {"rating": "3"}}, "val_interval.rating must be an interval"),
    ({"val_interval": "[1,2]"}, "val_interval must be a mapping"),
    ({"rm_dup_inter": "foo"}, "rm_dup_inter must be one of first, last, not 'foo'"),
    ({"seq_len": {"tags": 0}}, "seq_len.tags must be at least 1"),
    ({"clip_grad_norm": {"max_nrm": 5}}, "did you mean max_norm"),
    ({"clip_grad_norm": {"norm_type": 2}}, "clip_grad_norm must hold max_norm"),
    ({"epochs": None}, "epochs must be a whole number, not None"),
    ({"learning_rate": float("inf")}, "learning_rate must be a finite number"),
    ({"epochs": 10**5000}, "epochs must be a finite number, of at most 63 bits, not a number of more than 40 digits"),
    ({"learning_rate": [["x"] * 10] * 10**5}, "learning_rate must be a number"),
    ({"data_note": "a\0"}, "a character that is not allowed in a text"),
    ({"valid_metric": "GAUC"}, "valid_metric GAUC is not computed"),
    ({"metrics": ["GAUC"], "valid_metric": "GAUC@2"}, "valid_metric GAUC@2 is not computed"),
    ({"valid_metric": "Recall"}, "valid_metric Recall is not computed"),
    ({"valid_metric_bigger": False}, "follows from valid_metric Recall@2"),
    ({"learner": "sparse_adam"}, "learner must be one of"),
    ({"ITEM_ID_FIELD": "user_id"}, "must be three columns"),
    ({"USER_ID_FIELD": None}, "USER_ID_FIELD must be a word"),
    ({"field_separator": ", "}, "field_separator must be of at least 1 and at most 1 letters"),
    ({"seq_separator": ""}, "seq_separator must be of at least 1 letters"),
    ({"unload_col": {"inter": ["rating"]}}, "unload_col and load_col both name columns of inter"),
    ({"LABEL_FIELD": "item_id"}, "must be three columns"),
    ({"normalize_all": True, "normalize_field": ["rating"]}, "give one of them"),
    ({"worker": -1}, "worker must be at least 0"),
    ({"config_files": ["a.yaml"]}, "a settings file names no other ones"),
    ({"config_file": "a.yaml"}, "settings files are named by config_files"),
    ({"config_dict": {}}, "there is no setting 'config_dict'; did you mean config_file"),
    ({5: 1}, "there is no setting 5"),
    ({"settings_schedule": {True: {"learning_rate": 0.1}}}, "settings_schedule must name epochs from 1 on"),
    ({"settings_schedule": {3: {"user_inter_num_interval": "[5,inf)"}}}, "user_inter_num_interval cannot change"),
    ({"settings_schedule": {3: {"learning_rat": 0.1}}}, "did you mean learning_rate"),
]


@pytest.mark.parametrize(("settings", "sentence"), BAD, ids=range(len(BAD)))
def test_a_mistake_is_one_short_sentence(drawn, settings, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        Config(
            "BPR", "drawn", settings={"topk": [1, 2], "valid_metric": "Recall@2", "data_path": str(drawn), **settings}
        )
    assert len(str(caught.value)) < 600 and "\n" not in str(caught.value)


FILTERS = [
    {"user_inter_num_interval": "[5,inf)"},
    {"item_inter_num_interval": "[1,inf)"},
    {"val_interval": {"rating": "[3,inf)"}},
    {"rm_dup_inter": "first"},
    {"filter_inter_by_user_or_item": True},
    {"split_seed": 3},
    {"eval_args": {"split": {"LS": "valid_and_test"}}},
    {"eval_args": {"split": {"RS": [0.8, 0.1, 0.1]}}},
    {"eval_args": {"order": "TO", "mode": "full"}},
    {"eval_args": {"group_by": "user"}},
]


@pytest.mark.parametrize("settings", FILTERS)
def test_a_set_that_comes_split_is_neither_split_nor_filtered(tmp_path, settings):
    folder = write_micro(tmp_path)
    with pytest.raises(UserError, match="has no effect on micro, whose parts are given by benchmark_filename"):
        config(folder, dataset="micro", **settings)
    file = folder / "micro" / "micro.yaml"
    file.write_text(file.read_text() + yaml.safe_dump(settings))
    with pytest.raises(UserError, match=r"micro.yaml: \S+ has no effect on micro"):
        config(folder, dataset="micro")


@pytest.mark.parametrize(
    "settings",
    [
        {"eval_args": {"mode": "full"}},
        {"user_inter_num_interval": "[0,inf)", "item_inter_num_interval": None},
        {"filter_inter_by_user_or_item": False, "rm_dup_inter": None, "val_interval": {}, "split_seed": None},
    ],
)
def test_what_asks_for_nothing_is_taken(tmp_path, settings):
    plain = config(write_micro(tmp_path), dataset="micro", **settings).plain_settings()
    assert Config(settings=plain).plain_settings() == plain


def test_columns_of_other_names_are_those_that_are_read(tmp_path):
    write_drawn(tmp_path, ["a x"], "who:token what:token", "USER_ID_FIELD: who\nITEM_ID_FIELD: what\n")
    assert config(tmp_path)["load_col"] == {"inter": ["who", "what"]}
    assert "load_col" not in config(tmp_path).changed


def test_a_place_that_is_named_is_the_place(tmp_path, drawn):
    with pytest.raises(UserError, match="there is no folder .*absent; data_path must name the folder"):
        config(tmp_path / "absent", dataset="synthetic")
    for dataset in ("synthetic", "ml-100k"):
        with pytest.raises(UserError, match=f"there is no data set '{dataset}' in {drawn}"):
            config(drawn, dataset=dataset)
    (drawn / "ml-100k").mkdir()
    assert config(drawn, dataset="ml-100k")["data_path"] == str(drawn / "ml-100k")
    assert Config("BPR", "ml-100k")["data_path"].endswith("dataset_example/ml-100k")


@pytest.mark.parametrize("arguments", [(7, "drawn"), ("BPR", 7), (["BPR"], None), (object, None), ("BPR", "a" * 5000)])
def test_a_model_and_a_data_set_are_named_by_words(arguments):
    with pytest.raises(UserError, match="named by (a|one) word|object is no recommender"):
        Config(*arguments)


def test_settings_are_a_mapping_and_one_file_is_a_file(tmp_path):
    with pytest.raises(UserError, match=r"not as \[1\]"):
        Config(settings=[1])
    (tmp_path / "c.yaml").write_text("model: BPR\n")
    assert (
        Config(config_files=tmp_path / "c.yaml")["model"]
        == Config(config_files=str(tmp_path / "c.yaml"))["model"]
        == "BPR"
    )
