"""The Inception network of published FIDs, for images of any kind: `features=inception`.

The architecture comes with the extra `inception`. The weights (95 MB) are read from the download
folder of torch.hub; if they are not there, they are downloaded.

Reference: GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium (Heusel
et al., 2017), arXiv:1706.08500
"""

import hashlib
from pathlib import Path

import torch
from torch import Tensor

from vaelab.features.base import Features
from vaelab.runtime.errors import MissingExtraError, MissingFileError, install_hint


class Inception(Features):
    """The Inception network, with the mean of its last convolutional layer as 2048 features.

    Pixels are rounded to 256 levels, and grayscale images are repeated in three channels.

    Raises:
        MissingExtraError: If the extra is not installed.
        MissingFileError: If the weights cannot be downloaded, or are damaged.
    """

    num_features = 2048

    def __init__(self):
        super().__init__()
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                "features=inception needs the package torch-fidelity, which is not installed: run "
                + install_hint("inception")
            ) from error
        layer = str(self.num_features)
        self.net = FeatureExtractorInceptionV3("inception", [layer], str(_find_weights()))
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        levels = (255 * x.clamp(0, 1)).round().to(torch.uint8)
        (features,) = self.net(levels.expand(-1, 3, -1, -1))
        return features


def _find_weights() -> Path:
    """Return the path of the weights; download them if necessary and verify their SHA-256.

    The file's name contains the first digits of the hash.

    Raises:
        MissingFileError: If the weights cannot be downloaded, or if the file is damaged.
    """
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    path = Path(torch.hub.get_dir(), "checkpoints", Path(URL_INCEPTION_V3).name)
    digits = path.stem.rpartition("-")[2]
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(URL_INCEPTION_V3, str(path), digits)
        except (OSError, RuntimeError) as error:
            raise MissingFileError(
                "features=inception needs its weights, but the download failed "
                f"({type(error).__name__}): download {URL_INCEPTION_V3} and save it as {path}"
            ) from error
    if not hashlib.sha256(path.read_bytes()).hexdigest().startswith(digits):
        raise MissingFileError(
            f"{path} is truncated or altered (its SHA-256 does not begin with {digits}): "
            f"delete it, or replace it with {URL_INCEPTION_V3}"
        )
    return path
