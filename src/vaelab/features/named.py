"""The net of a name: a file of weights in this folder, or inception."""

from pathlib import Path

from vaelab.features.base import Features
from vaelab.features.classifier import Classifier
from vaelab.features.inception import Inception

FOLDER = Path(__file__).parent


def load_features(name: str) -> Features:
    """A trained net, for evaluation; a FileNotFoundError says what to put where it is absent."""
    if name == "inception":
        return Inception()
    path = FOLDER / f"{name}.safetensors"
    if not path.is_file():
        trained = ", ".join(sorted(path.stem for path in FOLDER.glob("*.safetensors")))
        raise ValueError(f"features={name}: choose from {trained}, inception")
    return Classifier.load(path)
