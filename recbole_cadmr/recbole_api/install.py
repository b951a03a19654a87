"""Puts the hooks into RecBole, so that its own functions work with this package's models, data sets and trainers.

RecBole has no way to register any of these (https://github.com/RUCAIBox/RecBole/issues/489): its functions look for
them in its own modules.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any

from recbole_cadmr.compat.on_import import after_import, find_elsewhere
from recbole_cadmr.recbole_api import hooks


def install_hooks() -> None:
    """Let RecBole's functions ask :mod:`recbole_api.hooks`, from when RecBole is imported on."""
    # RecBole looks for models of any kind here, by the name in small letters.
    find_elsewhere("recbole.model.general_recommender", hooks.model_module)
    after_import("recbole.config.configurator", _hook_class("Config", hooks.config_class))
    after_import("recbole.data.dataset.dataset", _hook_class("Dataset", hooks.dataset_class))
    after_import("recbole.data.utils", _hook_loaders)
    after_import("recbole.quick_start.quick_start", _hook_quick_start)
    after_import("recbole.trainer.trainer", _hook_class("Trainer", hooks.trainer_class))


def _hook_class(name: str, choose: Callable[..., type | None]) -> Callable[[ModuleType], None]:
    """A hook into the making of instances of a class of RecBole's, or of what it derives from it."""

    def put_into(module: ModuleType) -> None:
        cls = getattr(module, name)

        def new(asked: type, *arguments: Any, **named: Any) -> Any:
            is_recboles = asked.__module__.partition(".")[0] == "recbole"
            chosen = choose(*arguments, **named) if is_recboles and (arguments or named) else None
            if chosen is None:
                return object.__new__(asked)
            # Of a subclass, Python itself calls __init__; without arguments an instance is copied, or read from a file.
            return object.__new__(chosen) if issubclass(chosen, asked) else chosen(*arguments, **named)

        if "__new__" not in vars(cls):
            cls.__new__ = staticmethod(new)

    return put_into


def _hook_loaders(module: ModuleType) -> None:
    """A hook into ``data_preparation``, which makes samplers of all parts, then a loader of each with its sampler."""
    if hasattr(module.create_samplers, "__wrapped__"):
        return
    samplers_of, loader_of, saved = module.create_samplers, module.get_dataloader, module.load_split_dataloaders

    @functools.wraps(samplers_of)
    def create_samplers(config: Any, dataset: Any, built_datasets: Any) -> Any:
        return hooks.loaders(config, built_datasets) or samplers_of(config, dataset, built_datasets)

    @functools.wraps(loader_of)
    def get_dataloader(config: Any, phase: Any) -> Any:
        def loader(config: Any, dataset: Any, sampler: Any, **named: Any) -> Any:
            # What the hook gave as a sampler is the loader itself.
            is_loader = isinstance(sampler, module.AbstractDataLoader)
            return sampler if is_loader else loader_of(config, phase)(config, dataset, sampler, **named)

        return loader if hooks.has_own_settings(config) else loader_of(config, phase)

    @functools.wraps(saved)
    def load_split_dataloaders(config: Any) -> Any:
        return None if hooks.has_own_settings(config) else saved(config)  # they are pickles

    module.create_samplers, module.get_dataloader = create_samplers, get_dataloader  # type: ignore[attr-defined]
    module.load_split_dataloaders = load_split_dataloaders  # type: ignore[attr-defined]


def _hook_quick_start(module: ModuleType) -> None:
    """Other code for a function that others may have imported by now; and no count of floating-point operations on a
    deep copy of the model: torch copies no sparse matrices in rows, and a closed form has nothing to count.
    """
    count = module.get_flops

    @functools.wraps(count)
    def get_flops(model: Any, dataset: Any, *arguments: Any, **named: Any) -> Any:
        return "not counted" if hooks.has_own_settings(dataset.config) else count(model, dataset, *arguments, **named)

    def load_data_and_model(model_file: Any, trust_checkpoint: bool = False) -> Any:
        return recbole_cadmr_hooks.load_data_and_model(  # type: ignore[name-defined]  # noqa: F821
            model_file, trust_checkpoint
        )

    module.get_flops, module.recbole_cadmr_hooks = get_flops, hooks  # type: ignore[attr-defined]
    module.load_data_and_model.__code__ = load_data_and_model.__code__
    module.load_data_and_model.__defaults__ = load_data_and_model.__defaults__
