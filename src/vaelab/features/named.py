"""Load a feature network by its name: the name of a weights file in this folder, or inception."""

from pathlib import Path

from vaelab.features.base import Features
from vaelab.features.classifier import CLASSIFIERS
from vaelab.features.inception import Inception
from vaelab.runtime.errors import UserError

WEIGHTS_FOLDER = Path(__file__).parent


def load_features(name: str) -> Features:
    """Return the trained feature network of this name, frozen and in eval mode.

    Raises:
        UserError: If there is no network of this name.
        MissingFileError: If the weights of inception, or the package with its architecture, are
            missing.
    """
    if name == "inception":
        return Inception()
    if name not in CLASSIFIERS:
        raise UserError(f"features={name}: choose from {', '.join(CLASSIFIERS)}, inception")
    return CLASSIFIERS[name].load(WEIGHTS_FOLDER / f"{name}.safetensors")
