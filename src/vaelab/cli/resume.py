"""Resume an interrupted run: `vaelab resume <run folder>`.

The recorded config is used and left unchanged. Hydra does not compose a config here, because it
would overwrite the run folder's .hydra before anything is read; instead, Hydra's global config is
restored from the record.
"""

import logging
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from vaelab.cli.train import prepare_process
from vaelab.runs import untrusted
from vaelab.runs.completion import STAGES, find_missing_stages
from vaelab.runs.factories import GIVEN
from vaelab.runs.hydra_state import hydra_config_of_run
from vaelab.runs.ownership import owned_run
from vaelab.runs.recorded import read_recorded_run
from vaelab.runtime import trusted_config
from vaelab.runtime.errors import UserError, suggest
from vaelab.runtime.overrides import RESUME
from vaelab.train import train

EVALUATION = ("samples=", "evaluate.images=", "evaluate.samples=")  # may change before it


def resume_run(words: list[str]) -> float:
    """Resume a run bit for bit from its last checkpoint, or from its start if it has none.

    Arguments:
        words: The command line: resume=<run folder>, and trainer.<key>=<value> for what changes.
            samples and evaluate.* may change as long as the run has not been evaluated.

    Returns:
        The best monitored value, as `train` does.

    Raises:
        UserError: If the run is finished, or other words are given.
    """
    folders = [word.removeprefix(RESUME) for word in words if word.startswith(RESUME)]
    others = [word for word in words if not word.startswith(RESUME)]
    folder = Path(folders[0]).resolve()
    record = read_recorded_run(folder)
    trusted_config.check_config(record.cfg)
    if given := record.cfg.get(GIVEN):
        raise UserError(
            f"{folder} cannot be resumed or repeated: its {', '.join(given)} came from a Python "
            "program: train it there again"
        )
    for word in [*others, *folders[1:]]:
        if not word.startswith(("trainer.", *EVALUATION)):
            raise UserError(
                f"{word}: resume= takes the folder of one run, and only trainer.* may change, and "
                "samples= and evaluate.* before the evaluation"
            )
    stages = _list_stages(folder, others)
    cfg = _apply_overrides(record.cfg, others)
    if not stages:
        raise UserError(
            f"{folder} is finished: to train it longer, set trainer.max_epochs above "
            f"{cfg.trainer.max_epochs}"
        )
    logging.basicConfig(format="[%(asctime)s][%(name)s][%(levelname)s] - %(message)s")
    prepare_process()
    with owned_run(folder), hydra_config_of_run(folder, record.overrides, words):
        untrusted.check_folders(cfg, folder)
        return train(cfg, resume=True, started=record.started, stages=stages)


def _list_stages(folder: Path, words: list[str]) -> list[str]:
    """Return what the run still has to do: everything if the training changes."""
    if any(not word.startswith(EVALUATION) for word in words):
        return [*STAGES]
    stages = find_missing_stages(folder)
    if words and "evaluation" not in stages:
        raise UserError(
            f"{words[0]}: {folder} has been evaluated: for other numbers beside those of the run, "
            f"use vaelab evaluate {folder}"
            f" --{words[0].removeprefix('evaluate.').replace('=', ' ')}"
        )
    return stages


def _apply_overrides(cfg: DictConfig, words: list[str]) -> DictConfig:
    for override in OverridesParser.create().parse_overrides(words):
        if override.input_line and override.input_line.startswith(EVALUATION):
            OmegaConf.update(cfg, override.key_or_group, override.value())
            continue
        key = override.key_or_group.removeprefix("trainer.")
        if key.split(".")[0] not in cfg.trainer:
            names = [name for name in sorted(cfg.trainer) if name[0] != "_"]
            hint = suggest(key, names, "trainer.") or f"trainer has {', '.join(names)}"
            raise UserError(f"trainer.{key}: there is no such key; {hint}")
        OmegaConf.update(cfg.trainer, key, override.value())
    return cfg
