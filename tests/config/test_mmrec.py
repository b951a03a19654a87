"""Settings files of the MMRec toolbox as settings of this package."""

from __future__ import annotations

from pathlib import Path

import pytest

from recbole_cadmr.cli.main import main
from recbole_cadmr.config.config import Config
from recbole_cadmr.config.mmrec import _ALL, _table, counterparts, single_values, translated
from recbole_cadmr.config.yaml_text import load_yaml, read_yaml
from recbole_cadmr.errors import UserError
from recbole_cadmr.tuning.plan import make_plan
from tests.micro import write_micro

DOCS = Path(__file__).parents[2] / "docs" / "from_mmrec.md"

# What a user of MMRec's writes for each model that both have, and what it is here: settings, and lists to be tried.
EXAMPLES = {
    "BM3": ("{embedding_size: 32, feat_embed_dim: 32, n_layers: [1, 2], dropout: [0.3], reg_weight: 0.1, "
            "cl_weight: 1.5, use_neg_sampling: False, hyper_parameters: [n_layers, dropout]}",
            {"embedding_size": 32, "dropout": 0.3, "reg_weight": 0.1, "cl_weight": 1.5}, {"n_layers": [1, 2]},
            ["feat_embed_dim", "use_neg_sampling"]),
    "BPR": ("{embedding_size: 32, reg_weight: [0.1, 0.01], learning_rate: 1e-2, hyper_parameters: [reg_weight]}",
            {"embedding_size": 32, "learning_rate": 0.01}, {}, ["reg_weight"]),
    "FREEDOM": ("{embedding_size: 32, feat_embed_dim: 32, weight_size: [32, 32], lambda_coeff: 0.9, "
                "reg_weight: [0.0, 1e-3], n_mm_layers: 1, n_ui_layers: 3, knn_k: 5, mm_image_weight: 0.2, "
                "dropout: [0.7, 0.9], hyper_parameters: [dropout, reg_weight]}",
                {"embedding_size": 32, "n_item_layers": 1, "n_layers": 3, "neighbours": 5,
                 "modality_weights": {"image": 0.2, "text": 0.8}},
                {"reg_weight": [0.0, 0.001], "edge_dropout": [0.7, 0.9]}, ["weight_size", "lambda_coeff"]),
    "GRCN": ("{embedding_size: 32, latent_embedding: 16, n_layers: 3, reg_weight: 0.01, learning_rate: [0.1, 0.01], "
             "hyper_parameters: [learning_rate]}",
             {"embedding_size": 32, "content_size": 16, "reg_weight": 0.01}, {"learning_rate": [0.1, 0.01]},
             ["n_layers"]),
    "LATTICE": ("{embedding_size: 32, feat_embed_dim: 16, weight_size: [64, 64, 64], "
                "learning_rate_scheduler: [0.96, 50], lambda_coeff: 0.7, reg_weight: 1e-5, cf_model: ngcf, "
                "mess_dropout: [0.1, 0.1], n_layers: 2, knn_k: 5}",
                {"embedding_size": 32, "n_layers": 3, "learning_rate_schedule": "exponential", "learned_weight": 0.3,
                 "reg_weight": 1e-5, "n_item_layers": 2, "neighbours": 5}, {},
                ["feat_embed_dim", "cf_model", "mess_dropout"]),
    "LGMRec": ("{embedding_size: 32, feat_embed_dim: 32, cf_model: lightgcn, n_ui_layers: [3], n_mm_layers: [1], "
               "n_hyper_layer: [2], hyper_num: [8], keep_rate: [0.4, 0.5], alpha: [0.6], cl_weight: [1e-3], "
               "reg_weight: [1e-5], hyper_parameters: [n_ui_layers, n_mm_layers, n_hyper_layer, hyper_num, keep_rate, "
               "alpha, cl_weight, reg_weight]}",
               {"embedding_size": 32, "n_ui_layers": 3, "n_content_layers": 1, "n_hyper_layers": 2, "n_hyperedges": 8,
                "alpha": 0.6, "contrast_weight": 0.001, "reg_weight": 1e-5}, {"hyperedge_dropout": [0.6, 0.5]}, []),
    "LightGCN": ("{embedding_size: 32, n_layers: [1, 2], reg_weight: [1e-2], is_multimodal_model: False, "
                 "hyper_parameters: [n_layers, reg_weight]}",
                 {"embedding_size": 32, "reg_weight": 0.01}, {"n_layers": [1, 2]}, ["is_multimodal_model"]),
    "MGCN": ("{embedding_size: 32, n_ui_layers: 3, n_layers: 2, learning_rate_scheduler: [1.0, 50], lambda_coeff: 0.9, "
             "reg_weight: 1e-3, knn_k: 5, learning_rate: 0.002, cl_loss: [0.1, 0.01], hyper_parameters: [cl_loss]}",
             {"embedding_size": 32, "n_ui_layers": 3, "n_item_layers": 2, "learning_rate_schedule": "constant",
              "reg_weight": 0.001, "neighbours": 5, "learning_rate": 0.002},
             {"contrast_weight": [0.1, 0.01]}, ["lambda_coeff"]),
    "MMGCN": ("{embedding_size: 32, n_layers: 2, reg_weight: [0, 0.1], learning_rate: 0.001, "
              "hyper_parameters: [reg_weight]}",
              {"embedding_size": 32, "learning_rate": 0.001}, {"reg_weight": [0, 0.1]}, ["n_layers"]),
    "SLMRec": ("{recdim: 32, layer_num: 2, reg: [0.1, 0.2], ssl_task: FD, learning_rate: 0.001, weight_decay: 1e-3, "
               "ssl_alpha: 0.5, ssl_temp: [0.1, 0.5], dropout_rate: 0.2, mm_fusion_mode: mean, temp: 0.3, "
               "init: xavier, adj_type: pre, hyper_parameters: [ssl_temp, reg]}",
               {"embedding_size": 32, "n_layers": 2, "ssl_task": "FD", "learning_rate": 0.001, "weight_decay": 0.001,
                "ssl_weight": 0.5, "dropout_prob": 0.2, "temperature": 0.3}, {"ssl_temperature": [0.1, 0.5]},
               ["reg", "mm_fusion_mode"]),
    "SMORE": ("{embedding_size: 32, n_ui_layers: [3, 4], n_layers: 2, lambda_coeff: 0.9, reg_weight: 1e-5, "
              "cl_loss: 0.1, temperature: 0.2, image_knn_k: [10, 20], text_knn_k: [5, 15], dropout_rate: 0.2, "
              "hyper_parameters: [n_ui_layers, image_knn_k, text_knn_k]}",
              {"embedding_size": 32, "n_item_layers": 2, "reg_weight": 1e-5, "contrast_weight": 0.1, "dropout": 0.2},
              {"n_ui_layers": [3, 4], "modality_neighbours": [{"image": 10, "text": 5}, {"image": 10, "text": 15},
                                                              {"image": 20, "text": 5}, {"image": 20, "text": 15}]},
              ["lambda_coeff"]),
    "VBPR": ("{embedding_size: 32, reg_weight: [2.0, 1.0], hyper_parameters: [reg_weight]}", {"embedding_size": 32}, {},
             ["reg_weight"]),
}  # fmt: skip
OVERALL = """
gpu_id: 0
use_gpu: False
seed: [999]
data_path: '../data/'
epochs: 7
stopping_step: 20
training_neg_sample_num: 1
learning_rate_scheduler: [1.0, 50]
metrics: ["Recall", "MAP"]
topk: [1, 2]
valid_metric: Recall@2
eval_batch_size: 4096
max_txt_len: 32
hyper_parameters: ["seed"]
"""


