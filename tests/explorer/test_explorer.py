"""The methods of Explorer, for models of every kind."""

import math
import re
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pytest
import torch
from files import make_bad_files
from PIL import Image
from torch.distributions import Normal

from vaelab.data.base import Split
from vaelab.data.fashion_mnist import FashionMNIST
from vaelab.distributions.one_hot import OneHotConstraint
from vaelab.distributions.point_estimates import mode_or_mean
from vaelab.evaluation.likelihood import evaluate_likelihood
from vaelab.explorer.explorer import Explorer
from vaelab.explorer.markup import values_table
from vaelab.explorer.texts import CHINESE, ENGLISH, name_data_in_texts
from vaelab.metrics.latents import KLPerDimension
from vaelab.objectives.base import closed_form_kl

SMALL = ("model.hidden=[16]",)
KINDS = {
    "mlp": (*SMALL,),
    "flow": (*SMALL, "posterior=iaf", "latent_dim=4"),
    "sphere": (*SMALL, "posterior=vmf", "latent_dim=5"),
    "joint": (*SMALL, "posterior=gumbel", "posterior.normal=5", "latent_dim=25"),
    "conditional": (*SMALL, "model=conditional"),
    "ladder": ("model=ladder", "model.hidden=[16,8]", "model.latents=[4,3]", "latent_dim=7"),
    "bottom_up": (
        *("model=bottom_up", "model.hidden=[[16],[8]]"),
        *("model.latents=[4,3]", "latent_dim=7"),
    ),
    "vq": ("model=vq", "model.channels=8", "posterior.codes=16"),
    "autoencoder": (*SMALL, "posterior=deterministic", "objective=autoencoder"),
    "grayscale": (*SMALL, "data.binarize=none"),
    "levels": (*SMALL, "data.binarize=none", "loss=discretized_logistic"),
}
KINDS_WITH_CONTROLS = [kind for kind in KINDS if kind != "vq"]


@pytest.fixture(scope="module")
def open_kind(save_run, tmp_path_factory):
    """Return a function that opens the explorer of a kind, once for all tests."""
    folder = tmp_path_factory.mktemp("runs")
    return cache(lambda kind: Explorer.open(save_run(folder / kind, *KINDS[kind])))


@pytest.fixture
def explore_arrays(save_run, tmp_path):
    """Return a function that opens an explorer of a run on images x and optional labels y."""

    def open_explorer(x: np.ndarray, *words: str, **labels: np.ndarray) -> Explorer:
        np.savez(tmp_path / "x.npz", x=x, **labels)
        data = ("data=arrays", f"data.path={tmp_path / 'x.npz'}", "data.test=0.5")
        shape = f"data.shape={list(x.shape[1:])}".replace(" ", "")
        return Explorer.open(save_run(tmp_path / "run", *data, shape, *SMALL, *words))

    return open_explorer


def test_replaced_data_set_uses_the_pixels_of_the_run(explore_arrays, config):
    x = np.zeros((40, 1, 28, 28), np.uint8)
    folder = explore_arrays(x, "data.binarize=fixed").run.cfg.folder
    explorer = Explorer.open(folder, data=config("data=mnist5k").data)
    assert len(explorer.run.data.splits["test"].images) == 500
    assert set(explorer.test_image(0).unique().tolist()) == {0, 1}
    assert "MNIST5k" in explorer.data_identity[0]
    with pytest.raises(ValueError, match=r"images of shape \[3, 64, 64\], but .* on \[1, 28, 28\]"):
        Explorer.open(folder, data=config("data=celeba").data)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_encodes_decodes_and_has_terms(open_kind, kind):
    explorer = open_kind(kind)
    x, y = explorer.test_image(3), explorer.test_label(3)
    z = explorer.encode(x, y)
    image = explorer.decode(z, y)
    assert image.shape == explorer.run.data.shape
    assert 0 <= image.min() <= image.max() <= 1
    assert explorer.decode(explorer.central_latent, y).shape == image.shape
    terms = explorer.compute_terms(x, y)
    assert all(math.isfinite(term) for term in terms.values())
    assert ("elbo" in terms) == explorer.has_prior
    assert ("nll" in terms) == (kind not in ("autoencoder", "grayscale"))
    if explorer.has_prior:
        assert terms["elbo"] == pytest.approx(-terms["reconstruction"] - terms["kl"], rel=1e-5)
        assert explorer.decode(explorer.sample_latent(y, 0), y).shape == image.shape


