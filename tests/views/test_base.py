import pytest
import torch
from tiny import CONDITIONAL, TINY

from vaelab.data.base import Split
from vaelab.figures.compute.base import (
    LeftOut,
    check_pictures,
    decoded,
    drawn_from_prior,
    encoded,
    looking,
    shown,
    spread,
)


def test_a_look_leaves_no_trace(run):
    vae = run(*TINY).vae
    for training in (True, False):
        vae.train(training)
        state = torch.get_rng_state()
        with looking(vae):
            assert not vae.training
            assert not torch.is_grad_enabled()
            torch.rand(3)
        assert all(module.training == training for module in vae.modules())
        assert torch.equal(state, torch.get_rng_state())


def test_a_look_that_fails_leaves_none_either(run):
    vae = run(*TINY).vae.train()
    with pytest.raises(ZeroDivisionError), looking(vae):
        _ = 1 / 0
    assert vae.training


@pytest.mark.parametrize(("size", "most"), [(10, 3), (10, 10), (7, 100), (0, 5)])
def test_some_of_a_split_come_from_all_over_it(size, most):
    images, labels = spread(Split(torch.arange(size), torch.arange(size)), most)
    assert len(images) == min(size, most)
    assert torch.equal(images, labels)
    assert (images.diff() >= size // most).all()
    assert (images.diff() > 0).all()


def test_codes_are_those_of_the_model_and_draws_scatter_about_them(run):
    run = run(*TINY)
    split = run.data.splits["test"]
    codes = encoded(run.vae, run.data, split)
    q = run.vae.encode(run.data.prepare(split.images))
    torch.testing.assert_close(codes.likeliest, q.mean.detach())
    assert len(codes.drawn) == 200 * len(codes.likeliest)  # 20,000 of 100 images
    variance = (q.mean.var(0, correction=0) + q.variance.mean(0)).detach()
    torch.testing.assert_close(codes.drawn.var(0), variance, rtol=0.05, atol=0)
    again = encoded(run.vae, run.data, split)
    assert torch.equal(again.drawn, codes.drawn)


def test_codes_that_are_points_are_drawn_once(run):
    run = run(*TINY, "objective=autoencoder")
    codes = encoded(run.vae, run.data, run.data.splits["test"])
    assert torch.equal(codes.drawn, codes.likeliest)


def test_codes_that_are_not_finite_are_left_out(run):
    run = run(*TINY)
    torch.nn.init.constant_(next(run.vae.encoder.parameters()), torch.nan)
    with pytest.raises(LeftOut, match="not finite"):
        encoded(run.vae, run.data, run.data.splits["test"])


def test_draws_of_a_prior_that_are_not_finite_are_left_out(run):
    run = run(*TINY, "prior=mixture")
    torch.nn.init.constant_(run.vae.prior.means, torch.nan)
    with pytest.raises(LeftOut, match="prior are not finite"):
        drawn_from_prior(run.vae, run.data.splits["test"].labels)


def test_a_prior_of_the_label_gives_a_draw_for_each(run):
    run = run(*CONDITIONAL, "model.learned_prior=true")
    with torch.no_grad():
        run.vae.prior.parameters_of.weight[0] = 100 * torch.arange(10.0)  # the mean, by class
    z = drawn_from_prior(run.vae, torch.tensor([3, 1, 7]))
    torch.testing.assert_close(z[:, 0] / 100, torch.tensor([3.0, 1.0, 7.0]), atol=0.1, rtol=0)


@pytest.mark.parametrize("words", [TINY, CONDITIONAL])
def test_any_leading_dimensions_are_decoded(run, words):
    run = run(*words)
    z, y = torch.randn(2, 4, 3), run.data.splits["test"].labels[:1]
    images = decoded(run.vae, run.data, z, y)
    assert images.shape == (2, 4, 1, 28, 28)
    alone = run.vae.given(y).decode(z[1, 2:3]).mean.detach()[0]
    torch.testing.assert_close(images[1, 2], alone)


def test_only_grey_and_colour_pictures_are_pictures(run):
    data = run(*TINY).data
    for shape in ((1, 8, 8), (3, 8, 9)):
        data.shape = shape
        check_pictures(data)
    for shape in ((5,), (2, 8, 8), (8, 8)):
        data.shape = shape
        with pytest.raises(LeftOut, match="no pictures"):
            check_pictures(data)


def test_measured_pictures_are_shown_from_their_lowest_to_their_highest_value(run):
    data = run(*TINY, "data.binarize=none").data
    x = torch.tensor([-2.0, 0.0, 2.0])
    data.splits = {name: Split(x, x) for name in ("train", "val", "test")}
    assert shown(x, data).tolist() == [0, 0.5, 1]
    data.splits = {name: Split(x.abs() / 4, x) for name in ("train", "val", "test")}
    assert shown(x.abs() / 4, data).tolist() == [0.5, 0, 0.5]
