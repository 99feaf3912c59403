"""What a run folder or a file of weights records of its run: config, options and command."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from omegaconf import DictConfig, OmegaConf

from vaelab.runs import untrusted, weights
from vaelab.runs.old_names import rename_old_targets
from vaelab.runtime.errors import MissingFileError, UserError
from vaelab.runtime.files import atomic_write


class RecordedRun(NamedTuple):
    """The recorded config and command of a run.

    Attributes:
        cfg: The config, with today's names of classes.
        choices: The chosen option of each config group.
        overrides: The words of the command.
        started: The folder in which relative paths of data begin: that in which the command was
            started, or the run folder if the run keeps its own data.
    """

    cfg: DictConfig
    choices: dict[str, str]
    overrides: list[str]
    started: str = "."


def read_recorded_run(path: Path) -> RecordedRun:
    """Read what a run folder, or a model.safetensors, records. It may be untrusted.

    Raises:
        MissingFileError: If there is neither a run nor a file of weights.
        UserError: If the record is damaged.
    """
    if file := weights.find_weights_file(path):
        header = weights.read_header(file)
        return RecordedRun(rename_old_targets(header.cfg), header.choices, header.overrides)
    folder = path / ".hydra"
    if not (folder / "config.yaml").is_file():
        raise MissingFileError(
            f"{path} is not a run folder: it has no .hydra/config.yaml and no {weights.FILE_NAME}"
        )
    untrusted.check_links(path)
    cfg = untrusted.read_config(folder / "config.yaml")
    if not {"data", "module"} <= cfg.keys():
        raise UserError(f"{folder / 'config.yaml'} is not a config of vaelab")
    hydra = untrusted.get_table(untrusted.read_yaml(folder / "hydra.yaml"), "hydra")
    runtime = untrusted.get_table(hydra, "runtime")
    words = untrusted.get_table(hydra, "overrides").get("task")
    choices = {
        group: option
        for group, option in untrusted.get_table(runtime, "choices").items()
        if isinstance(group, str) and not group.startswith("hydra")
    }
    overrides = [str(word) for word in words] if isinstance(words, list) else []
    started = str(runtime.get("cwd") or path)
    return RecordedRun(rename_old_targets(cfg), choices, overrides, started)


def write_recorded_run(
    folder: Path,
    cfg: DictConfig,
    choices: dict[str, str],
    overrides: Sequence[str],
    started: str | None,
) -> None:
    """Write the record that Hydra writes for a run that it starts, into <folder>/.hydra.

    Arguments:
        cfg: The config, with its interpolations.
        choices: The chosen option of each config group.
        overrides: The words of the command.
        started: The folder in which relative paths of data begin; None is the run folder.
    """
    hydra = {
        "runtime": {"cwd": started, "choices": choices, "output_dir": str(folder)},
        "overrides": {"task": [*overrides], "hydra": []},
        "mode": "RUN",
    }
    files = {"config.yaml": cfg, "hydra.yaml": {"hydra": hydra}, "overrides.yaml": [*overrides]}
    for name, node in files.items():
        with atomic_write(folder / ".hydra" / name) as part:
            part.write_text(OmegaConf.to_yaml(OmegaConf.create(node)), encoding="utf-8")
