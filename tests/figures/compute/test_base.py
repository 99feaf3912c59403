import pytest
import torch
from tiny import CONDITIONAL, TINY

from vaelab.data.base import Split
from vaelab.figures.compute.base import (
    FigureNotApplicable,
    check_displayable,
    decode_latents,
    encode_images,
    evaluation_mode,
    sample_prior_latents,
    select_evenly_spaced,
    to_display_images,
)


def test_evaluation_mode_restores_mode_and_random_state(run):
    vae = run(*TINY).vae
    for training in (True, False):
        vae.train(training)
        state = torch.get_rng_state()
        with evaluation_mode(vae):
            assert not vae.training
            assert not torch.is_grad_enabled()
            torch.rand(3)
        assert all(module.training == training for module in vae.modules())
        assert torch.equal(state, torch.get_rng_state())


def test_evaluation_mode_restores_mode_after_an_error(run):
    vae = run(*TINY).vae.train()
    with pytest.raises(ZeroDivisionError), evaluation_mode(vae):
        _ = 1 / 0
    assert vae.training


@pytest.mark.parametrize(("size", "count"), [(10, 3), (10, 10), (7, 100), (0, 5)])
def test_select_evenly_spaced_covers_the_split(size, count):
    images, labels = select_evenly_spaced(Split(torch.arange(size), torch.arange(size)), count)
    assert len(images) == min(size, count)
    assert torch.equal(images, labels)
    assert (images.diff() >= size // count).all()
    assert (images.diff() > 0).all()


def test_encode_images_returns_modes_and_samples_of_the_posterior(run):
    run = run(*TINY)
    split = run.data.splits["test"]
    encoded = encode_images(run.vae, run.data, split)
    q = run.vae.encode(run.data.prepare(split.images))
    torch.testing.assert_close(encoded.modes, q.mean.detach())
    assert len(encoded.samples) == 200 * len(encoded.modes)  # 20,000 of 100 images
    variance = (q.mean.var(0, correction=0) + q.variance.mean(0)).detach()
    torch.testing.assert_close(encoded.samples.var(0), variance, rtol=0.05, atol=0)
    again = encode_images(run.vae, run.data, split)
    assert torch.equal(again.samples, encoded.samples)


def test_encode_images_samples_deterministic_posteriors_once(run):
    run = run(*TINY, "objective=autoencoder")
    encoded = encode_images(run.vae, run.data, run.data.splits["test"])
    assert torch.equal(encoded.samples, encoded.modes)


def test_encode_images_rejects_nan(run):
    run = run(*TINY)
    torch.nn.init.constant_(next(run.vae.encoder.parameters()), torch.nan)
    with pytest.raises(FigureNotApplicable, match="latents of images contain NaN"):
        encode_images(run.vae, run.data, run.data.splits["test"])


def test_sample_prior_latents_rejects_nan(run):
    run = run(*TINY, "prior=mixture")
    torch.nn.init.constant_(run.vae.prior.means, torch.nan)
    with pytest.raises(FigureNotApplicable, match="prior contain NaN"):
        sample_prior_latents(run.vae, run.data.splits["test"].labels)


def test_label_conditional_prior_gives_one_sample_per_label(run):
    run = run(*CONDITIONAL, "model.learned_prior=true")
    with torch.no_grad():
        run.vae.prior.parameters_of.weight[0] = 100 * torch.arange(10.0)  # the mean, by class
    z = sample_prior_latents(run.vae, torch.tensor([3, 1, 7]))
    torch.testing.assert_close(z[:, 0] / 100, torch.tensor([3.0, 1.0, 7.0]), atol=0.1, rtol=0)


@pytest.mark.parametrize("words", [TINY, CONDITIONAL])
def test_decode_latents_accepts_any_leading_dimensions(run, words):
    run = run(*words)
    z, y = torch.randn(2, 4, 3), run.data.splits["test"].labels[:1]
    images = decode_latents(run.vae, run.data, z, y)
    assert images.shape == (2, 4, 1, 28, 28)
    alone = run.vae.condition_on(y).decode(z[1, 2:3]).mean.detach()[0]
    torch.testing.assert_close(images[1, 2], alone)


def test_check_displayable_accepts_one_or_three_channels_and_ten_series(run):
    data = run(*TINY).data
    for shape in ((1, 8, 8), (3, 8, 9), (1, 4, 8, 8), (3, 4, 8, 8), (1, 9), (10, 9)):
        data.shape = shape
        check_displayable(data)
    for shape in ((5,), (2, 8, 8), (2, 8, 8, 8), (11, 8), (1, 4, 4, 4, 4)):
        data.shape = shape
        with pytest.raises(FigureNotApplicable, match="not drawn as a tile"):
            check_displayable(data)


def test_to_display_images_scales_data_beyond_0_1(run):
    data = run(*TINY, "data.binarize=none").data
    x = torch.tensor([-2.0, 0.0, 2.0]).view(3, 1, 1, 1).expand(3, 1, 28, 28)
    data.splits = {name: Split(x, x) for name in ("train", "val", "test")}
    assert to_display_images(x, data)[:, 0, 0, 0].tolist() == [0, 0.5, 1]
    data.splits = {name: Split(x.abs() / 4, x) for name in ("train", "val", "test")}
    assert to_display_images(x.abs() / 4, data)[:, 0, 0, 0].tolist() == [0.5, 0, 0.5]


@pytest.mark.parametrize(("shape", "size"), [((2, 9), (3, 64, 128)), ((1, 4, 6, 5), (1, 6, 18))])
def test_to_display_images_turns_series_and_volumes_into_images(run, shape, size):
    data = run(*TINY, "data.binarize=none").data
    data.shape = shape
    x = torch.rand(2, 3, *shape)
    data.splits = {name: Split(4 * x.flatten(0, 1) - 2, x) for name in ("train", "val", "test")}
    images = to_display_images(4 * x - 2, data)
    assert images.shape == (2, 3, *size)
    assert (images.min() >= 0, images.max() <= 1) == (True, True)
