"""Rules between settings: how a set is split, sampled and measured, and what has no part in a set that comes split."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from recbole.evaluator import metric_types
from recbole.utils import EvaluatorType, InputType, ModelType

from recbole_cadmr.config.declarations import Setting
from recbole_cadmr.config.domain_metrics import DOMAIN_METRICS
from recbole_cadmr.config.yaml_text import shown
from recbole_cadmr.errors import UserError, did_you_mean

_OF_DOMAINS = tuple(name.lower() for name in DOMAIN_METRICS)
RANKING = tuple(
    name for name, kind in metric_types.items() if kind == EvaluatorType.RANKING and name not in _OF_DOMAINS
)
_OF_ALL_ITEMS = ("gauc",)  # measured over the whole ranking, so that there is no length of a list
# What draws or filters a set, beside the parts of eval_args in _DRAWN, and the values that ask for no filter.
_FILTERS: dict[str, tuple[Any, ...]] = {
    "rm_dup_inter": (),
    "val_interval": ({},),
    "filter_inter_by_user_or_item": (False,),
    "user_inter_num_interval": ("[0,inf)",),
    "item_inter_num_interval": ("[0,inf)",),
    "split_seed": (),
}
_DRAWN = ("split", "order", "group_by")
TRACKERS = ("tensorboard", "csv", "mlflow", "wandb")
# Settings that say where and how a run is done, and which of several it is: what is compared does not depend on them.
OF_MACHINE = (
    *("threads", "use_gpu", "gpu_id", "worker", "data_path", "output", "checkpoint_dir", "show_progress", "state"),
    *("resume_step", "resume_seconds", "save_lists", "eval_batch_size", "tracker", "energy"),
)
OF_RUN = ("seed", "split_seed", "evaluate_test", *OF_MACHINE)


def check_metrics(settings: dict[str, Any]) -> None:
    """Bring ``metrics`` and ``topk`` into the form of lists, and check them and ``valid_metric``."""
    for name in ("metrics", "topk"):
        if not isinstance(settings[name], (list, tuple)):
            settings[name] = [settings[name]]
    for name in ("metrics", "topk", "reg_weight", "attention_weights", "coefficients"):
        if settings.get(name) in ([], ()):
            raise UserError(f"{name} must not be empty")
    for name in ("metrics", "topk"):
        if len({str(value).lower() for value in settings[name]}) < len(settings[name]):
            raise UserError(f"{name} names one twice: {shown(settings[name])}")
    for metric in settings["metrics"]:
        if str(metric).lower() in _OF_DOMAINS and settings["domain_field"] is None:
            raise UserError(
                f"{metric} needs a data set of two domains; domain_field must be the column of .item that names them"
            )
        if str(metric).lower() not in (*RANKING, *_OF_DOMAINS):
            near = did_you_mean(str(metric), (*RANKING, *DOMAIN_METRICS))
            near = f"; a list stands in brackets: [{metric}]" if "," in str(metric) else near
            raise UserError(f"there is no ranking metric {shown(metric)}{near or '; there are ' + ', '.join(RANKING)}")
    metric, _, k = str(settings["valid_metric"]).partition("@")
    computed = {str(name).lower() for name in settings["metrics"]}
    lengths = {""} if metric.lower() in _OF_ALL_ITEMS else {str(value) for value in settings["topk"]}
    if metric.lower() not in computed or k not in lengths:
        raise UserError(
            f"valid_metric {settings['valid_metric']} is not computed: "
            f"metrics are {', '.join(settings['metrics'])} at {', '.join(map(str, settings['topk']))}"
        )


def check_trackers(settings: dict[str, Any]) -> None:
    """Bring ``tracker`` into the form of a list, and check its names; ``none`` is an empty one."""
    value = settings["tracker"]
    names = [name.strip() for name in value.split(",")] if isinstance(value, str) else list(value or [])
    names = [] if names == ["none"] else names
    if "none" in names:
        raise UserError(f"tracker cannot be none and others at once ({', '.join(map(str, names))}); leave out either")
    for name in names:
        if name not in TRACKERS:
            near = did_you_mean(str(name), TRACKERS)
            raise UserError(f"there is no tracker {shown(name)}{near or '; there are ' + ', '.join(TRACKERS)}")
    if len(set(names)) < len(names):
        raise UserError(f"tracker names one twice: {', '.join(names)}")
    settings["tracker"] = names


def check_energy(settings: dict[str, Any]) -> None:
    """Bring the country of ``energy`` into capitals, and check that it is one."""
    value = settings["energy"]
    if isinstance(value, str):
        if not re.fullmatch("[A-Za-z]{3}", value):
            raise UserError(
                f"energy must be True, False or the three letters of a country, such as DEU, not {shown(value)}"
            )
        settings["energy"] = value.upper()


def refuse_long_lists(topk: Iterable[int], n_items: int, dataset: str) -> None:
    """Raise :class:`UserError` if a list would be longer than the catalogue."""
    if max(topk) > n_items:
        fitting = ",".join(str(k) for k in topk if k <= n_items) or n_items
        raise UserError(
            f"topk {max(topk)} is more than the {n_items} items of {dataset}; "
            f"give a smaller `topk`, such as [{fitting}]"
        )


def first_metric(metrics: Iterable[Any], topk: Iterable[Any]) -> str:
    """A metric that is computed, as ``valid_metric`` names it."""
    name = next(iter(metrics))
    return str(name) if str(name).lower() in _OF_ALL_ITEMS else f"{name}@{next(iter(topk))}"


def check_split(arguments: Mapping[str, Any]) -> None:
    """Check ``eval_args`` beyond the values of its entries."""
    mode = arguments.get("mode", "full")
    modes = {mode} if isinstance(mode, str) else set(mode.values())
    if modes - {"full"}:
        raise UserError(f"only full ranking is measured here, not eval_args mode {', '.join(sorted(modes))}")
    if "split" not in arguments:
        return
    split = arguments["split"]
    if len(split) != 1:
        raise UserError(f"eval_args.split must name one way to split, RS, LS or TS, not {shown(split)}")
    ((way, shares),) = split.items()
    if way != "LS" and (len(shares) != 3 or not sum(shares) > 0):
        raise UserError(
            f"eval_args.split: {way} needs three shares, of the train, validation and test part, as in "
            f"[0.8, 0.1, 0.1], not {shown(shares)}"
        )
    if way == "LS" and arguments.get("group_by", "user") != "user":
        raise UserError("eval_args.split: LS leaves out the last interactions of every user, and needs group_by: user")
    if way == "TS" and arguments.get("order") != "TO":
        raise UserError("eval_args.split: TS splits at a moment, and needs order: TO")


def check_sampling(settings: dict[str, Any]) -> None:
    """Check ``train_neg_sample_args`` beyond the values of its entries; no sampling becomes None, as RecBole has it."""
    arguments = settings["train_neg_sample_args"]
    if arguments is None or arguments.get("distribution") == "none":
        settings["train_neg_sample_args"] = None
        return
    if settings["MODEL_TYPE"] == ModelType.SEQUENTIAL:
        raise UserError(
            f"{settings['model']} is trained by a softmax, without negative items; leave out train_neg_sample_args"
        )
    if any(isinstance(arguments.get(name), str) for name in ("sample_num", "alpha")):
        raise UserError("train_neg_sample_args: sample_num and alpha must be numbers where a distribution is named")
    if arguments.get("alpha", 1) != 1 and arguments.get("distribution", "uniform") != "popularity":
        raise UserError("train_neg_sample_args: alpha is a power of popularity, and needs distribution: popularity")
    if bool(arguments.get("dynamic")) != bool(arguments.get("candidate_num")):
        raise UserError("train_neg_sample_args: dynamic needs a candidate_num of at least 1, and candidate_num dynamic")


def check_input_type(settings: Mapping[str, Any], model_class: type) -> None:
    """Check what a class says that its training batches hold."""
    name, is_sequential = model_class.__name__, settings["MODEL_TYPE"] == ModelType.SEQUENTIAL
    if not hasattr(model_class, "input_type") and settings.get("loss_type") not in ("CE", "BPR"):
        kinds = "InputType.POINTWISE" if is_sequential else "InputType.PAIRWISE (triples), POINTWISE or LISTWISE"
        raise UserError(f"the class {name} does not say what its training batches hold; give it input_type = {kinds}")
    of_loss = InputType.PAIRWISE if settings.get("loss_type") == "BPR" else None
    if is_sequential and getattr(model_class, "input_type", of_loss) == InputType.PAIRWISE:
        raise UserError(
            f"{name} is a model of sequences, which is trained here by a softmax over all items, without negative "
            f"items; give it input_type = InputType.POINTWISE"
        )


def check_columns(settings: Mapping[str, Any]) -> None:
    """Check the settings that name columns against each other."""
    user, item, label = (settings[name] for name in ("USER_ID_FIELD", "ITEM_ID_FIELD", "LABEL_FIELD"))
    if len({user, item, label}) < 3:
        raise UserError(
            f"USER_ID_FIELD, ITEM_ID_FIELD and LABEL_FIELD must be three columns, not {user}, {item}, {label}"
        )
    both = next((source for source in settings["unload_col"] or () if source in (settings["load_col"] or ())), None)
    if both:
        raise UserError(f"unload_col and load_col both name columns of {both}; with unload_col, set load_col to None")
    if settings["normalize_all"] and settings["normalize_field"] is not None:
        raise UserError("normalize_all scales what normalize_field names; give one of them")


def check_content_controls(settings: Mapping[str, Any]) -> None:
    """Check ``content_controls`` against the model and the modalities that it reads."""
    controls, names = settings["content_controls"] or {}, settings["modalities"] or []
    if not controls.keys() - {"seed"}:
        return
    if not settings["model_is_multimodal"]:
        raise UserError(
            f"content_controls have no effect on {settings['model']}, which reads no content; leave them out"
        )
    shuffled = controls.get("shuffled", False)
    unknown = [] if isinstance(shuffled, bool) else [name for name in shuffled if name not in names]
    if unknown:
        raise UserError(f"content_controls shuffle {unknown[0]}, which is none of the modalities {', '.join(names)}")
    if "noise" in controls and "noise" in names:
        raise UserError("content_controls add a modality called noise, and there is one already; leave one of them out")


def check_cross_attention(
    sources: Mapping[str, tuple[Any, str]], settings: Mapping[str, Any], defaults: Mapping[str, Any]
) -> None:
    """Raise :class:`UserError` if one of the settings ``sources`` (value and origin) is of a cross-attention, and
    there is none.
    """
    if settings.get("gca_positions") != "none":
        return
    for name, (value, origin) in sources.items():
        if name.startswith("gca_") and value != defaults.get(name):
            raise UserError(
                f"{origin}: {name} has no effect where gca_positions is none; leave it out, or say where the "
                f"cross-attention stands"
            )


def without_effect(
    changed: Iterable[str], stages: Sequence[Mapping[str, Any]], declarations: Mapping[str, Setting]
) -> list[str]:
    """Which of the settings ``changed`` have no effect beside others (``inert_where``), a sentence for each reason.

    Args:
        stages: the settings in each part of a training, of which one is enough for an effect.
    """
    named: dict[str, list[str]] = {}
    for name in changed:
        setting = declarations.get(name)  # of an older version's checkpoint there may be none
        for other, values in setting.inert_where.items() if setting else ():
            found = [settings.get(other) for settings in stages]
            if all(value in (values if isinstance(values, list) else [values]) for value in found):
                named.setdefault(f"where {other} is {found[0]}", []).append(name)
                break
    has = {why: "has" if len(names) == 1 else "have" for why, names in named.items()}
    return [f"{', '.join(names)} {has[why]} no effect {why}" for why, names in named.items()]


def refuse_inert(sources: Mapping[str, tuple[Any, str]], dataset: str) -> None:
    """Raise :class:`UserError` if one of the settings ``sources`` (value and origin) would split or filter a set that
    comes split: its published parts are what they are.
    """
    for name, (value, origin) in sources.items():
        acting = name in _FILTERS and value is not None and value not in _FILTERS[name]
        if name == "eval_args":
            name = next((f"eval_args.{part}" for part in _DRAWN if part in value), name)
            acting = "." in name
        if acting:
            raise UserError(
                f"{origin}: {name} has no effect on {dataset}, whose parts are given by benchmark_filename; leave it "
                f"out, or change the files of the parts themselves"
            )


def without_inert(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, of a set that comes split without those that have no part in it."""
    if not settings.get("benchmark_filename"):
        return dict(settings)
    kept = {name: value for name, value in settings.items() if name not in _FILTERS}
    if isinstance(kept.get("eval_args"), Mapping):
        kept["eval_args"] = {name: value for name, value in kept["eval_args"].items() if name not in _DRAWN}
    return kept
