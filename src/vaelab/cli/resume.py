"""Go on with a run that was stopped: `python train.py resume=<run folder>`.

The run's own config is used, and left as it is. Hydra does not compose here, for it would write
over .hydra in the run folder before anything is read; what it knew of the run is read from there.
"""

import logging
from pathlib import Path

from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import setup_globals
from omegaconf import DictConfig, OmegaConf

from vaelab.runs import untrusted
from vaelab.runs.recorded import RecordedRun, read_recorded_run
from vaelab.runtime.overrides import RESUME
from vaelab.train import train


def resume_run(words: list[str]) -> float:
    """Train on to the bits that the run would have had; from its start if it has no checkpoint.

    Arguments:
        words: Those of the command: resume=<run folder> and, if anything, trainer.<key>=<value>.
    """
    folders = [word.removeprefix(RESUME) for word in words if word.startswith(RESUME)]
    others = [word for word in words if not word.startswith(RESUME)]
    folder = Path(folders[0]).resolve()
    found = read_recorded_run(folder)
    untrusted.check_config(found.cfg)
    for word in [*others, *folders[1:]]:
        if not word.startswith("trainer."):
            raise ValueError(f"{word}: one run goes on, as it was begun; only trainer.* may change")
    cfg = _changed(found.cfg, others)
    if (folder / "metrics.json").exists() and not others:
        raise ValueError(
            f"{folder} is finished: trainer.max_epochs above {cfg.trainer.max_epochs} trains on"
        )
    _restore_hydra(folder, found, words)
    untrusted.check_folders(cfg, folder)
    return train(cfg, goes_on=True, started=found.started)


def _changed(cfg: DictConfig, words: list[str]) -> DictConfig:
    for override in OverridesParser.create().parse_overrides(words):
        key = override.key_or_group.removeprefix("trainer.")
        if key.split(".")[0] not in cfg.trainer:
            known = ", ".join(name for name in sorted(cfg.trainer) if name[0] != "_")
            raise ValueError(f"trainer.{key}: there is no such key; trainer has {known}")
        OmegaConf.update(cfg.trainer, key, override.value())
    return cfg


def _restore_hydra(folder: Path, found: RecordedRun, words: list[str]) -> None:
    """What the config and the processes that ddp starts ask Hydra for."""
    setup_globals()
    hydra = OmegaConf.structured(HydraConf)
    hydra.runtime.output_dir, hydra.runtime.cwd = str(folder), str(Path.cwd())
    hydra.job.override_dirname = " ".join(found.overrides)
    hydra.overrides.task = words
    HydraConfig.instance().set_config(OmegaConf.create({"hydra": hydra}))
    logging.basicConfig(format="[%(asctime)s][%(name)s][%(levelname)s] - %(message)s")
