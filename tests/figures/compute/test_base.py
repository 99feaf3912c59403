import pytest
import torch
from tiny import CONDITIONAL, TINY

from vaelab.data.base import Split
from vaelab.figures.compute.base import (
    FigureNotApplicable,
    check_image_data,
    decode_latents,
    encode_images,
    evaluation_mode,
    sample_prior_points,
    spread_subset,
    to_display_range,
)


def test_a_look_leaves_no_trace(run):
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


def test_a_look_that_fails_leaves_none_either(run):
    vae = run(*TINY).vae.train()
    with pytest.raises(ZeroDivisionError), evaluation_mode(vae):
        _ = 1 / 0
    assert vae.training


@pytest.mark.parametrize(("size", "most"), [(10, 3), (10, 10), (7, 100), (0, 5)])
def test_some_of_a_split_come_from_all_over_it(size, most):
    images, labels = spread_subset(Split(torch.arange(size), torch.arange(size)), most)
    assert len(images) == min(size, most)
    assert torch.equal(images, labels)
    assert (images.diff() >= size // most).all()
    assert (images.diff() > 0).all()


def test_codes_are_those_of_the_model_and_draws_scatter_about_them(run):
    run = run(*TINY)
    split = run.data.splits["test"]
    codes = encode_images(run.vae, run.data, split)
    q = run.vae.encode(run.data.prepare(split.images))
    torch.testing.assert_close(codes.likeliest, q.mean.detach())
    assert len(codes.drawn) == 200 * len(codes.likeliest)  # 20,000 of 100 images
    variance = (q.mean.var(0, correction=0) + q.variance.mean(0)).detach()
    torch.testing.assert_close(codes.drawn.var(0), variance, rtol=0.05, atol=0)
    again = encode_images(run.vae, run.data, split)
    assert torch.equal(again.drawn, codes.drawn)


def test_codes_that_are_points_are_drawn_once(run):
    run = run(*TINY, "objective=autoencoder")
    codes = encode_images(run.vae, run.data, run.data.splits["test"])
    assert torch.equal(codes.drawn, codes.likeliest)


def test_codes_that_are_not_finite_are_left_out(run):
    run = run(*TINY)
    torch.nn.init.constant_(next(run.vae.encoder.parameters()), torch.nan)
    with pytest.raises(FigureNotApplicable, match="not finite"):
        encode_images(run.vae, run.data, run.data.splits["test"])


def test_draws_of_a_prior_that_are_not_finite_are_left_out(run):
    run = run(*TINY, "prior=mixture")
    torch.nn.init.constant_(run.vae.prior.means, torch.nan)
    with pytest.raises(FigureNotApplicable, match="prior are not finite"):
        sample_prior_points(run.vae, run.data.splits["test"].labels)


def test_a_prior_of_the_label_gives_a_draw_for_each(run):
    run = run(*CONDITIONAL, "model.learned_prior=true")
    with torch.no_grad():
        run.vae.prior.parameters_of.weight[0] = 100 * torch.arange(10.0)  # the mean, by class
    z = sample_prior_points(run.vae, torch.tensor([3, 1, 7]))
    torch.testing.assert_close(z[:, 0] / 100, torch.tensor([3.0, 1.0, 7.0]), atol=0.1, rtol=0)


@pytest.mark.parametrize("words", [TINY, CONDITIONAL])
def test_any_leading_dimensions_are_decoded(run, words):
    run = run(*words)
    z, y = torch.randn(2, 4, 3), run.data.splits["test"].labels[:1]
    images = decode_latents(run.vae, run.data, z, y)
    assert images.shape == (2, 4, 1, 28, 28)
    alone = run.vae.condition_on(y).decode(z[1, 2:3]).mean.detach()[0]
    torch.testing.assert_close(images[1, 2], alone)


def test_only_grey_and_colour_pictures_are_pictures(run):
    data = run(*TINY).data
    for shape in ((1, 8, 8), (3, 8, 9)):
        data.shape = shape
        check_image_data(data)
    for shape in ((5,), (2, 8, 8), (8, 8)):
        data.shape = shape
        with pytest.raises(FigureNotApplicable, match="no pictures"):
            check_image_data(data)


def test_measured_pictures_are_shown_from_their_lowest_to_their_highest_value(run):
    data = run(*TINY, "data.binarize=none").data
    x = torch.tensor([-2.0, 0.0, 2.0])
    data.splits = {name: Split(x, x) for name in ("train", "val", "test")}
    assert to_display_range(x, data).tolist() == [0, 0.5, 1]
    data.splits = {name: Split(x.abs() / 4, x) for name in ("train", "val", "test")}
    assert to_display_range(x.abs() / 4, data).tolist() == [0.5, 0, 0.5]
