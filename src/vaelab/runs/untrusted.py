"""What a run folder or a file of weights says, which may come from anybody.

Every script reads configs, numbers and curves here. Opening them builds nothing but the parts of an
experiment, reads no environment variable, follows no link out of the folder, and ends in one line
where a file is damaged.
"""

import csv
import inspect
import json
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from vaelab.runtime.metric_names import METRICS

TRUSTED = (
    "vaelab.",
    "torch.optim.",
    "torchmetrics.",
    "pytorch_lightning.callbacks.",
    "pytorch_lightning.loggers.",
    "pytorch_lightning.trainer.",
)
LIGHTNINGS = ("pytorch_lightning.callbacks.", "pytorch_lightning.loggers.")  # which may write files
PLACES = ("folder", "dirpath", "save_dir", "root_dir", "log_dir", "dir", "default_root_dir")
TRAINER = "pytorch_lightning.Trainer"  # as it is called outside
SPECIAL = ("_target_", "_partial_")  # of Hydra's keys, those that experiments need
KEY = r"[A-Za-z_]\w*(?:\.\w+)*"
LINKS = re.compile(  # to other keys of the config, and what Hydra says of the run folder
    rf"\$\{{(?:{KEY}|oc\.select:{KEY},[\w.-]+|hydra:(?:runtime\.output_dir|job\.override_dirname))\}}"
)
ROOT = "${oc.env:VAELAB_DATA,data}"  # of data.root, the one place where the environment is read
LARGEST = 2**28  # bytes of a text
DEPTH = 50  # of what lies in one another in a config
FAR = 1e100  # a number beyond is as good as infinite, and no axis has room for it

NUMBERS = {
    *METRICS,
    *("nll_se", "images", "all_images", "samples", "seed", "epochs", "steps", "step", "wall_s"),
    *("parameters", "encoder_outputs"),
}
WORDS = ("monitor", "measure", "split", "pixels", "command", "checkpoint", "bits_sha256")
LISTS = ("shape", "decoder_outputs", "kl_per_dimension")
TABLES = ("choices", "versions", "parameters_of", "git", "parts", "absent", "asked")


def check_config(cfg: DictConfig) -> None:
    """Refuse a config that builds what is no part of an experiment, or asks for more than its keys.

    An interpolation may name another key; `${oc.select:key,default}` and the two of Hydra's values
    that conf/ holds are taken too, and of the environment only data.root as conf/data writes it.
    """
    for path, value in _values("", OmegaConf.to_container(cfg, resolve=False)):
        key = path.rpartition(".")[2]
        if key == "_target_":
            _check_target(path, value)
        elif re.fullmatch("_.*_", key) and key not in SPECIAL:
            raise ValueError(f"{path}: a config from elsewhere may hold {' and '.join(SPECIAL)}")
        if isinstance(value, str) and not _is_plain(path, value):
            raise ValueError(
                f"{path}: {value}: a config from elsewhere may link to its own keys and evaluate "
                "nothing else: write the value there if you trust it"
            )


def _values(path: str, node: Any) -> Iterator[tuple[str, Any]]:
    """All that a config holds, with the keys that lead there."""
    if isinstance(node, dict | list):
        for key, child in node.items() if isinstance(node, dict) else enumerate(node):
            below = f"{path}.{key}" if path else str(key)
            yield below, child
            yield from _values(below, child)


def _check_target(path: str, target: Any) -> None:
    try:
        named = isinstance(target, str) and target.startswith((*TRUSTED, TRAINER))
        found = get_object(target) if named else None
    except Exception as error:  # a module that fails to import may fail with anything
        raise ValueError(f"{path}: {target}: there is no such class") from error
    if not inspect.isclass(found) or not f"{found.__module__}.".startswith(TRUSTED):
        raise ValueError(f"{path}: {target} is no class of {' or '.join(TRUSTED)}")


def _is_plain(path: str, value: str) -> bool:
    return "${" not in LINKS.sub("", value) or (path == "data.root" and value == ROOT)


def check_folders(cfg: DictConfig, folder: Path) -> None:
    """Refuse a config whose parts would write anywhere but into the folder of its run."""
    found = dict(_values("", OmegaConf.to_container(cfg, resolve=False)))
    for path, value in found.items():
        above, _, key = path.rpartition(".")
        if not isinstance(value, str) or key == "_target_":
            continue
        place = str(OmegaConf.select(cfg, path))
        lightnings = str(found.get(f"{above}._target_")).startswith(LIGHTNINGS)
        named = lightnings and (Path(place).is_absolute() or ".." in Path(place).parts)
        inside = Path(place).resolve().is_relative_to(folder.resolve())
        if (key in PLACES or named) and not inside:
            raise ValueError(f"{path}: {place} is not in {folder}, where the run goes on")


