"""Checks the words of a command line before Hydra reads them, and suggests what was meant."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    ChoiceSweep,
    Glob,
    IntervalSweep,
    Override,
    OverrideType,
    QuotedString,
)
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vaelab.cli.menu import (
    USAGE,
    describe_options,
    find_groups,
    find_optional_groups,
    list_options,
)
from vaelab.runs.compose import compose_config
from vaelab.runs.config_keys import check_keys_are_read, list_config_keys
from vaelab.runtime.errors import UserError, one_line_message, suggest
from vaelab.runtime.overrides import PATH_KEYS, quote_for_shell, quote_paths
from vaelab.runtime.trusted_config import check_target_names

OTHER_CONFIG = ("-c", "--config", "-sc", "--shell")  # flags that choose another config, or complete
WIRING = ("module", "folder")  # keys that no command sets
GROUPS_OF_ANY_NUMBER = ("callbacks", "logger")  # groups of which no option may be chosen
UNKNOWN_KEY = re.compile(r"Could not (?:override|delete from config\.) '([^']+)'")
OTHER_TOOLS = {  # keys of other tools, and what to type instead
    "ckpt_path": "type resume=runs/<run> to resume a run, or start=runs/<run> to train its weights",
    "tags": "type logger.wandb.tags=[<tag>]",
    "hparams_search": "type sweep=optuna",
    "task_name": "type hydra.run.dir=runs/<name>",
    "num_epochs": "type trainer.max_epochs=<epochs>",
    "learning_rate": "type optimizer.lr=<rate>",
    "per_device_train_batch_size": "type data.batch_size=<images>",
    "no_cuda": "type trainer=cpu",
}
REPEATED_GROUP = re.compile(r"Multiple values for ([\w/]+)")


def check_training_words(words: Iterable[str]) -> None:
    """Check that a training, or the first job of a multirun, can be composed of trusted parts.

    Raises:
        UserError: If an option or a key does not exist, or if a class is not trusted.
    """
    words = list(words)
    _check_words_are_overrides(words)
    if any(word.startswith(OTHER_CONFIG) and word not in ("-c", "--cfg") for word in words):
        return
    named = [word for word in words if "=" in word or word.startswith("~")]
    overrides = _parse_words("train", [word for word in named if not word.startswith("-")])
    words = [word for each in overrides if (word := _first_value(each))]
    for override in overrides:
        _check_deletion(override)
    cfg = compose_checked("train", words)
    check_target_names(cfg)
    check_keys_are_read(cfg, _added_keys(overrides))


def _check_words_are_overrides(words: Sequence[str]) -> None:
    """Raise UserError at a word without `=`, such as the end of a value that has blanks."""
    for before, word in pairwise(["", *words]):
        is_value_of_flag = before.startswith("-") and before not in ("-m", "--multirun")
        if word.startswith(("-", "~")) or "=" in word or is_value_of_flag:
            continue
        key, is_override, _ = before.partition("=")
        has_text = is_override and ("." in key or key in PATH_KEYS)  # and is no choice of an option
        hint = quote_for_shell(f"{before} {word}") if has_text else "<key>=<value>"
        raise UserError(f"{word}: this word sets nothing; type {hint}")


def compose_checked(recipe: str, words: Sequence[str], with_hydra: bool = False) -> DictConfig:
    """Compose conf/<recipe>.yaml with the words of a command line, as `compose_config` does.

    Raises:
        UserError: If an option or a key does not exist, or a word is wrong otherwise.
    """
    words = quote_paths(words)
    try:
        _parse_words(recipe, words)
        return compose_config(recipe, words, with_hydra)
    except (HydraException, OmegaConfBaseException) as error:
        if unknown := UNKNOWN_KEY.match(str(error)):
            raise UserError(_describe_unknown_key(unknown[1], recipe, words)) from error
        if repeated := REPEATED_GROUP.match(str(error)):
            raise UserError(
                f"{repeated[1]} is chosen twice: write {repeated[1]}=<option> once, without a +"
            ) from error
        raise UserError(one_line_message(error)) from error


def _parse_words(recipe: str, words: Sequence[str]) -> list[Override]:
    """Return the overrides of a command line, whose options exist."""
    overrides = OverridesParser.create().parse_overrides([*words])
    groups = find_groups(recipe)
    for override in overrides:
        if override.key_or_group in groups and override.package is None:
            _check_options(override, recipe)
    return overrides


def _check_options(override: Override, recipe: str) -> None:
    """Raise UserError if an override of a group names an option that does not exist."""
    group = override.key_or_group
    is_range = override.is_sweep_override() and not _choices(override)
    is_dict = isinstance(override.value(), dict)  # sets keys of the group, and no option
    is_empty = override.value() == [] and group in GROUPS_OF_ANY_NUMBER
    if override.type == OverrideType.DEL or is_range or is_dict or is_empty:
        return
    values = _choices(override) if override.is_sweep_override() else [override.value()]
    options = list_options(group)
    for option in _iterate_options(values):
        text = option.text if isinstance(option, QuotedString) else option
        if text is None and group in find_optional_groups(recipe):
            continue
        if text is None:
            raise UserError(
                f"{group}=null: null is not an option of a config group; choose from "
                f"{describe_options(group)}"
            )
        if not isinstance(text, str) or (text not in options and "${" not in text):
            nearest = suggest(str(text), options, f"{group}=")
            hint = nearest or f"choose from {describe_options(group)}"
            shown = override.value() if text == [] else text
            raise UserError(f"{group}={shown}: there is no such option; {hint}")


def _check_deletion(override: Override) -> None:
    """Raise UserError if an override deletes a key that every run needs."""
    key = override.key_or_group
    if override.is_delete() and key in list_config_keys() - {*find_optional_groups("train")}:
        hint = f"{key}=[]" if key in GROUPS_OF_ANY_NUMBER else f"{key}=<value>"
        raise UserError(f"~{key}: every run needs {key}; write {hint}")


def _added_keys(overrides: Iterable[Override]) -> list[str]:
    """Return the keys that words with + or ++ set; those of Hydra are none of vaelab's."""
    keys = [each.key_or_group for each in overrides if each.is_add() or each.is_force_add()]
    others = (*find_groups("train"), "resume")  # check_run_config explains +resume=
    return [key for key in keys if key not in others and not key.startswith("hydra")]


