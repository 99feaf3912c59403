import numpy as np
import pytest
import torch

from vaelab.data.base import choose_subset
from vaelab.distributions.point_estimates import mode_or_mean
from vaelab.evaluation import neighbours, samples
from vaelab.evaluation.base import EvaluationConfig, NotApplicable
from vaelab.features.named import load_features
from vaelab.inference.sampling import sample_images
from vaelab.metrics.frechet import frechet_distance
from vaelab.metrics.kernel import kernel_distance
from vaelab.metrics.support import compute_support
from vaelab.runs.run import RunParts
from vaelab.samplers.gmm import GMMSampler
from vaelab.samplers.prior import PriorSampler

TINY = ("model.hidden=[8]", "latent_dim=3")


def make_config(folder, images=100, split="test", sampler=None, features=None):
    return EvaluationConfig(
        split,
        samples=1,
        images=images,
        sampler=sampler or PriorSampler(),
        features=features,
        folder=folder,
    )


@pytest.fixture
def run(config):
    def make(*words):
        run = RunParts.build(config(*TINY, *words))
        run.data.setup()
        run.vae.initialize(run.data.prepare(run.data.splits["train"].images))
        return run

    return make


@torch.no_grad()
def test_numbers_equal_those_of_explicit_features(run, tmp_path):
    run = run("data.binarize=none")
    numbers = samples.evaluate(run, make_config(tmp_path))
    net = load_features("digits")
    test, train = (run.data.prepare(run.data.splits[name].images) for name in ("test", "train"))
    x, train = (images[choose_subset(len(images), 100)] for images in (test, train))
    again = run.vae.decode(mode_or_mean(run.vae.encode(x))).mean
    new = sample_images(run.vae, run.data, PriorSampler(), 100).x
    real, train, again, new = (net(images) for images in (x, train, again, new))
    labels = {"features": "digits", "sampler": "prior", "compared": "means"}
    assert {key: numbers.pop(key) for key in labels} == labels
    expected = {
        "temperature": 1.0,
        "fid_images": 100,
        "fid": frechet_distance(real, new),
        "fid_floor": frechet_distance(real, train),
        "fid_reconstructions": frechet_distance(real, again),
    }
    expected |= dict(zip(("kid", "kid_se"), kernel_distance(real, new), strict=True))
    expected |= compute_support(real, new)._asdict()
    assert numbers == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_untrained_model_is_above_the_floor(run, tmp_path):
    numbers = samples.evaluate(run(), make_config(tmp_path, None))
    assert numbers["fid_images"] == 500
    assert 0 < 5 * numbers["fid_floor"] < numbers["fid"]
    assert numbers["kid"] > 10 * numbers["kid_se"]
    assert numbers["coverage"] < 0.1


def test_images_of_the_data_reach_the_floor(run, tmp_path, monkeypatch):
    run = run("data.binarize=none")
    unseen = run.data.prepare(run.data.splits["val"].images)
    monkeypatch.setattr(samples, "generate_images", lambda *args: unseen)
    numbers = samples.evaluate(run, make_config(tmp_path, None))
    assert numbers["fid"] < 2 * numbers["fid_floor"]
    assert numbers["kid"] < 4 * numbers["kid_se"]
    assert min(numbers[name] for name in ("precision", "recall", "coverage")) > 0.9


@pytest.mark.parametrize(
    ("words", "compared"),
    [
        (["data.binarize=dynamic"], "draws"),
        (["data.binarize=dynamic", "loss=mse"], "means"),
        (["data.binarize=none"], "means"),
        (["data.binarize=none", "data.dequantize=true", "loss=gaussian"], "means"),
        (["data.binarize=none", "loss=discretized_logistic"], "means"),
    ],
)
def test_binary_pixels_are_compared_with_samples_and_others_with_means(
    run, tmp_path, monkeypatch, words, compared
):
    class RecordingNet(torch.nn.Module):
        num_features = 2

        def __init__(self):
            super().__init__()
            self.weight, self.bits = torch.nn.Parameter(torch.ones(1)), []

        def forward(self, x):
            assert 0 <= x.min() <= x.max() <= 1
            self.bits.append(bool(((x == 0) | (x == 1)).all()))
            return torch.randn(len(x), 2)

    net = RecordingNet()
    monkeypatch.setattr(samples, "load_features", lambda name: net)
    numbers = samples.evaluate(run(*words), make_config(tmp_path))
    assert numbers["compared"] == compared
    assert all(net.bits) == (compared == "draws")


def test_conditional_model_takes_the_labels_of_the_split(run, tmp_path, monkeypatch):
    run, generated = run("model=conditional"), []

    def record_samples(*args):
        generated.append(sample_images(*args))
        return generated[0]

    monkeypatch.setattr("vaelab.evaluation.new_images.sample_images", record_samples)
    samples.evaluate(run, make_config(tmp_path, 30))
    labels = run.data.splits["test"].labels[choose_subset(500, 30)]
    assert torch.equal(generated[0].label, labels)


def test_sampler_is_recorded(run, tmp_path):
    numbers = samples.evaluate(
        run(), make_config(tmp_path, sampler=GMMSampler(temperature=0.9, components=2))
    )
    assert (numbers["sampler"], numbers["temperature"]) == ("gmm", 0.9)


def test_feature_network_can_be_chosen(run, tmp_path):
    numbers = samples.evaluate(run(), make_config(tmp_path, features="clothes"))
    assert numbers["features"] == "clothes"
    with pytest.raises(ValueError, match="features=eyes: choose from"):
        samples.evaluate(run(), make_config(tmp_path, features="eyes"))


def test_no_floor_for_training_split_or_fewer_training_images(run, tmp_path):
    run = run()
    assert "fid_floor" not in samples.evaluate(run, make_config(tmp_path, split="train"))
    split = run.data.splits["train"]
    run.data.splits["train"] = type(split)(split.images[:99], split.labels[:99])
    assert "fid_floor" not in samples.evaluate(run, make_config(tmp_path))


def test_not_applicable_without_weights_of_the_feature_network(run, tmp_path, monkeypatch):
    def missing(name):
        raise FileNotFoundError("put weights there")

    monkeypatch.setattr(samples, "load_features", missing)
    with pytest.raises(NotApplicable, match="put weights there"):
        samples.evaluate(run(), make_config(tmp_path, features="inception"))
    assert neighbours.evaluate(run(), make_config(tmp_path))["nearest_train"] > 0


def test_not_applicable_to_tables_wide_ranges_and_few_images(run, tmp_path):
    for name, x in (("table", np.zeros((60, 3))), ("far", np.full((60, 1, 9, 9), -2.0))):
        x = x + np.random.default_rng(0).random(x.shape)
        np.savez(tmp_path / f"{name}.npz", x=x)
        made = run("data=arrays", f"data.path={tmp_path}/{name}.npz", "loss=gaussian")
        with pytest.raises(NotApplicable, match="this part needs x of shape"):
            samples.evaluate(made, make_config(tmp_path))
    with pytest.raises(
        NotApplicable, match="5 images are too few to compare: take at least --images"
    ):
        samples.evaluate(run(), make_config(tmp_path, 5))