@pytest.mark.parametrize("kind", KINDS)
def test_interpolation_starts_and_ends_at_its_images(open_kind, kind):
    explorer = open_kind(kind)
    labels = [explorer.test_label(index) for index in (0, 1)]
    latents = [explorer.encode(explorer.test_image(index), labels[index]) for index in (0, 1)]
    ends = list(zip(latents, labels, strict=True))
    for weight, (z, y) in zip((0.0, 1.0), ends, strict=True):
        point, label = explorer.interpolate(ends[0], ends[1], weight)
        torch.testing.assert_close(point, z)
        torch.testing.assert_close(label, y)


def test_interpolation_stays_on_the_sphere(open_kind):
    explorer = open_kind("sphere")
    a, b = explorer.latents[:2]
    z, _ = explorer.interpolate((a, torch.zeros(0)), (b, torch.zeros(0)), 0.5)
    assert z.norm().item() == pytest.approx(1)
    assert (z @ a).item() == pytest.approx((z @ b).item(), abs=1e-5)


def test_interpolation_consists_of_codebook_vectors(open_kind):
    explorer, no_label = open_kind("vq"), torch.zeros(0)
    book = explorer.vae.posterior.codebook
    first, last = (book[torch.randint(len(book), (49,))].flatten() for _ in range(2))
    z, _ = explorer.interpolate((first, no_label), (last, no_label), 0.5)
    pieces = z.unflatten(-1, (-1, book.shape[1]))
    assert (pieces.unsqueeze(1) == book).all(-1).any(1).all()
    assert (z != first).any()


@pytest.mark.parametrize("kind", KINDS_WITH_CONTROLS)
def test_control_sets_its_value_and_changes_the_image(open_kind, kind):
    explorer = open_kind(kind)
    assert explorer.controls
    for control in explorer.controls:
        z, y = explorer.latents[0].clone(), explorer.test_label(0)
        before = explorer.decode(z, y)
        middle = (control.low + control.high) / 2
        value = control.high if control.get_value(z) < middle else control.low
        control.set_value(z, value)
        assert control.get_value(z) == pytest.approx(value)
        others = [other for other in explorer.controls if other != control]
        original = explorer.latents[0]
        assert all(other.get_value(z) == other.get_value(original) for other in others)
        assert (explorer.decode(z, y) != before).any()


@pytest.mark.parametrize("kind", KINDS_WITH_CONTROLS)
def test_controls_cover_all_latents_and_are_named_by_dimension(open_kind, kind):
    explorer = open_kind(kind)
    for control in explorer.controls:
        values = [control.get_value(z) for z in explorer.latents]
        assert control.low <= min(values) <= max(values) <= control.high
        if not control.categories:
            assert control.name == f"z{control.first + 1}"


def test_categorical_control_keeps_z_one_hot(open_kind):
    explorer = open_kind("joint")
    support = explorer.vae.posterior.support
    assert isinstance(support, OneHotConstraint)
    variable = next(control for control in explorer.controls if control.categories)
    z = explorer.latents[0].clone()
    variable.set_value(z, 7.0)
    assert support.check(z)