def check_links(folder: Path) -> None:
    """Refuse a folder with a link that leads out of it: what is written there would go elsewhere.

    W&B's own folder has links of its own and is only written by W&B.
    """
    real = folder.resolve()
    for above, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            path = Path(above, name)
            if path.is_symlink() and not path.resolve().is_relative_to(real):
                raise ValueError(
                    f"{path} is a link that leads out of {folder}: put there what it leads to"
                )
        folders[:] = [name for name in folders if name != "wandb"]


def read_config(path: Path) -> DictConfig:
    """The config of a yaml file or of its text; a list or a word is none."""
    return parse_config(_text(path), path)


def parse_config(text: str, path: Path) -> DictConfig:
    """A config as yaml; `path` is where it was found."""
    found = _yaml(text, path)
    if not isinstance(found, DictConfig):
        raise ValueError(f"{path} is no config: it holds no keys")
    return found


def read_yaml(path: Path) -> Any:
    """What a yaml file holds, with its interpolations as they are written."""
    return OmegaConf.to_container(_yaml(_text(path), path), resolve=False)


def _yaml(text: str, path: Path) -> Any:
    try:
        _check_size(text)
        return OmegaConf.create(text)
    except Exception as error:  # a damaged file may raise anything
        raise ValueError(f"{path} is damaged: {' '.join(str(error).split())[:200]}") from error


def get_table(node: Any, key: str) -> dict[Any, Any]:
    """What lies below a key, empty where that is no table."""
    found = node.get(key) if isinstance(node, dict) else None
    return found if isinstance(found, dict) else {}


def _check_size(text: str) -> None:
    """Refuse yaml that unfolds to more than its text, or takes a reader for ever."""
    depth = 0
    for event in yaml.parse(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("it names its own parts, which no run does")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEPTH:
            raise ValueError("its parts lie too deep in one another")


def read_numbers(path: Path) -> dict[str, Any]:
    """A file of numbers as `record.write` writes it, None for what is not finite.

    Empty where there is none; a ValueError where one is not what its name says.
    """
    if not path.is_file():
        return {}
    try:
        found = json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: it is no json") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} is damaged: it holds no names of numbers")
    for key, value in found.items():
        if value is not None and (wanted := _wanted(key, value, found.get("monitor"))):
            raise ValueError(f"{path} is damaged: {key} is no {wanted}")
    return {key: replace_non_finite(value) for key, value in found.items()}


def _wanted(key: str, value: Any, monitor: Any) -> str | None:
    """What a value of this name should be and is not."""
    if key in NUMBERS or key.startswith("kl_layer_") or key == str(monitor).replace("/", "_"):
        return None if is_number(value) else "number"
    if key in WORDS:
        return None if isinstance(value, str) else "word"
    if key in LISTS:
        whole = isinstance(value, list) and all(each is None or is_number(each) for each in value)
        return None if whole else "list of numbers"
    if key in TABLES:
        if not isinstance(value, dict):
            return "table"
        counts = all(is_number(each) for each in value.values())
        return "table of numbers" if key in ("parts", "parameters_of") and not counts else None
    return None


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def replace_non_finite(value: Any) -> Any:
    """None for a number that is not finite, of a list for each of those."""
    if isinstance(value, list):
        return [replace_non_finite(each) for each in value]
    return None if is_number(value) and not abs(value) <= FAR else value


def read_csv_rows(path: Path) -> list[dict[str, float]]:
    """The rows of a csv, of each the columns that hold a number, finite or not.

    Empty where there is no file; a line that was cut off has fewer columns.
    """
    if not path.is_file():
        return []
    try:
        with path.open(newline="", errors="replace") as file:
            return [_row(row) for row in csv.DictReader(file)]
    except csv.Error as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def _row(row: dict[Any, Any]) -> dict[str, float]:
    found = {key: _number(text) for key, text in row.items() if key}
    return {key: number for key, number in found.items() if number is not None}


def _number(text: Any) -> float | None:
    try:
        number = float(text)
    except (TypeError, ValueError):
        return None
    return number if abs(number) <= FAR else number * math.inf


def _text(path: Path) -> str:
    if not path.is_file():  # to open a pipe would be to wait for ever
        raise FileNotFoundError(f"{path}: there is no such file")
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path} is damaged: it is larger than any that a run writes")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is damaged: it is no text") from error
