"""Composes configs of the menu and of own options.

Every command composes with `compose_config` but a training, which Hydra starts itself.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from hydra import compose, initialize_config_dir
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig

from vaelab.runtime.installation import CONF
from vaelab.runtime.own_project import find_own_conf


class OwnOptions(SearchPathPlugin):
    """Appends the folder of own options to the folders in which Hydra looks for a config."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        if folder := find_own_conf():
            search_path.append("own options", f"file://{folder}")


def add_own_options() -> None:
    """Let Hydra find own options whenever it composes a config."""
    Plugins.instance().register(OwnOptions)


def compose_config(recipe: str, words: Iterable[str] = (), with_hydra: bool = False) -> DictConfig:
    """Compose conf/<recipe>.yaml with the words of a command line.

    Arguments:
        recipe: train or sample.
        words: Overrides, such as loss=bce and latent_dim=8.
        with_hydra: True to keep the key `hydra`, the config of Hydra itself.
    """
    add_own_options()
    with _no_other_hydra(), initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(recipe, [*words], return_hydra_config=with_hydra)


@contextmanager
def _no_other_hydra() -> Iterator[None]:
    """Set aside the Hydra of a program that calls vaelab; Hydra supports only one at a time."""
    outer = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        GlobalHydra.instance().hydra = outer
