from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny import LADDER, PLANE, SPHERE, TINY, VQ

from vaelab.figures.compute.base import (
    EncodedImages,
    FigureNotApplicable,
    decode_latents,
    encode_images,
)
from vaelab.figures.compute.map import _select_labels, compute_decoded_plane, compute_latent_map


def encode_test_images(run):
    return encode_images(run.vae, run.data, run.data.splits["test"])


def test_map_of_two_dimensions_shows_them_unchanged(run):
    run = run(*PLANE)
    encoded = encode_test_images(run)
    latent_map = compute_latent_map(run.vae, run.data, encoded)
    assert np.array_equal(latent_map.points, encoded.modes.numpy())
    assert np.array_equal(latent_map.labels, encoded.split.labels.numpy())
    assert latent_map.axes == ("$z_1$", "$z_2$")


@pytest.mark.parametrize("words", [TINY, LADDER, SPHERE, VQ])
def test_map_of_more_dimensions_is_their_pca(run, words):
    run = run(*words)
    encoded = encode_test_images(run)
    latent_map = compute_latent_map(run.vae, run.data, encoded)
    z = encoded.modes.double()
    _, scales, _ = torch.linalg.svd(z - z.mean(0), full_matrices=False)
    np.testing.assert_allclose(np.square(latent_map.points).sum(0), scales[:2].square(), rtol=1e-4)
    ratio = scales.square() / scales.square().sum()
    assert latent_map.axes[0].endswith(f", {ratio[0].item():.0%} of the variance")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of numba
def test_umap_projection(run):
    pytest.importorskip("umap")
    run = run(*TINY)
    latent_map = compute_latent_map(run.vae, run.data, encode_test_images(run), "umap")
    assert latent_map.points.shape == (100, 2)
    assert not latent_map.equal


def test_missing_umap_names_the_package_to_install(run, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "umap", None)
    run = run(*TINY)
    with pytest.raises(ModuleNotFoundError, match=r"vaelab\[umap\]"):
        compute_latent_map(run.vae, run.data, encode_test_images(run), "umap")


def test_map_needs_two_dimensions(run):
    run = run("model.hidden=[8]", "latent_dim=1")
    with pytest.raises(FigureNotApplicable, match="two latent dimensions"):
        compute_latent_map(run.vae, run.data, encode_test_images(run))


def test_map_shows_the_most_balanced_attribute(run):
    data = run(*TINY).data
    data.attributes = ("Bald", "Wearing_Hat", "Male")
    y = torch.tensor([[0, 1, 1], [0, 1, 0], [0, 1, 1], [1, 1, 0]])
    labels, classes, title = _select_labels(data, y)
    assert labels.tolist() == [1, 0, 1, 0]
    assert classes == ("no", "yes")
    assert title == "Male"


def test_factor_labels_keep_their_name_and_values():
    data = SimpleNamespace(factors=("shape", "x"))
    values, classes, title = _select_labels(data, torch.tensor([[0, 7], [1, 9]]))
    assert (title, list(values), classes) == ("shape", [0.0, 1.0], ())


def test_missing_labels_are_nan(run):
    labels, classes, _ = _select_labels(run(*TINY).data, torch.zeros(4, 0))
    assert np.isnan(labels).all()
    assert len(labels) == 4
    assert not classes


def test_decoded_plane_uses_equally_spaced_quantiles_of_the_prior(run):
    run = run(*PLANE)
    encoded = encode_test_images(run)
    plane = compute_decoded_plane(run.vae, run.data, encoded)
    columns = torch.tensor(plane.columns)
    below = torch.distributions.Normal(0.0, 1.0).cdf(columns)
    torch.testing.assert_close(below.diff(), torch.full((20,), 1 / 21))
    assert plane.rows == pytest.approx(plane.columns[::-1])
    z = torch.tensor([[plane.columns[2], plane.rows[5]]])
    shown = decode_latents(run.vae, run.data, z, encoded.split.labels[:1])
    torch.testing.assert_close(plane.images[5, 2], shown[0])


def test_decoded_plane_estimates_quantiles_from_samples(run):
    for words, middle in (("prior=mixture", 5.0), ("objective=autoencoder", None)):
        built = run(*PLANE, words)
        if middle is not None:
            with torch.no_grad():
                built.vae.prior.means.fill_(middle)
        encoded = encode_test_images(built)
        columns = compute_decoded_plane(built.vae, built.data, encoded).columns
        expected = encoded.samples[:, 0].median().item() if middle is None else middle
        assert columns[10] == pytest.approx(expected, abs=0.15)


def test_conditional_decoded_plane_names_its_label(run):
    run = run("model=conditional", *PLANE)
    encoded = encode_test_images(run)
    run.data.classes = [f"digit {i}" for i in range(10)]
    plane = compute_decoded_plane(run.vae, run.data, encoded)
    assert plane.title == f"with the label digit {encoded.split.labels[0]}"
    with torch.no_grad():
        z = torch.tensor([[plane.columns[0], plane.rows[0]]])
        alone = run.vae.condition_on(encoded.split.labels[:1]).decode(z).mean
    torch.testing.assert_close(plane.images[0, 0], alone[0])


def test_decoded_plane_needs_two_real_dimensions(run):
    for words in (TINY, ("model.hidden=[8]", "latent_dim=2", "posterior=vmf")):
        built = run(*words)
        with pytest.raises(FigureNotApplicable, match="plane"):
            compute_decoded_plane(built.vae, built.data, encode_test_images(built))


def test_map_needs_three_images_and_distinct_latents(run):
    run = run(*TINY)
    encoded = encode_test_images(run)
    few = EncodedImages(encoded.modes[:2], encoded.samples, encoded.split)
    with pytest.raises(FigureNotApplicable, match="three images"):
        compute_latent_map(run.vae, run.data, few)
    same = EncodedImages(encoded.modes[:1].repeat(100, 1), encoded.samples, encoded.split)
    with pytest.raises(FigureNotApplicable, match="all images have the same latent"):
        compute_latent_map(run.vae, run.data, same)