def _choices(override: Override) -> list[Any]:
    """Return the values of a sweep that lists them; none for those of a range or a pattern."""
    sweep = override.value()
    return list(sweep.list) if isinstance(sweep, ChoiceSweep) else []


def _iterate_options(values: Iterable[Any]) -> Iterator[Any]:
    """Yield the options of each value; an empty list is yielded as it is."""
    for value in values:
        yield from value if isinstance(value, list) and value else [value]


def _first_value(override: Override) -> str:
    """Return the word that sets the first value of a sweep; "" if it is only known to Hydra."""
    word = str(override.input_line)
    if not override.is_sweep_override():
        return word
    sweep = override.value()
    if isinstance(sweep, Glob):
        return ""
    is_interval = isinstance(sweep, IntervalSweep)
    first = sweep.start if is_interval else next(override.sweep_string_iterator())
    return f"{word.partition('=')[0]}={first}"


def _describe_unknown_key(key: str, recipe: str, words: Iterable[str]) -> str:
    """Return which key was meant, or which exist where an unknown key was set."""
    if key.startswith("hydra."):
        return f"{key}: there is no such key; --hydra-help lists those of Hydra"
    for other in USAGE.keys() - {recipe}:
        if key in find_groups(other):
            return f"{key}: there is no such key; it belongs to vaelab {other}"
    groups = find_groups(recipe)
    options, tables = [], {}
    for override in _parse_words(recipe, [*words]):
        if override.key_or_group in groups and isinstance(override.value(), dict):
            tables[override.key_or_group] = override.value()
        elif override.key_or_group in groups and not override.is_delete():
            options.append(str(override.input_line))
    cfg = compose_config(recipe, options)  # options bring keys
    if key in tables:  # kl={bta: 4}
        known = OmegaConf.select(cfg, key)
        key = next((f"{key}.{name}" for name in tables[key] if name not in known), key)
    parent = key
    while parent and not OmegaConf.is_dict(OmegaConf.select(cfg, parent)):
        parent = parent.rpartition(".")[0]
    node = OmegaConf.select(cfg, parent) if parent else cfg
    names = [name for name in sorted(map(str, node)) if name[0] != "_" and name not in WIRING]
    prefix = f"{parent}." if parent else ""
    names += [] if parent else [group for group in groups if group not in names]
    missing = key.removeprefix(prefix).partition(".")[0]
    hint = OTHER_TOOLS.get(key) or suggest(missing, names, prefix) or _find_nested_key(cfg, key)
    has = f"{parent or 'the config'} has {', '.join(names) or 'no keys'}"
    return f"{key}: there is no such key; {hint or has}"


def _find_nested_key(cfg: DictConfig, name: str) -> str:
    """Return "did you mean ...?" with the key of a part that has this name, or ""."""
    groups = [group for group in cfg if group not in WIRING and OmegaConf.is_dict(cfg[group])]
    keys = [f"{group}.{name}" for group in groups if name in cfg[group]]
    return f"did you mean {' or '.join(keys)}?" if keys else ""
