"""Reads run folders and files of weights, which may come from anybody.

Every command reads configs, numbers and curves through this module. Opening them builds only the
parts of an experiment, reads no environment variable, follows no link out of the folder, and ends
with a one-line error if a file is damaged.
"""

import csv
import inspect
import json
import math
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from vaelab.runs import own_project
from vaelab.runtime.errors import MissingFileError, UserError
from vaelab.runtime.metric_names import METRICS

TRUSTED = (
    "vaelab.",
    "torch.optim.",
    "torchmetrics.",
    "pytorch_lightning.callbacks.",
    "pytorch_lightning.loggers.",
    "pytorch_lightning.trainer.",
)
TRAINER = "pytorch_lightning.Trainer"  # the public name of a class of pytorch_lightning.trainer
WRITERS = ("pytorch_lightning.callbacks.", "pytorch_lightning.loggers.")  # may write files
FOLDER_KEYS = ("folder", "dirpath", "save_dir", "root_dir", "log_dir", "dir", "default_root_dir")
HYDRA_KEYS = ("_target_", "_partial_")  # the keys of Hydra that experiments need
KEY = r"[A-Za-z_]\w*(?:\.\w+)*"
INTERPOLATIONS = re.compile(  # to other keys of the config, and to Hydra's name of the run folder
    rf"\$\{{(?:{KEY}|oc\.select:{KEY},[\w.-]+|hydra:(?:runtime\.output_dir|job\.override_dirname))\}}"
)
DATA_ROOT = "${oc.env:VAELAB_DATA,data}"  # of data.root, which alone may read the environment
MAX_TEXT_BYTES = 2**28
MAX_DEPTH = 50  # of nested nodes in a config
MAX_NUMBER = 1e100  # larger numbers are treated as infinite; no axis could show them

NUMBER_KEYS = {
    *METRICS,
    *("nll_se", "images", "all_images", "samples", "seed", "epochs", "steps", "step", "wall_s"),
    *("parameters", "encoder_outputs"),
}
TEXT_KEYS = ("monitor", "measure", "split", "pixels", "command", "checkpoint", "bits_sha256")
LIST_KEYS = ("shape", "decoder_outputs", "kl_per_dimension")
TABLE_KEYS = ("choices", "versions", "parameters_of", "git", "parts", "absent", "asked")


def check_config(cfg: DictConfig, trust: Iterable[str] = ()) -> None:
    """Check that a config builds only parts of an experiment and reads only its own keys.

    An interpolation may name another key; `${oc.select:key,default}` and the two values of Hydra
    that conf/ uses are accepted too. Only data.root may read the environment, as in conf/data.

    Arguments:
        trust: Packages whose classes and functions are accepted as well, besides those of --trust
            and VAELAB_TRUST.

    Raises:
        UserError: If the config asks for anything else.
    """
    check_target_names(cfg, trust)
    for path, value in iterate_values("", OmegaConf.to_container(cfg, resolve=False)):
        key = path.rpartition(".")[2]
        if key == "_target_":
            _check_target(path, value, _own_prefixes(trust))
        elif re.fullmatch("_.*_", key) and key not in HYDRA_KEYS:
            raise UserError(
                f"{path}: the config of a run may contain {' and '.join(HYDRA_KEYS)} only"
            )
        if isinstance(value, str) and not has_safe_interpolations(path, value):
            raise UserError(
                f"{path}: {value}: an untrusted config may only refer to its own keys: replace the "
                "interpolation by its value if you trust it"
            )


def iterate_values(path: str, node: Any) -> Iterator[tuple[str, Any]]:
    """Yield every value of nested dicts and lists with its dotted key."""
    if isinstance(node, dict | list):
        for key, child in node.items() if isinstance(node, dict) else enumerate(node):
            child_path = f"{path}.{key}" if path else str(key)
            yield child_path, child
            yield from iterate_values(child_path, child)


def check_target_names(cfg: DictConfig, trust: Iterable[str] = ()) -> None:
    """Check the names of all classes that a config builds, and import none of them.

    Arguments:
        trust: See `check_config`.

    Raises:
        UserError: If a class belongs to no trusted package.
    """
    trusted = (*TRUSTED, TRAINER, *_own_prefixes(trust))
    for path, target in iterate_values("", OmegaConf.to_container(cfg, resolve=False)):
        is_target = path.rpartition(".")[2] == "_target_"
        if is_target and not (isinstance(target, str) and target.startswith(trusted)):
            raise UserError(_describe_untrusted(path, target))