def tables() -> str:
    """What ``docs/from_mmrec.md`` says of each setting."""
    how = {"one minus": "{} = 1 - value", "image and text": "{} = {{image: value, text: 1 - value}}",
           "length": "{} = its length", "of image": "{} = {{image: value}}",
           "of text": "{} = {{text: value}}"}  # fmt: skip
    parts = []
    for model, entries in _table().items():
        lines = [f"## {'Every model' if model == _ALL else model}", "", "| MMRec | here |", "|---|---|"]
        for name, entry in entries.items():
            here = how.get(entry.how, "{}").format(entry.name) if entry.name else ""
            if entry.how == "schedule":
                here = f"{entry.name}: [1.0, ..] is constant, [0.96, 50] exponential"
            here += "".join(f", with {other}={value}" for other, value in entry.goes_with.items())
            fits = f"; {', '.join(map(str, entry.fits))} fits" if isinstance(entry.fits, list) and entry.fits else ""
            lines.append(f"| `{name}` | {f'`{here}`' if here else f'none: {entry.none}{fits}'} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


@pytest.fixture(scope="module")
def overall(tmp_path_factory):
    file = tmp_path_factory.mktemp("mmrec") / "overall.yaml"
    file.write_text(OVERALL)
    return file


def written(folder: Path, model: str, text: str) -> Path:
    file = folder / f"{model}.yaml"
    file.write_text(text)
    return file


def test_there_is_an_example_of_every_model_that_both_have():
    assert EXAMPLES.keys() == _table().keys() - {_ALL}


@pytest.mark.parametrize("model", EXAMPLES)
def test_a_file_of_each_model_is_translated(model, tmp_path):
    text, settings, space, lost = EXAMPLES[model]
    found = translated([written(tmp_path, model, text)])
    assert (found.model, found.settings, found.space) == (model, settings, space)
    missing = [
        name for note in found.notes if "without a counterpart" in note for name in note.partition(":")[0].split(", ")
    ]
    assert sorted(missing) == sorted(lost)  # each once
    config = Config(model, settings={**found.settings, **{name: choices[-1] for name, choices in found.space.items()}})
    assert all(config[name] == value for name, value in found.settings.items())
    if space:
        assert make_plan(model, "synthetic", space=found.space, settings=found.settings).space == space
    # All of its own settings are in the example, so that the table names what the toolbox names.
    assert read_yaml(tmp_path / f"{model}.yaml").keys() - {"hyper_parameters"} <= counterparts(model).keys()


def test_every_counterpart_is_a_setting_of_the_model():
    for model in EXAMPLES:
        config = Config(model)
        names = {entry.name for entry in counterparts(model).values() if entry.name}
        assert names <= config.declarations.keys()


def test_later_files_have_priority_and_a_list_of_one_is_a_value(overall, tmp_path):
    found = translated([overall, written(tmp_path, "MGCN", "{epochs: 3, cl_loss: [0.1], hyper_parameters: [cl_loss]}")])
    assert found.settings == {
        "use_gpu": False, "seed": 999, "epochs": 3, "stopping_step": 20, "eval_step": 1,
        "learning_rate_schedule": "constant", "metrics": ["Recall", "MAP"], "topk": [1, 2], "valid_metric": "Recall@2",
        "contrast_weight": 0.1,
    }  # fmt: skip
    said = " ".join(found.notes)
    assert "stopping_step goes with eval_step=1" in said and "data_path" in said and "eval_batch_size" in said
    assert "training_neg_sample_num" not in said  # one, as here
    assert Config("MGCN", settings=found.settings)["eval_step"] == 1


def test_a_training_takes_one_of_several_values(overall, tmp_path):
    file = written(
        tmp_path, "FREEDOM", "{dropout: [0.8, 0.9], reg_weight: [0.3, 0.5], hyper_parameters: [dropout, reg_weight]}"
    )
    found = translated([overall, file])
    one = single_values(found, {"reg_weight": 0.3}, {"edge_dropout": 0.8, "reg_weight": 0.001})
    assert one.settings["edge_dropout"] == 0.8 and "reg_weight" not in one.settings and not one.space
    assert one.notes[-1] == "edge_dropout=0.8, the default, is taken of 0.8, 0.9; tune searches them"
    with pytest.raises(UserError, match="^reg_weight lists 0.3, 0.5; give one as --reg_weight=VALUE, or search them"):
        single_values(found, {}, {"edge_dropout": 0.8, "reg_weight": 0.001})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("FREEDOM", "lambda_coef: 0.9", r"MMRec's FREEDOM has no setting 'lambda_coef'; did you mean lambda_coeff\?"),
        ("FREEDOM", "hyper_parameters: [dropot]", r"has no setting 'dropot'; did you mean dropout\?"),
        ("FREEDOM", "hyper_parameters: dropout", "hyper_parameters must be a list of names"),
        ("FREEDOM", "{dropout: [], hyper_parameters: [dropout]}", "dropout lists no value to try"),
        ("FREEDOM", "mm_image_weight: much", "mm_image_weight cannot be 'much'"),
        ("FREEDOM", "learning_rate_scheduler: [0.5, 10]", r"learning_rate_scheduler cannot be \[0.5, 10\]"),
        ("FREEDOM", "learning_rate_scheduler: 1", "learning_rate_scheduler cannot be 1"),
        ("FREEDOM", "- dropout", "must hold settings"),
        ("FREEDOM", "dropout: !!python/object/apply:os.system [ls]", "is not valid yaml"),
        ("DRAGON", "epochs: 1", "named after a model that MMRec has, too.* of BM3, BPR, FREEDOM"),
        ("CADMR", "epochs: 1", "CADMR is not a model that MMRec has, too; the models of both are BM3, BPR, FREEDOM"),
    ],
)
def test_bad_files_are_refused(name, text, message, tmp_path):
    with pytest.raises(UserError, match=message):
        translated([written(tmp_path, name, text)])


