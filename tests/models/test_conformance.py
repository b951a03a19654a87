"""Every model of the package conforms; beside each floor stands what three seeds gave, half as much again or more."""

# ruff: noqa: RUF012  (mappings that nobody changes)

from __future__ import annotations

from recbole_cadmr.models.registry import MODELS
from tests.models.conformance import ModelConformance


class TestVBPR(ModelConformance):
    model = "VBPR"
    floor = 0.073  # .110 to .122


class TestMMGCN(ModelConformance):
    model = "MMGCN"
    floor = 0.09  # .137 to .156


class TestMMGCNPublished(ModelConformance):
    model, preset = "MMGCN", "published"
    floor = 0.066  # .100 to .111


class TestGRCN(ModelConformance):
    model = "GRCN"
    floor = 0.17  # .257 to .261


class TestGRCNPublished(ModelConformance):
    model, preset = "GRCN", "published"
    floor = 0.17  # .260 to .273


class TestLATTICE(ModelConformance):
    model = "LATTICE"
    floor = 0.16  # .246 to .260


class TestSLMRec(ModelConformance):
    model = "SLMRec"
    brief = {**ModelConformance.brief, "epochs": 3}
    floor = 0.16  # .247 to .258


class TestBM3(ModelConformance):
    model = "BM3"
    floor = 0.047  # .072 to .078


class TestFREEDOM(ModelConformance):
    model = "FREEDOM"
    floor = 0.14  # .209 to .224


class TestMGCN(ModelConformance):
    model = "MGCN"
    brief = {**ModelConformance.brief, "epochs": 3}
    floor = 0.175  # .264 to .270


class TestLGMRec(ModelConformance):
    model = "LGMRec"
    floor = 0.15  # .229 to .240


class TestSMORE(ModelConformance):
    model = "SMORE"
    brief = {**ModelConformance.brief, "epochs": 3}
    small = {**ModelConformance.small, "modality_neighbours": {"text": 2, "image": 2}}
    floor = 0.185  # .278 to .286


class TestMENTOR(ModelConformance):
    model = "MENTOR"
    floor = 0.175  # .267 to .276


class TestMMHCL(ModelConformance):
    model = "MMHCL"
    floor = 0.154  # .231 to .240


class TestREARM(ModelConformance):
    model = "REARM"
    floor = 0.163  # .249 to .257


class TestLinearCADMR(ModelConformance):
    model = "LinearCADMR"
    small = {"reg_weight": 2.0, "attention_neighbours": 2}
    settings = {"adaptive_fits": 1}  # else validation chooses settings, and with them scores
    brief = {}
    floor = 0.19  # .287
    closed_form = True


class TestCEASE(ModelConformance):
    model = "CEASE"
    small = {"reg_weight": 2.0}
    brief = {}
    floor = 0.185  # .283
    closed_form = True


class TestAddEASE(ModelConformance):
    model = "AddEASE"
    small = {"reg_weight": 2.0}
    brief = {}
    floor = 0.185  # .279
    closed_form = True


class TestL3AE(ModelConformance):
    model = "L3AE"
    small = {"reg_weight": 1.0, "content_weight": 2.0}
    brief = {}
    floor = 0.18  # .274
    closed_form = True


class TestMMGF(ModelConformance):
    model = "MMGF"
    small = {}
    brief = {}
    floor = 0.12  # .181
    closed_form = True


class TestRP3beta(ModelConformance):
    model = "RP3beta"
    small = {}
    brief = {}
    floor = 0.112  # .169
    closed_form = True


class CADMRConformance(ModelConformance):
    """CADMR in its two phases; that each trains what it should is for test_cadmr.py to say."""

    model = "CADMR"
    small = {
        "pretrain_epochs": 1,
        "epochs": 2,
        "learning_rate": 0.01,
        "encoder_hidden_size": 6,
        "latent_size": 4,
        "fused_size": 4,
        "attention_size": 4,
        "n_heads": 2,
        "autoencoder_hidden_sizes": [5],
        "attention_neighbours": 2,
        "train_batch_size": 2,
    }
    brief = {"pretrain_epochs": 1, "epochs": 6, "learning_rate": 0.003, "pretrain_learning_rate": 0.003}
    settings = {"gate_init": 0.5}
    phase = "finetune"


class TestCADMRPaper(CADMRConformance):
    preset = "paper"
    reads_item_graphs = False  # as the other presets do
    floor = 0.05  # .075 to .082


class TestCADMRContent(CADMRConformance):
    preset = "content"
    floor = 0.125  # .193 to .198


class TestCADMRBest(ModelConformance):
    model, preset = "CADMR", "best"
    small = {"attention_size": 4, "linear_settings": {"reg_weight": 2.0, "attention_neighbours": 2}, "epochs": 3}
    settings = {"attention_weights": [0.03], "attention_trials": 1}  # validation is not to choose settings
    brief = {"epochs": 3, "linear_settings": {"adaptive_fits": 1}}
    floor = 0.22  # .328 to .342


def test_every_model_of_the_registry_is_here():
    tested = {value.model for value in globals().values() if isinstance(value, type) and hasattr(value, "floor")}
    assert tested | {"TwoDomainSASRec"} == set(
        MODELS
    )  # which has no use for the sets here: test_twodomainsasrec_runs.py