def test_test_images_are_a_random_subset_with_the_pixels_of_an_evaluation(
    explore_arrays, monkeypatch
):
    monkeypatch.setattr("vaelab.explorer.explorer.MAX_TEST_IMAGES", 40)
    x = np.random.default_rng(0).integers(0, 256, (200, 1, 8, 8), np.uint8)
    words = ("data.binarize=none", "data.dequantize=true", "loss=gaussian")
    explorer = explore_arrays(x, *words)
    (batch,) = explorer.run.data.batches("test", 40)
    assert torch.equal(explorer.test_indices, batch[2])
    pixels = explorer.run.data.prepare(batch[0], index=batch[2])
    shown = [explorer.test_image(index) for index in explorer.test_indices.tolist()]
    assert torch.equal(torch.stack(shown), pixels)
    with torch.no_grad():
        torch.testing.assert_close(explorer.latents, explorer.vae.encode(pixels).mean)


def test_controls_are_sorted_by_kl(open_kind):
    explorer = open_kind("mlp")
    x = torch.stack([explorer.test_image(n) for n in explorer.test_indices])
    metric = KLPerDimension(explorer.vae.latent_dim)
    metric.update(closed_form_kl(explorer.vae.encode(x), explorer.vae.latents()).detach())
    order = metric.compute().argsort(descending=True).tolist()
    assert [control.first for control in explorer.controls] == order
    assert explorer.controls[0].activity == pytest.approx(metric.compute().max().item())
    assert explorer.controls[0].has_kl


def test_controls_are_sorted_by_variance_without_a_kl_per_dimension(open_kind):
    explorer = open_kind("autoencoder")
    order = explorer.latents.var(0).argsort(descending=True).tolist()
    assert [control.first for control in explorer.controls] == order
    assert not explorer.controls[0].has_kl


def test_hierarchical_models_have_controls_for_the_first_layer_in_z(open_kind):
    assert {control.first for control in open_kind("ladder").controls} == {0, 1, 2}
    assert {control.first for control in open_kind("bottom_up").controls} == {0, 1, 2, 3}


def test_codebook_latents_have_neither_controls_nor_a_plane(open_kind):
    assert open_kind("vq").controls == []
    assert open_kind("vq").plane is None
    assert open_kind("mlp").plane is not None


def test_encode_and_decode_match_the_model(open_kind):
    explorer = open_kind("mlp")
    x, no_label = explorer.test_image(2), torch.zeros(0)
    with torch.no_grad():
        z = mode_or_mean(explorer.vae.encode(x.unsqueeze(0)))
        torch.testing.assert_close(explorer.encode(x, no_label), z[0])
        torch.testing.assert_close(explorer.latents[2], z[0])
        torch.testing.assert_close(explorer.decode(z[0], no_label), explorer.vae.decode(z).mean[0])


def test_numbers_of_a_position_are_those_of_the_distributions(open_kind):
    explorer = open_kind("mlp")
    x, y = explorer.test_image(2), torch.zeros(0)
    z = explorer.encode(x, y) + torch.randn(explorer.vae.latent_dim)
    numbers = explorer.measure_latents(z, y, x)
    with torch.no_grad():
        q, p = explorer.vae.encode(x[None]), explorer.vae.decode(z[None])
        expected = {
            "log_prior": Normal(0.0, 1.0).log_prob(z).sum().item(),
            "log_posterior": Normal(q.mean, q.stddev).log_prob(z).sum().item(),
            "negative_log_likelihood": -p.log_prob(x[None]).item(),
            "pixel_error": (p.mean - x).square().mean().sqrt().item(),
            "distance": (z - q.mean).norm().item(),
        }
    assert list(numbers) == list(expected)
    assert numbers == pytest.approx(expected, rel=1e-5)
    assert list(explorer.measure_latents(z, y, None)) == ["log_prior"]


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_of_a_position_are_finite_for_every_kind(open_kind, kind):
    explorer = open_kind(kind)
    x, y = explorer.test_image(3), explorer.test_label(3)
    numbers = explorer.measure_latents(explorer.encode(x, y), y, x)
    assert all(math.isfinite(number) for number in numbers.values())
    assert numbers["distance"] == pytest.approx(0, abs=1e-3)
    assert ("log_prior" in numbers) == explorer.has_prior


