"""The ``Config`` of a run: RecBole's, with the package's models, presets, data sets and checks."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import recbole.config
import yaml
from msgspec import UNSET
from recbole.utils.argument_list import dataset_arguments

from recbole_cadmr.config.data_sets import find_data_set, settings_of_data
from recbole_cadmr.config.declarations import (
    Setting,
    check_all,
    inferred,
    interval_text,
    is_name,
    judged,
)
from recbole_cadmr.config.deprecated import current_names
from recbole_cadmr.config.devices import given_devices, note_chosen, set_devices
from recbole_cadmr.config.model_yaml import declared_settings, find_preset, general_settings, own_settings
from recbole_cadmr.config.own_settings import check_declared
from recbole_cadmr.config.rules import (
    check_columns,
    check_content_controls,
    check_cross_attention,
    check_energy,
    check_input_type,
    check_metrics,
    check_sampling,
    check_split,
    check_trackers,
    refuse_inert,
    without_effect,
    without_inert,
)
from recbole_cadmr.config.yaml_text import SettingsLoader, installed_yaml, read_yaml, shown
from recbole_cadmr.errors import UserError, did_you_mean
from recbole_cadmr.files import path_of
from recbole_cadmr.models.contract import OwnModel, traits
from recbole_cadmr.models.own import named as name_of
from recbole_cadmr.models.registry import described_by, get_model, is_own, is_recboles

DEFAULT_MODEL = "CADMR"
DEFAULT_DATASET = "synthetic"

# What cannot change during training: what a run has been set up with, and how it is measured.
FIXED_IN_TRAINING = (
    *("model", "dataset", "preset", "data_path", "output", "checkpoint_dir", "settings_schedule", "seed", "split_seed"),
    *("threads", "epochs", "pretrain_epochs", "learner", "rows", "objective", "modalities", "item_graphs", "encoding"),
    *("content_controls", "new_items", "tracker"),
    *("eval_args", "domain_field", "mask_valid_at_test", "metrics", "topk", "valid_metric", "evaluate_test"),
    *dataset_arguments,
)
# What RecBole's Config derives from other settings: not settings that a run could be rebuilt from.
_DERIVED = (
    *("MODEL_TYPE", "MODEL_INPUT_TYPE", "eval_type", "device", "single_spec", "local_rank", "valid_metric_bigger"),
    *("valid_neg_sample_args", "test_neg_sample_args", "model_is_multimodal"),
    *("MASK_INDEX", "MASK_ITEM_SEQ", "POS_ITEMS", "NEG_ITEMS"),  # of BERT4Rec
)

# What RecBole asks for though not every model has such a setting, and takes None for an answer: the number of processes
# of a distributed run, a share for one of its metrics, an option of DiffRec, and a weight beside which it warns of
# weight_decay.
_ABSENT = ("world_size", "tail_ratio", "norm", "reg_weight")


def placed(dataset: str | os.PathLike[str] | None, settings: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """The name of a data set that may be given as its folder, a path, and the settings with the place of that.

    Raises:
        UserError: if the settings name another place.
    """
    if not isinstance(dataset, os.PathLike):
        return dataset, dict(settings)
    folder = path_of(dataset, "dataset").absolute()
    given = settings.get("data_path")
    if given is not None and path_of(given, "data_path").absolute() != folder.parent:
        raise UserError(f"the data set {folder} is not in data_path ({given}); leave that out")
    return folder.name, {**settings, "data_path": str(folder.parent)}


class Config(recbole.config.Config):
    """Settings of one run.

    Priority, lowest first: RecBole's defaults, the package's ``properties/overall.yaml``, the model's yaml, the
    preset, ``NAME.yaml`` of the data set, ``config_files`` in order, ``settings``. Unlike RecBole's, it never reads
    ``sys.argv``, evaluates no string, and takes no setting that nobody declared.

    Args:
        model: name of a model of the package or of RecBole's, or a class; ``CADMR`` if no source names one.
        dataset: name of a data set; the embedded one if no source names one.
        config_files: yaml files of settings.
        settings: settings by name, over all files.
        changed: of the settings of a checkpoint, those that were changed; found by comparing values if not given.
        final: of a run that is trained on all interactions, whose it is and how far it trains; see ``contents.Final``.
            It is no setting, so that nothing but ``train --final`` and its checkpoints can ask for it.
        config_file_list, config_dict: ``config_files`` and ``settings`` by RecBole's names; the latter may be a
            ``Config``.

    Attributes:
        changed: settings that a preset, data set, file or caller set to something other than the default.

    Raises:
        UserError: on an unknown model, data set, preset or setting, and on a value that is not allowed.
    """

    model_class: Any
    file_config_dict: dict[str, Any]
    variable_config_dict: dict[str, Any]

    def __init__(
        self,
        model: str | type | None = None,
        dataset: str | os.PathLike[str] | None = None,
        config_files: Sequence[str | os.PathLike[str]] | None = None,
        settings: Mapping[str, Any] | None = None,
        changed: Mapping[str, Any] | None = None,
        final: Mapping[str, Any] | None = None,
        *,
        config_file_list: Sequence[str | os.PathLike[str]] | None = None,
        config_dict: Mapping[str, Any] | None = None,
    ) -> None:
        self.changed: dict[str, Any] = {}
        self.final = final
        self.declarations: dict[str, Setting] = {}
        self._sources: dict[str, tuple[Any, str]] = {}  # value and origin of each setting that a source names
        for ours, theirs in ((config_files, config_file_list), (settings, config_dict)):
            if ours and theirs:
                raise UserError("config_file_list and config_dict are RecBole's names of config_files and settings")
        config_files, settings = config_files or config_file_list or (), settings or config_dict
        if isinstance(settings, Config):
            settings = settings.as_settings()
        model = name_of(model) if isinstance(model, type) else model
        if not isinstance(settings or {}, Mapping):
            raise UserError(f"settings are given as a mapping of names to values, not as {shown(settings)}")
        dataset, settings = placed(dataset, settings or {})
        named = {key: value for key, value in (("model", model), ("dataset", dataset)) if value is not None}
        config_files = [config_files] if isinstance(config_files, (str, os.PathLike)) else list(config_files)
        super().__init__(config_file_list=config_files, config_dict={**settings, **named})
        if changed is not None:
            self.changed = dict(changed)

    def __getitem__(self, name: str) -> Any:
        """The value of a setting; :class:`KeyError` if there is none of this name, where RecBole's own gives None."""
        if name not in self.final_config_dict and name not in _ABSENT:
            raise KeyError(f"{name!r} is no setting of {self.model}{did_you_mean(name, self.final_config_dict)}")
        return self.final_config_dict.get(name)

    def model_settings(self) -> dict[str, Any]:
        """The values of the settings that the model's own yaml declares."""
        return {name: self[name] for name in own_settings(self.final_config_dict["model"])}

    def without_effect(self) -> list[str]:
        """Sentences about settings, neither defaults nor those of the preset, that have no effect beside others."""
        schedule = [changes for _, changes in sorted((self["settings_schedule"] or {}).items())]
        stages: list[dict[str, Any]] = [self.final_config_dict]
        for changes in schedule:
            stages.append({**stages[-1], **changes})
        preset = find_preset(self["model"], self["preset"])
        of_preset = preset.settings if preset else {}
        own = [name for name, value in self.changed.items() if of_preset.get(name) != value]
        sentences = without_effect(dict.fromkeys([*own, *chain(*schedule)]), stages, self.declarations)
        for name in own:
            if other := self.declarations[name].settings_of if name in self.declarations else None:
                declared, values = own_settings(other), self[name]
                changed = [key for key, value in values.items() if value != declared[key].default]
                sentences += [f"{name}: {sentence}" for sentence in without_effect(changed, [values], declared)]
        return sentences

    def plain_settings(self) -> dict[str, Any]:
        """Every setting as plain values: what a checkpoint holds and a run can be rebuilt from."""
        kept = {key: value for key, value in self.final_config_dict.items() if key not in _DERIVED}
        kept["data_path"] = str(self.data_root)
        return without_inert(kept)

    def as_settings(self) -> dict[str, Any]:
        """The settings from which another ``Config`` is the same."""
        names = {name: self[name] for name in ("model", "dataset", "output")}
        return {**names, "data_path": str(self.data_root), **self.changed}

    # What RecBole's constructor calls, in its order.

    def compatibility_settings(self) -> None:
        """Nothing: what RecBole needs of numpy is given back once, by :mod:`compat.numpy`."""

    def _build_yaml_loader(self) -> type[yaml.SafeLoader]:
        return SettingsLoader

    def _load_config_files(self, file_list: Sequence[str | os.PathLike[str]]) -> dict[str, Any]:
        self._files = {str(file): read_yaml(Path(file)) for file in file_list}
        return _merged(self._files)

    def _load_variable_config_dict(self, config_dict: Mapping[str, Any]) -> dict[str, Any]:
        return dict(config_dict)

    def _load_cmd_line(self) -> dict[str, Any]:
        return {}

    def _get_model_and_dataset(self, model: None, dataset: None) -> tuple[str, type, str]:
        name = self.external_config_dict.get("model", DEFAULT_MODEL)
        dataset_name = self.external_config_dict.get("dataset", DEFAULT_DATASET)
        if not isinstance(dataset_name, str) or not is_name(dataset_name):
            raise UserError(f"a data set is named by one word such as 'baby', not {shown(dataset_name)}")
        model_class = get_model(name)
        self._files = {file: current_names(name, values, file) for file, values in self._files.items()}
        self.file_config_dict = _merged(self._files)
        self.variable_config_dict = current_names(name, self.variable_config_dict, "settings")
        self._merge_external_config_dict()
        return name, model_class, dataset_name

    def _update_internal_config_dict(self, file: str) -> dict[str, Any]:
        values = installed_yaml(Path(file))
        if Path(file).name == "sequential.yaml":  # one protocol for all; no negative items, as RecBole demands
            values = {"repeatable": values["repeatable"], "train_neg_sample_args": None}
        self.internal_config_dict.update(values)
        return values

    def _load_internal_config_dict(self, model: str, model_class: type, dataset: str) -> None:
        described = described_by(model)
        super()._load_internal_config_dict(described, model_class, dataset)
        # RecBole's yaml of its own ml-100k names labels, which no model here learns from.
        self.internal_config_dict["threshold"] = None
        named = dict.fromkeys(key for names in self.parameters.values() for key in names)
        recboles = inferred({**named, **self.internal_config_dict})
        shared = model_class.shared_settings if issubclass(model_class, OwnModel) else ()
        of_recbole = described and is_recboles(get_model(described))
        own = declared_settings(model, shared, self.internal_config_dict if of_recbole else None)
        self.declarations = recboles | judged(own, recboles) | {name: Setting(name) for name in ("model", "dataset")}
        self.declarations["config_files"] = Setting("config_files", refused="a settings file names no other ones")
        if is_own(model_class):
            check_declared(model_class, {*named, *general_settings(), "model", "dataset"}, self.declarations)
        self.internal_config_dict.update({name: s.default for name, s in own.items() if s.default is not UNSET})
        defaults = dict(self.internal_config_dict)

        for origin, values in {"settings": self.variable_config_dict, **dict(reversed(self._files.items()))}.items():
            self._check(values, origin)
        preset = find_preset(model, self.external_config_dict.get("preset"))
        if preset:
            self._apply(current_names(model, preset.settings, preset.file), preset.file)
            self.internal_config_dict["preset"] = preset.name
        given_path, default = self.external_config_dict.get("data_path"), self.internal_config_dict["data_path"]
        self.data_root, self.data_folder = find_data_set(dataset, given_path, default)
        dataset_file = self.data_folder / f"{dataset}.yaml"
        if dataset_file.is_file():
            self._apply(settings_of_data(dataset_file, self.declarations), str(dataset_file))
        final = {**self.internal_config_dict, **self.external_config_dict}
        if final["benchmark_filename"]:
            refuse_inert(self._sources, dataset)
        check_cross_attention(self._sources, final, defaults)
        self._check_schedule()
        if "load_col" not in self._sources:
            # RecBole's default names columns that may have names of their own.
            own_names = {defaults[field]: final[field] for field in ("USER_ID_FIELD", "ITEM_ID_FIELD")}
            columns = {k: [own_names.get(c, c) for c in names] for k, names in defaults["load_col"].items()}
            self.internal_config_dict["load_col"] = defaults["load_col"] = columns
        self._changed_from(defaults)
        self._complete_settings_of_others()

    def _check_schedule(self) -> None:
        """Epochs and settings of ``settings_schedule``."""
        schedule = self.external_config_dict.get("settings_schedule") or {}
        for epoch, changes in schedule.items():
            if type(epoch) is not int or epoch < 1 or not isinstance(changes, dict):
                raise UserError(
                    f"settings_schedule must name epochs from 1 on and the settings they change, as in "
                    f"{{20: {{learning_rate: 0.0005}}}}, not {shown(epoch)}: {shown(changes)}"
                )
            fixed = next((name for name in changes if name in FIXED_IN_TRAINING), None)
            if fixed is not None:
                raise UserError(f"settings_schedule, epoch {epoch}: {fixed} cannot change during training")
            check_all(changes, self.declarations, f"settings_schedule, epoch {epoch}")

    def _complete_settings_of_others(self) -> None:
        """Mappings of another model's settings, checked and completed by that model's own declarations."""
        for name, setting in self.declarations.items():
            if setting.settings_of:
                others = own_settings(setting.settings_of)
                values = {**self.internal_config_dict, **self.external_config_dict}[name] or {}
                check_all(values, others, name)
                place = self.external_config_dict if name in self.external_config_dict else self.internal_config_dict
                place[name] = {**{key: other.default for key, other in others.items()}, **values}

    def _apply(self, values: Mapping[str, Any], origin: str) -> None:
        self._check(values, origin)
        self.internal_config_dict.update(values)

    def _check(self, values: Mapping[str, Any], origin: str) -> None:
        check_all(values, self.declarations, origin)
        self._sources = {name: (value, origin) for name, value in values.items()} | self._sources

    def _changed_from(self, defaults: Mapping[str, Any]) -> None:
        final = {**self.internal_config_dict, **self.external_config_dict}
        quiet = {"model", "dataset", "output", "data_path", "config_files"}
        self.changed = {k: v for k, v in final.items() if k not in quiet and defaults.get(k) != v}

    def _set_default_parameters(self) -> None:
        final = self.final_config_dict
        check_metrics(final)
        check_trackers(final)
        check_energy(final)
        check_split(final["eval_args"])
        check_sampling(final)
        check_columns(final)
        for name in ("user_inter_num_interval", "item_inter_num_interval"):
            final[name] = None if final[name] is None else interval_text(final[name])
        final["data_path"] = str(self.data_root)
        final["model_is_multimodal"] = traits(self.model_class).multimodal
        check_content_controls(final)
        check_input_type(final, self.model_class)
        super()._set_default_parameters()
        # RecBole would look for ml-100k in its own folder, and nowhere else.
        final["data_path"] = str(self.data_folder)
        if self._sources.get("valid_metric_bigger", (final["valid_metric_bigger"],))[0] != final["valid_metric_bigger"]:
            raise UserError(f"valid_metric_bigger follows from valid_metric {final['valid_metric']}; leave it out")
        if issubclass(self.model_class, OwnModel):
            self.model_class = self.model_class.form(final)
            if final["enable_amp"]:
                raise UserError(f"{final['model']} computes in float32 only; leave out enable_amp")
        if final["mask_valid_at_test"] is None:
            final["mask_valid_at_test"] = not final["benchmark_filename"]

    def _init_device(self) -> None:
        # RecBole overwrites CUDA_VISIBLE_DEVICES by gpu_id, so that every worker of a launcher that had given each
        # its own device would end up on the first one.
        visible = given_devices()
        if visible is not None and "gpu_id" not in self.external_config_dict:
            self.final_config_dict["gpu_id"] = visible
        if not self.final_config_dict["use_gpu"]:
            self.final_config_dict["gpu_id"] = ""
        super()._init_device()
        if self.final_config_dict["device"].type == "cpu":
            set_devices(visible)  # a later run may want one
        else:
            note_chosen(visible)


def _merged(sources: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {name: value for values in sources.values() for name, value in values.items()}
