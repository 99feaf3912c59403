"""Hydra's global config for a run that Hydra does not start itself.

The interpolations `${hydra:...}` of a config and the ddp launcher read it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import setup_globals
from omegaconf import OmegaConf


@contextmanager
def hydra_config_of_run(
    folder: Path, overrides: Sequence[str], command: Sequence[str]
) -> Iterator[None]:
    """Set Hydra's global config to that of a run, and restore it on exit.

    Arguments:
        folder: The run folder.
        overrides: The overrides of the run, which older configs name it by.
        command: The words that another process of the run starts with.
    """
    setup_globals()
    outer = HydraConfig.instance().cfg
    hydra = OmegaConf.structured(HydraConf)
    hydra.runtime.output_dir, hydra.runtime.cwd = str(folder), str(Path.cwd())
    hydra.job.override_dirname = " ".join(overrides)
    hydra.overrides.task = [*command]
    HydraConfig.instance().set_config(OmegaConf.create({"hydra": hydra}))
    try:
        yield
    finally:
        HydraConfig.instance().cfg = outer