def _own_prefixes(trust: Iterable[str]) -> tuple[str, ...]:
    """Return the names of trusted packages, each with a dot at its end."""
    packages = (*own_project.trusted_packages(), *own_project.check_packages(trust))
    return tuple(f"{package}." for package in packages)


def _check_target(path: str, target: str, own: tuple[str, ...]) -> None:
    """Raise UserError unless the target is a trusted class, or a function of an own package."""
    try:
        found = get_object(target)
    except Exception as error:  # importing a module may raise anything
        cause = f" ({_describe_cause(error)})" if target.startswith(own) else ""
        raise UserError(f"{path}: {target}: there is no such class{cause}") from error
    module = f"{getattr(found, '__module__', '')}."
    is_own = module.startswith(own) and (inspect.isfunction(found) or inspect.ismethod(found))
    if not is_own and not (inspect.isclass(found) and module.startswith((*TRUSTED, *own))):
        raise UserError(_describe_untrusted(path, target))


def _describe_untrusted(path: str, target: Any) -> str:
    """Return what is wrong with a target, and how to trust the package that it names."""
    is_name = isinstance(target, str) and own_project.PACKAGE.fullmatch(target)
    package = target.partition(".")[0] if is_name else ""
    if not package or not own_project.can_be_trusted(package):
        return f"{path}: {target} is not a class of {' or '.join(TRUSTED)}"
    if package in own_project.trusted_packages():
        return f"{path}: {target} is not a class or function that {package} defines"
    return (
        f"{path.removesuffix('._target_')}: {target} is not trusted: if you trust the package, add "
        f"--trust {package} (or set VAELAB_TRUST={package}), which opening its runs needs too"
    )


def _describe_cause(error: BaseException) -> str:
    """Return the error of an import in one line, without Hydra's words around it."""
    while error.__cause__:
        error = error.__cause__
    return f"{type(error).__name__}: {error}"[:200].replace("\n", " ")


def has_safe_interpolations(path: str, value: str) -> bool:
    """True if a value of a config needs nothing but the config and Hydra's run folder."""
    is_data_root = path == "data.root" and value == DATA_ROOT
    return is_data_root or "${" not in INTERPOLATIONS.sub("", value)


def check_folders(cfg: DictConfig, folder: Path) -> None:
    """Raise UserError if a part of the config would write outside the run folder."""
    values = dict(iterate_values("", OmegaConf.to_container(cfg, resolve=False)))
    for path, value in values.items():
        parent, _, key = path.rpartition(".")
        if not isinstance(value, str) or key == "_target_":
            continue
        place = str(OmegaConf.select(cfg, path))
        is_writer = str(values.get(f"{parent}._target_")).startswith(WRITERS)
        leads_away = is_writer and (Path(place).is_absolute() or ".." in Path(place).parts)
        is_inside = Path(place).resolve().is_relative_to(folder.resolve())
        if (key in FOLDER_KEYS or leads_away) and not is_inside:
            raise UserError(f"{path}: {place} is outside {folder}, the folder of the resumed run")


def check_links(folder: Path) -> None:
    """Raise UserError if a link leads out of the folder, where a run would then write.

    W&B's own folder contains links, and only W&B writes there.
    """
    root = folder.resolve()
    for parent, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            path = Path(parent, name)
            if path.is_symlink() and not path.resolve().is_relative_to(root):
                raise UserError(
                    f"{path} is a link that leads out of {folder}: replace it by what it links to"
                )
        folders[:] = [name for name in folders if name != "wandb"]


def read_config(path: Path) -> DictConfig:
    """Read a config from a yaml file.

    Raises:
        MissingFileError: If there is no such file.
        UserError: If it is damaged, or not a dict.
    """
    return parse_config(_read_text(path), path)


def parse_config(text: str, path: Path) -> DictConfig:
    """Parse a config from yaml.

    Arguments:
        path: Where the text comes from, for messages.

    Raises:
        UserError: If it is damaged, or not a dict.
    """
    node = _parse_yaml(text, path)
    if not isinstance(node, DictConfig):
        raise UserError(f"{path} is not a config: it has no keys")
    return node


