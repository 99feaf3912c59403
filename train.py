"""Train a variational autoencoder: `python train.py model=conv loss=bce`; --help is the menu."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from vaelab import command, multirun


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(cfg: DictConfig) -> float:
    if (value := multirun.value_of(Path(cfg.folder))) is not None:
        return value
    from vaelab.train import train  # heavy, and not needed for --help

    return train(cfg)


if __name__ == "__main__":
    command.run(main, Path(__file__).parent / "conf")
