"""Train a variational autoencoder: `python train.py model=conv loss=bce`; --help is the menu."""

import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from vaelab.cli import entry_point
from vaelab.runtime import overrides
from vaelab.sweeps import multirun


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(cfg: DictConfig) -> float:
    folder = Path(cfg.folder)
    if str(folder) != HydraConfig.get().runtime.output_dir:
        raise ValueError(f"folder={folder}: set hydra.run.dir, or hydra.sweep.dir beside -m")
    if (value := multirun.read_finished_value(folder)) is not None:
        return value
    from vaelab.train import train  # heavy, and not needed for --help

    return train(cfg, goes_on=multirun.was_interrupted(folder))


def start() -> None:
    """A run of its own, which Hydra composes, or one that goes on: resume=<run folder>."""
    if overrides.is_resume_command(sys.argv[1:]):
        from vaelab.cli.resume import resume_run

        resume_run(sys.argv[1:])
    else:
        main()


if __name__ == "__main__":
    entry_point.run_command(start, Path(__file__).parent / "conf")
