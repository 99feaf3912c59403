"""Tests of the Inception network with random weights: the published ones are not shipped."""

import hashlib

import pytest
import torch
from torch.nn.functional import interpolate

from vaelab.features.named import load_features

fidelity = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")


@pytest.fixture
def empty_hub(tmp_path, monkeypatch):
    """The download folder of torch.hub, which does not exist yet; downloads fail."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))

    def fail_to_download(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "urlopen", fail_to_download)
    return tmp_path / "checkpoints"


def test_error_of_missing_weights_says_what_to_download(empty_hub):
    name = "weights-inception-2015-12-05-6726825d.pth"
    with pytest.raises(
        FileNotFoundError, match=f"download https://.*{name} and save it as {empty_hub / name}"
    ):
        load_features("inception")


def test_error_of_a_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, fidelity.__name__, None)
    with pytest.raises(ModuleNotFoundError, match=r"vaelab\[inception\]"):
        load_features("inception")


def test_truncated_weights_are_refused(empty_hub):
    empty_hub.mkdir()
    path = empty_hub / "weights-inception-2015-12-05-6726825d.pth"
    path.write_bytes(b"truncated")
    with pytest.raises(FileNotFoundError, match=f"{path} is truncated or altered .*: delete it"):
        load_features("inception")


@pytest.fixture
def net(empty_hub, monkeypatch):
    """Inception with random weights, in a file whose name contains their hash."""
    empty_hub.mkdir()
    monkeypatch.setattr(fidelity, "load_state_dict_from_url", lambda *args, **kwargs: {})
    monkeypatch.setattr(torch.nn.Module, "load_state_dict", lambda self, weights: None)
    torch.save(fidelity.FeatureExtractorInceptionV3("x", ["2048"]).state_dict(), empty_hub / "w")
    monkeypatch.undo()
    monkeypatch.setattr(torch.hub, "_hub_dir", str(empty_hub.parent))
    digits = hashlib.sha256((empty_hub / "w").read_bytes()).hexdigest()[:8]
    monkeypatch.setattr(fidelity, "URL_INCEPTION_V3", f"https://x/y-{digits}.pth")
    (empty_hub / "w").rename(empty_hub / f"y-{digits}.pth")
    return load_features("inception")


@pytest.mark.slow
def test_grayscale_images_are_rounded_and_repeated_in_three_channels(net):
    x = torch.rand(2, 1, 20, 24)
    features = net(x)
    assert features.shape == (2, net.num_features)
    assert not net.training
    assert not features.requires_grad
    levels = (255 * x).round().to(torch.uint8).expand(-1, 3, -1, -1)
    with torch.no_grad():
        torch.testing.assert_close(features, net.net(levels)[0])
    assert not torch.allclose(features, net(interpolate(x, (12, 12))))