def read_yaml(path: Path) -> Any:
    """Read plain lists and dicts from a yaml file; interpolations stay as written."""
    return OmegaConf.to_container(_parse_yaml(_read_text(path), path), resolve=False)


def _parse_yaml(text: str, path: Path) -> Any:
    try:
        _check_yaml_size(text)
        return OmegaConf.create(text)
    except Exception as error:  # a damaged file may raise anything
        raise UserError(f"{path} is damaged: {' '.join(str(error).split())[:200]}") from error


def get_table(node: Any, key: str) -> dict[Any, Any]:
    """Return the dict under a key, or an empty one if there is none."""
    table = node.get(key) if isinstance(node, dict) else None
    return table if isinstance(table, dict) else {}


def _check_yaml_size(text: str) -> None:
    """Refuse yaml that expands to more than its text, or that a parser cannot handle."""
    depth = 0
    for event in yaml.parse(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        if isinstance(event, yaml.AliasEvent):
            raise UserError("it has aliases, which no run writes")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise UserError("its nodes are nested too deeply")


def read_numbers(path: Path) -> dict[str, Any]:
    """Read a file that `metrics_file.write_numbers` wrote; NaN and infinity become None.

    Returns:
        The values by name, none if there is no file.

    Raises:
        UserError: If the file is damaged, or a value has another type than its name says.
    """
    if not path.is_file():
        return {}
    try:
        numbers = json.loads(_read_text(path))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged: it is not JSON") from error
    if not isinstance(numbers, dict):
        raise UserError(f"{path} is damaged: it is not a JSON object")
    for key, value in numbers.items():
        if value is not None and (kind := _violated_type(key, value, numbers.get("monitor"))):
            raise UserError(f"{path} is damaged: {key} is not a {kind}")
    return {key: replace_non_finite(value) for key, value in numbers.items()}


def _violated_type(key: str, value: Any, monitor: Any) -> str | None:
    """Return the type that a value of this name should have, or None if it has it."""
    is_monitored = key == str(monitor).replace("/", "_")
    if key in NUMBER_KEYS or key.startswith("kl_layer_") or is_monitored:
        return None if is_number(value) else "number"
    if key in TEXT_KEYS:
        return None if isinstance(value, str) else "text"
    if key in LIST_KEYS:
        is_list = isinstance(value, list) and all(each is None or is_number(each) for each in value)
        return None if is_list else "list of numbers"
    if key in TABLE_KEYS:
        if not isinstance(value, dict):
            return "table"
        has_numbers = all(is_number(each) for each in value.values())
        return "table of numbers" if key in ("parts", "parameters_of") and not has_numbers else None
    return None


def is_number(value: Any) -> bool:
    """True for an int or float, but not for a bool."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def replace_non_finite(value: Any) -> Any:
    """Replace a number that is NaN, infinite or above MAX_NUMBER by None, also inside lists."""
    if isinstance(value, list):
        return [replace_non_finite(each) for each in value]
    return None if is_number(value) and not abs(value) <= MAX_NUMBER else value


def read_csv_rows(path: Path) -> list[dict[str, float]]:
    """Read the rows of a csv file with the cells that hold a number, NaN and infinity included.

    Returns:
        The numbers of each row by column, no rows if there is no file.

    Raises:
        UserError: If the file is not csv.
    """
    if not path.is_file():
        return []
    try:
        with path.open(newline="", errors="replace") as file:
            return [_parse_row(row) for row in csv.DictReader(file)]
    except csv.Error as error:
        raise UserError(f"{path} is damaged: {error}") from error


def _parse_row(row: dict[Any, Any]) -> dict[str, float]:
    numbers = {key: _parse_number(text) for key, text in row.items() if key}
    return {key: number for key, number in numbers.items() if number is not None}


def _parse_number(text: Any) -> float | None:
    try:
        number = float(text)
    except (TypeError, ValueError):
        return None
    return number if abs(number) <= MAX_NUMBER else number * math.inf


def _read_text(path: Path) -> str:
    if not path.is_file():  # reading a pipe could block forever
        raise MissingFileError(f"{path}: there is no such file")
    if path.stat().st_size > MAX_TEXT_BYTES:
        raise UserError(f"{path} is damaged: it is larger than any file that a run writes")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is damaged: it is not text") from error
