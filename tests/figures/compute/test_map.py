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
from vaelab.figures.compute.map import _labels, compute_cloud, compute_decoded_plane


def codes_of(run):
    return encode_images(run.vae, run.data, run.data.splits["test"])


def test_two_dimensions_are_their_own_map(run):
    run = run(*PLANE)
    codes = codes_of(run)
    found = compute_cloud(run.vae, run.data, codes)
    assert np.array_equal(found.points, codes.likeliest.numpy())
    assert np.array_equal(found.labels, codes.split.labels.numpy())
    assert found.axes == ("$z_1$", "$z_2$")


@pytest.mark.parametrize("words", [TINY, LADDER, SPHERE, VQ])
def test_more_are_seen_along_the_directions_of_largest_variance(run, words):
    run = run(*words)
    codes = codes_of(run)
    found = compute_cloud(run.vae, run.data, codes)
    z = codes.likeliest.double()
    _, scales, _ = torch.linalg.svd(z - z.mean(0), full_matrices=False)
    np.testing.assert_allclose(np.square(found.points).sum(0), scales[:2].square(), rtol=1e-4)
    share = scales.square() / scales.square().sum()
    assert found.axes[0].endswith(f", {share[0].item():.0%} of the variance")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # numba's
def test_umap_is_there_for_those_who_ask(run):
    pytest.importorskip("umap")
    run = run(*TINY)
    found = compute_cloud(run.vae, run.data, codes_of(run), "umap")
    assert found.points.shape == (100, 2)
    assert not found.equal


def test_without_its_package_umap_says_what_to_install(run, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "umap", None)
    run = run(*TINY)
    with pytest.raises(ModuleNotFoundError, match="pip install umap-learn"):
        compute_cloud(run.vae, run.data, codes_of(run), "umap")


def test_one_dimension_has_no_map(run):
    run = run("model.hidden=[8]", "latent_dim=1")
    with pytest.raises(FigureNotApplicable, match="two latent dimensions"):
        compute_cloud(run.vae, run.data, codes_of(run))


def test_of_attributes_the_one_that_parts_the_images_is_shown(run):
    data = run(*TINY).data
    data.attributes = ("Bald", "Wearing_Hat", "Male")
    y = torch.tensor([[0, 1, 1], [0, 1, 0], [0, 1, 1], [1, 1, 0]])
    labels, classes, title = _labels(data, y)
    assert labels.tolist() == [1, 0, 1, 0]
    assert classes == ("no", "yes")
    assert title == "Male"


def test_a_label_that_is_a_factor_has_its_name_and_its_values_are_numbers():
    data = SimpleNamespace(factors=("shape", "x"))
    values, classes, title = _labels(data, torch.tensor([[0, 7], [1, 9]]))
    assert (title, list(values), classes) == ("shape", [0.0, 1.0], ())


def test_labels_that_are_not_there_are_nan(run):
    labels, classes, _ = _labels(run(*TINY).data, torch.zeros(4, 0))
    assert np.isnan(labels).all()
    assert len(labels) == 4
    assert not classes


def test_equal_shares_of_the_prior_lie_between_neighbours_in_the_plane(run):
    run = run(*PLANE)
    codes = codes_of(run)
    found = compute_decoded_plane(run.vae, run.data, codes)
    columns = torch.tensor(found.columns)
    below = torch.distributions.Normal(0.0, 1.0).cdf(columns)
    torch.testing.assert_close(below.diff(), torch.full((20,), 1 / 21))
    assert found.rows == pytest.approx(found.columns[::-1])
    z = torch.tensor([[found.columns[2], found.rows[5]]])
    shown = decode_latents(run.vae, run.data, z, codes.split.labels[:1])
    torch.testing.assert_close(found.images[5, 2], shown[0])


def test_any_prior_has_its_quantiles_and_codes_without_density_their_own(run):
    for words, middle in (("prior=mixture", 5.0), ("objective=autoencoder", None)):
        chosen = run(*PLANE, words)
        if middle is not None:
            with torch.no_grad():
                chosen.vae.prior.means.fill_(middle)
        codes = codes_of(chosen)
        columns = compute_decoded_plane(chosen.vae, chosen.data, codes).columns
        expected = codes.drawn[:, 0].median().item() if middle is None else middle
        assert columns[10] == pytest.approx(expected, abs=0.15)


def test_a_conditional_plane_says_which_label_it_is_of(run):
    run = run("model=conditional", *PLANE)
    codes = codes_of(run)
    run.data.classes = [f"digit {i}" for i in range(10)]
    found = compute_decoded_plane(run.vae, run.data, codes)
    assert found.title == f"with the label digit {codes.split.labels[0]}"
    with torch.no_grad():
        z = torch.tensor([[found.columns[0], found.rows[0]]])
        alone = run.vae.condition_on(codes.split.labels[:1]).decode(z).mean
    torch.testing.assert_close(found.images[0, 0], alone[0])


def test_more_dimensions_or_a_circle_are_no_plane(run):
    for words in (TINY, ("model.hidden=[8]", "latent_dim=2", "posterior=vmf")):
        chosen = run(*words)
        with pytest.raises(FigureNotApplicable, match="plane"):
            compute_decoded_plane(chosen.vae, chosen.data, codes_of(chosen))


def test_three_images_and_more_than_one_code_are_needed(run):
    run = run(*TINY)
    codes = codes_of(run)
    few = EncodedImages(codes.likeliest[:2], codes.drawn, codes.split)
    with pytest.raises(FigureNotApplicable, match="three images"):
        compute_cloud(run.vae, run.data, few)
    same = EncodedImages(codes.likeliest[:1].repeat(100, 1), codes.drawn, codes.split)
    with pytest.raises(FigureNotApplicable, match="all images have one code"):
        compute_cloud(run.vae, run.data, same)