def test_classes_have_the_names_of_the_data_set(open_kind, monkeypatch):
    explorer = open_kind("conditional")
    monkeypatch.setattr(explorer.run.data, "classes", FashionMNIST.classes, raising=False)
    assert explorer.name_class(9) == "Ankle boot"
    assert explorer.label_names == list(FashionMNIST.classes)
    assert explorer.make_label(["Sneaker"]).argmax() == 7


@pytest.mark.parametrize("kind", ["mlp", "vq"])
def test_terms_match_the_evaluation(open_kind, kind):
    explorer = open_kind(kind)
    test_split = explorer.run.data.splits["test"]
    try:
        explorer.run.data.splits["test"] = Split(*(part[4:5] for part in test_split))
        numbers = evaluate_likelihood(explorer.vae, explorer.run.data, samples=64)
    finally:
        explorer.run.data.splits["test"] = test_split
    terms = explorer.compute_terms(explorer.test_image(4), explorer.test_label(4))
    exact = ("kl", "rmse") if kind == "mlp" else tuple(terms)
    assert [terms[key] for key in exact] == pytest.approx([numbers[key] for key in exact], rel=1e-5)


def test_terms_are_reproducible_and_keep_the_random_state(open_kind):
    explorer = open_kind("mlp")
    state = torch.get_rng_state()
    first = explorer.compute_terms(explorer.test_image(0), torch.zeros(0))
    assert torch.equal(state, torch.get_rng_state())
    torch.rand(3)
    assert explorer.compute_terms(explorer.test_image(0), torch.zeros(0)) == first


def test_label_changes_the_image_and_must_be_one_class(open_kind):
    explorer = open_kind("conditional")
    assert explorer.label_names == [str(label) for label in range(10)]
    z = explorer.latents[0]
    three, eight = (explorer.decode(z, explorer.make_label([name])) for name in ("3", "8"))
    assert (three != eight).any()
    for names in ([], ["1", "2"]):
        with pytest.raises(ValueError, match="choose one label of 0, 1"):
            explorer.make_label(names)
    assert open_kind("mlp").label_names == []
    assert open_kind("mlp").make_label([]).shape == (0,)


def test_image_can_have_any_number_of_attributes(explore_arrays):
    x = np.random.default_rng(0).integers(0, 256, (20, 1, 8, 8), np.uint8)
    y = np.random.default_rng(1).integers(0, 2, (20, 3))
    explorer = explore_arrays(x, "loss=mse", "model=conditional", "model.labels=3", y=y)
    assert explorer.has_attributes
    assert explorer.make_label(["0", "2"]).tolist() == [1, 0, 1]
    assert explorer.make_label([]).tolist() == [0, 0, 0]
    assert explorer.test_label(1).tolist() == explorer.run.data.splits["test"].labels[1].tolist()
    z = explorer.latents[0]
    plain, marked = (explorer.decode(z, explorer.make_label(names)) for names in ([], ["1"]))
    assert (plain != marked).any()


def test_image_file_is_converted_to_the_pixels_of_the_model(open_kind, explore_arrays, tmp_path):
    path = tmp_path / "ramp.png"
    ramp = np.tile(np.linspace(0, 255, 28).round().astype(np.uint8), (28, 1))
    Image.fromarray(ramp).save(path)
    grayscale = torch.from_numpy(ramp)[None] / 255
    torch.testing.assert_close(open_kind("grayscale").read_image(path.read_bytes()), grayscale)
    binary = open_kind("mlp").read_image(path.read_bytes())
    torch.testing.assert_close(binary, (grayscale > 0.5).float())
    images = np.random.default_rng(0).normal(0, 2, (20, 1, 28, 28)).astype("f")
    real = explore_arrays(images, "loss=mse")
    x = real.read_image(path.read_bytes())
    assert (x.min().item(), x.max().item()) == pytest.approx(real.range)
    torch.testing.assert_close(real.to_display(x), grayscale)