def test_the_tables_in_the_documentation_are_those_of_the_yaml():
    assert DOCS.read_text().endswith("-->\n\n" + tables())


def test_train_reads_mmrecs_files(overall, tmp_path, capsys):
    write_micro(tmp_path / "data")
    model = written(tmp_path, "VBPR", "{embedding_size: 4, reg_weight: [2.0, 1.0], hyper_parameters: [reg_weight]}")
    more = written(tmp_path, "own", "epochs: 2")
    command = [
        "train",
        "--dataset=micro",
        f"--data_path={tmp_path / 'data'}",
        "--mmrec_config",
        str(overall),
        str(model),
    ]
    assert (
        main(
            [*command, "--config_files", str(more), f"--output={tmp_path / 'run'}", "--seed=5", "--show_progress=False"]
        )
        == 0
    )
    shown = capsys.readouterr().out
    assert "reg_weight: without a counterpart, since its term takes lengths" in shown
    protocol = load_yaml((tmp_path / "run" / "result.json").read_text(), "result")
    assert (protocol["model"], protocol["settings"]["embedding_size"], protocol["settings"]["epochs"]) == ("VBPR", 4, 2)
    assert protocol["protocol"]["seed"] == 5 and protocol["settings"]["eval_step"] == 1
    assert main([*command, "--resume", str(tmp_path / "run")]) == 2
    assert "leave out --dataset" in capsys.readouterr().err


def test_tune_refuses_two_spaces(overall, tmp_path, capsys):
    model = written(tmp_path, "FREEDOM", "{dropout: [0.8, 0.9], hyper_parameters: [dropout]}")
    command = [
        "tune",
        "--mmrec_config",
        str(overall),
        str(model),
        f"--output={tmp_path / 'search'}",
        "--space",
        str(model),
    ]
    assert main(command) == 2
    assert "--space and the lists in --mmrec_config both say what is searched" in capsys.readouterr().err
