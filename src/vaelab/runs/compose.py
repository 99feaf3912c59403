"""Composes configs of the menu, for every command but a training, which Hydra starts itself."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from vaelab.runtime.errors import UserError, one_line_message
from vaelab.runtime.installation import CONF


def compose_config(recipe: str, words: Iterable[str] = (), with_hydra: bool = False) -> DictConfig:
    """Compose conf/<recipe>.yaml with the words of a command line.

    Arguments:
        recipe: train or sample.
        words: Overrides, such as loss=bce and latent_dim=8.
        with_hydra: True to keep the key `hydra`, the config of Hydra itself.

    Raises:
        UserError: If a word is wrong.
    """
    try:
        with _no_other_hydra(), initialize_config_dir(str(CONF), version_base="1.3"):
            return compose(recipe, [*words], return_hydra_config=with_hydra)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(one_line_message(error)) from error


@contextmanager
def _no_other_hydra() -> Iterator[None]:
    """Set aside the Hydra of a program that calls vaelab; Hydra supports only one at a time."""
    outer = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        GlobalHydra.instance().hydra = outer
