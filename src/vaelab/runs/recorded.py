"""What a run folder, or a file of weights, records of the run: config, options and command."""

from pathlib import Path
from typing import NamedTuple

from omegaconf import DictConfig

from vaelab.runs import untrusted, weights


class RecordedRun(NamedTuple):
    """The config of a finished run and what its command chose, typed in the folder `started`."""

    cfg: DictConfig
    choices: dict[str, str]
    overrides: list[str]
    started: str = "."


def read_recorded_run(path: Path) -> RecordedRun:
    """What a run folder, or a model.safetensors, says of its making."""
    if file := weights.find_weights_file(path):
        header = weights.read_header(file)
        return RecordedRun(header.cfg, header.choices, header.overrides)
    folder = path / ".hydra"
    if not (folder / "config.yaml").is_file():
        raise FileNotFoundError(
            f"{path} is no run folder: it holds no .hydra/config.yaml, and no {weights.FILE_NAME}"
        )
    untrusted.check_links(path)
    cfg, hydra = (
        untrusted.read_config(folder / "config.yaml"),
        untrusted.read_yaml(folder / "hydra.yaml"),
    )
    if not {"data", "module"} <= cfg.keys():
        raise ValueError(f"{folder / 'config.yaml'} is no config of vaelab")
    said = untrusted.get_table(untrusted.get_table(hydra, "hydra"), "runtime")
    words = untrusted.get_table(untrusted.get_table(hydra, "hydra"), "overrides").get("task")
    own = {
        group: name
        for group, name in untrusted.get_table(said, "choices").items()
        if isinstance(group, str) and not group.startswith("hydra")
    }
    typed = [str(word) for word in words] if isinstance(words, list) else []
    return RecordedRun(cfg, own, typed, str(said.get("cwd") or "."))
