"""The Inception of published FIDs, for pictures of all kinds: `features=inception`.

Its architecture comes with the extra `inception`; its weights, 95 MB, are looked for where
torch.hub keeps its downloads, and downloaded if there is a network.

Reference: GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium (Heusel
et al., 2017), arXiv:1706.08500
"""

import hashlib
from pathlib import Path

import torch
from torch import Tensor

from vaelab.features.base import Features


class Inception(Features):
    """The 2048 means over the picture of the last layer, from pictures rounded to 256 levels."""

    num_features = 2048

    def __init__(self):
        super().__init__()
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        except ModuleNotFoundError as error:
            raise FileNotFoundError(
                "features=inception needs the extra inception: pip install torch-fidelity"
            ) from error
        layer = str(self.num_features)
        self.net = FeatureExtractorInceptionV3("inception", [layer], str(_weights()))
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        levels = (255 * x.clamp(0, 1)).round().to(torch.uint8)
        (features,) = self.net(levels.expand(-1, 3, -1, -1))
        return features


def _weights() -> Path:
    """The file of the weights, which is whole: its name holds the beginning of its SHA-256."""
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    path = Path(torch.hub.get_dir(), "checkpoints", Path(URL_INCEPTION_V3).name)
    beginning = path.stem.rpartition("-")[2]
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(URL_INCEPTION_V3, str(path), beginning)
        except (OSError, RuntimeError) as error:
            raise FileNotFoundError(
                f"features=inception needs its weights, and the download failed: put "
                f"{URL_INCEPTION_V3} at {path}"
            ) from error
    if not hashlib.sha256(path.read_bytes()).hexdigest().startswith(beginning):
        raise FileNotFoundError(
            f"{path} is truncated or altered: delete it, and put {URL_INCEPTION_V3} there"
        )
    return path
