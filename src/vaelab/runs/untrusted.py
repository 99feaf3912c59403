"""Reads run folders and files of weights, which may come from anybody.

Every command reads configs, numbers and curves through this module. Opening them builds only the
parts of an experiment, reads no environment variable, follows no link out of the folder, and ends
with a one-line error if a file is damaged.
"""

import csv
import json
import math
import os
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from vaelab.runtime.errors import MissingFileError, UserError
from vaelab.runtime.metric_names import METRICS
from vaelab.runtime.trusted_config import iterate_values

WRITERS = ("pytorch_lightning.callbacks.", "pytorch_lightning.loggers.")  # may write files
FOLDER_KEYS = ("folder", "dirpath", "save_dir", "root_dir", "log_dir", "dir", "default_root_dir")
# Largest files that are read whole. Those of a run are far smaller: about 10 KB, 10 KB and 10 MB.
MAX_YAML_BYTES = 2**20  # a config of this size takes 15 seconds
MAX_JSON_BYTES = 2**24
MAX_CSV_BYTES = 2**26
MAX_MESSAGE = 10_000  # characters of failed.txt that are read
MAX_DEPTH = 50  # of nested nodes in a config
MAX_NUMBER = 1e100  # larger numbers are treated as infinite; no axis could show them

NUMBER_KEYS = {
    *METRICS,
    *(f"{key}_se" for key in METRICS),
    *("images", "all_images", "samples", "seed", "epochs", "steps", "step", "wall_s"),
    *("parameters", "encoder_outputs", "final_weight", "scale_floor", "step_images"),
}
# remarks about the numbers
SENTENCES = ("collapse", "kl_warning", "weight_warning", "density_warning")
TEXT_KEYS = (
    *("monitor", "measure", "split", "pixels", "command", "checkpoint", "bits_sha256"),
    *("scale_kind", "kl_weighting", "sampler"),
    *SENTENCES,
)
LIST_KEYS = ("shape", "decoder_outputs", "kl_per_dimension")
TABLE_KEYS = ("choices", "versions", "parameters_of", "git", "parts", "absent", "asked")


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
    return parse_config(read_text(path, MAX_YAML_BYTES), path)


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
    return OmegaConf.to_container(_parse_yaml(read_text(path, MAX_YAML_BYTES), path), resolve=False)


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
    if len(text) > MAX_YAML_BYTES:
        raise UserError("it is larger than any config that a run writes")
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
        numbers = json.loads(read_text(path, MAX_JSON_BYTES))
    except UserError:
        raise
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
    _check_size(path, MAX_CSV_BYTES)
    try:
        with path.open(newline="", errors="replace", encoding="utf-8") as file:
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


def read_message(path: Path, limit: int = MAX_MESSAGE) -> str:
    """Read the beginning of a text file of a run, such as failed.txt; "" if there is none."""
    if not path.is_file():
        return ""
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.read(limit).strip()


def read_text(path: Path, limit: int = MAX_JSON_BYTES) -> str:
    """Read a text file of a run.

    Arguments:
        limit: The largest number of bytes.

    Raises:
        MissingFileError: If there is no such file.
        UserError: If it is too large, or not text.
    """
    if not path.is_file():  # reading a pipe could block forever
        raise MissingFileError(f"{path}: there is no such file")
    _check_size(path, limit)
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is damaged: it is not text") from error


def _check_size(path: Path, limit: int) -> None:
    if (size := path.stat().st_size) > limit:
        raise UserError(
            f"{path} is damaged: it has {size} bytes, and a run writes at most {limit} of them"
        )
