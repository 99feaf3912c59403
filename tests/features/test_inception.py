"""The Inception of published FIDs, here with random weights: the real ones are not shipped."""

import hashlib

import pytest
import torch
from torch.nn.functional import interpolate

from vaelab.features.named import load_features

fidelity = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Where torch.hub keeps downloads; there is no network."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))

    def offline(*words, **settings):
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "urlopen", offline)
    return tmp_path / "checkpoints"


def test_without_weights_it_says_what_to_put_where(hub):
    name = "weights-inception-2015-12-05-6726825d.pth"
    with pytest.raises(FileNotFoundError, match=f"put https://.*{name} at {hub / name}"):
        load_features("inception")


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, fidelity.__name__, None)
    with pytest.raises(FileNotFoundError, match="pip install torch-fidelity"):
        load_features("inception")


def test_a_file_that_is_not_whole_is_refused(hub):
    hub.mkdir()
    path = hub / "weights-inception-2015-12-05-6726825d.pth"
    path.write_bytes(b"half")
    with pytest.raises(FileNotFoundError, match=f"{path} is truncated or altered: delete it"):
        load_features("inception")


@pytest.fixture
def net(hub, monkeypatch):
    """With weights that are drawn, in a file whose name fits them."""
    hub.mkdir()
    monkeypatch.setattr(fidelity, "load_state_dict_from_url", lambda *words, **settings: {})
    monkeypatch.setattr(torch.nn.Module, "load_state_dict", lambda self, weights: None)
    torch.save(fidelity.FeatureExtractorInceptionV3("x", ["2048"]).state_dict(), hub / "w")
    monkeypatch.undo()
    monkeypatch.setattr(torch.hub, "_hub_dir", str(hub.parent))
    beginning = hashlib.sha256((hub / "w").read_bytes()).hexdigest()[:8]
    monkeypatch.setattr(fidelity, "URL_INCEPTION_V3", f"https://x/y-{beginning}.pth")
    (hub / "w").rename(hub / f"y-{beginning}.pth")
    return load_features("inception")


@pytest.mark.slow
def test_it_sees_grey_pictures_in_three_channels_and_256_levels(net):
    x = torch.rand(2, 1, 20, 24)
    features = net(x)
    assert features.shape == (2, net.num_features)
    assert not net.training
    assert not features.requires_grad
    colours = (255 * x).round().to(torch.uint8).expand(-1, 3, -1, -1)
    with torch.no_grad():
        torch.testing.assert_close(features, net.net(colours)[0])
    assert not torch.allclose(features, net(interpolate(x, (12, 12))))