def test_rgb_image_keeps_its_colours(explore_arrays, tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (20, 3, 8, 8), np.uint8)
    explorer = explore_arrays(x, "loss=mse")
    path = tmp_path / "red.png"
    Image.new("RGB", (40, 30), "red").save(path)
    x = explorer.read_image(path.read_bytes())
    assert x.shape == (3, 8, 8)
    assert x.amin((1, 2)).tolist() == [1, 0, 0]
    assert explorer.decode(explorer.encode(x, torch.zeros(0)), torch.zeros(0)).shape == (3, 8, 8)


@pytest.mark.parametrize("name", ["no.png", "half.png", "large.png"])
def test_unsafe_image_file_is_rejected_in_one_line(open_kind, name):
    with pytest.raises(ValueError, match=rf"^{name} cannot be read as an image \(.*PNG") as error:
        open_kind("mlp").read_image(make_bad_files()[name], name)
    assert "\n" not in str(error.value)


def test_data_that_cannot_be_drawn_are_rejected(explore_arrays):
    with pytest.raises(ValueError, match=r"cannot show the data of run: x of shape \[5, 4, 4\]"):
        explore_arrays(np.zeros((20, 5, 4, 4), "f"), "loss=mse")


def test_row_of_a_table_is_drawn_as_bars_and_listed_in_its_units(explore_arrays):
    x = np.random.default_rng(0).normal(100, 5, (40, 6)).astype("f")
    explorer = explore_arrays(x, "loss=gaussian", "data.standardize=true")
    row = explorer.test_image(3)
    assert explorer.to_display(row).shape == (3, 64, 60)  # six bars of ten pixels
    mean = explorer.decode_mean(explorer.central_latent, torch.zeros(0))
    table = values_table(explorer, row, mean, name_data_in_texts(ENGLISH, (6,)))
    stored = explorer.run.data.splits["test"].images[3]
    assert table.splitlines()[2].startswith(f"| x[:, 0] | {stored[0]:.3g} | ")
    assert len(table.splitlines()) == 8
    assert values_table(explorer, None, mean, ENGLISH).count("\N{EN DASH}") == 6
    z = explorer.encode(row, torch.zeros(0))
    assert "pixel_error" in explorer.measure_latents(z, torch.zeros(0), row)


def test_texts_of_other_data_keep_their_fields():
    for texts in (ENGLISH, CHINESE):
        changed = name_data_in_texts(texts, (6,))
        for key, text in texts.items():
            assert re.findall(r"\{.*?\}", changed[key]) == re.findall(r"\{.*?\}", text)
    assert changed["test_images"] == "测试数据行"
    assert name_data_in_texts(ENGLISH, (6,))["no_image"] == "No row"


def test_diverged_run_is_rejected(open_kind):
    explorer = open_kind("mlp")
    weight = next(explorer.vae.encoder.parameters())
    original = weight.detach().clone()
    try:
        weight.data.fill_(math.nan)
        with pytest.raises(ValueError, match="diverged"):
            Explorer(explorer.run)
    finally:
        weight.data.copy_(original)


def test_data_identity_distinguishes_data_sets(open_kind, explore_arrays):
    assert open_kind("mlp").data_identity == open_kind("grayscale").data_identity
    other = explore_arrays(np.zeros((1000, 1, 28, 28), np.uint8))
    assert len(other.run.data.splits["test"].images) == 500
    assert open_kind("mlp").data_identity != other.data_identity


def test_concurrent_calls_give_the_same_noise_as_single_ones(open_kind):
    """Threads share torch's random state, and a hierarchical model caches its last pass."""
    ladder = open_kind("ladder")
    images = [(ladder.test_image(index), ladder.test_label(index)) for index in range(4)]

    def compute(x_and_y):
        terms = [ladder.compute_terms(*x_and_y) for _ in range(10)]
        return terms, ladder.decode(ladder.encode(*x_and_y), x_and_y[1])

    expected = [compute(image) for image in images]
    with ThreadPoolExecutor(len(images)) as pool:
        results = list(pool.map(compute, images))
    for (terms, mean), (expected_terms, expected_mean) in zip(results, expected, strict=True):
        assert terms == expected_terms
        assert torch.equal(mean, expected_mean)
