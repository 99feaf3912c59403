"""Composes configs of the menu, for every command but a training, which Hydra starts itself."""

from collections.abc import Iterable

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from vaelab.runtime.installation import CONF


def compose_config(recipe: str, words: Iterable[str] = ()) -> DictConfig:
    """Compose conf/<recipe>.yaml with the words of a command line.

    Arguments:
        recipe: train or sample.
        words: Overrides, such as loss=bce and latent_dim=8.
    """
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(recipe, [*words])
