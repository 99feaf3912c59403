from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import avg_pool2d

from vaelab.kl.constant import ConstantWeight
from vaelab.objectives.ms_ssim import BETAS, MSSSIM
from vaelab.runs.build import build_from_config
from vaelab.runs.run import Run


def written_out(x, y, scales, window):
    """Equations 1 to 7 of Wang et al. (2003): flat windows, C1 = .01^2, C2 = .03^2."""
    betas = torch.tensor(BETAS[:scales]).double()
    betas = betas / betas.sum()
    product = torch.ones(len(x)).double()
    for scale in range(scales):
        mx, my = (avg_pool2d(each, window, 1) for each in (x, y))
        vx = avg_pool2d(x * x, window, 1) - mx * mx
        vy = avg_pool2d(y * y, window, 1) - my * my
        cross = avg_pool2d(x * y, window, 1) - mx * my
        contrast = (2 * cross + 0.03**2) / (vx + vy + 0.03**2)
        if scale == scales - 1:
            contrast = contrast * (2 * mx * my + 0.01**2) / (mx**2 + my**2 + 0.01**2)
        product = product * contrast.flatten(1).mean(1).relu() ** betas[scale]
        x, y = avg_pool2d(x, 2), avg_pool2d(y, 2)
    return product


@pytest.mark.parametrize(("scales", "window"), [(1, 7), (2, 7), (2, 5), (3, 3)])
def test_its_similarity_is_that_of_the_papers_equations(scales, window):
    x = torch.rand(5, 1, 28, 28).double()
    y = (x + 0.2 * torch.randn_like(x)).clamp(0, 1)
    found = MSSSIM(ConstantWeight(), scales=scales, window=window).similarity(x, y)
    torch.testing.assert_close(found, written_out(x, y, scales, window), rtol=0.05, atol=0.01)


def test_a_picture_is_like_itself_and_less_so_the_more_it_is_blurred():
    x, objective = torch.rand(3, 1, 28, 28), MSSSIM(ConstantWeight())
    torch.testing.assert_close(objective.similarity(x, x), torch.ones(3))
    found = [objective.similarity(x, x.lerp(x.mean(), share)).mean() for share in (0.1, 0.3, 0.6)]
    assert 1 > found[0] > found[1] > found[2] >= 0


def test_its_loss_is_written_out_and_colours_and_conv_do(config):
    vae = build_from_config(config("model=conv").module.vae, shape=[3, 32, 32])
    objective = MSSSIM(ConstantWeight(3.0))
    objective.prepare(vae)
    terms = objective(vae, torch.rand(4, 3, 32, 32), 0)
    expected = 500 * (1 - terms["ms_ssim"]) + 3 * terms["kl"]
    torch.testing.assert_close(terms["loss"], expected)
    torch.testing.assert_close(terms["objective"], -(expected - 2 * terms["kl"]))
    assert terms["ms_ssim"].shape == (4,)


def test_pictures_too_small_for_its_windows_are_refused(config):
    with pytest.raises(ValueError, match=r"windows of 7x7 .* set objective\.scales or"):
        Run.build(config("objective=ms_ssim", "objective.scales=4"))


@pytest.mark.parametrize("edge", [28, 56, 63, 64])
@pytest.mark.parametrize("scales", [1, 2, 3, 4])
@pytest.mark.parametrize("window", [3, 7])
def test_what_is_not_refused_has_a_similarity(edge, scales, window):
    objective = MSSSIM(ConstantWeight(), scales=scales, window=window)
    vae = SimpleNamespace(
        shape=(1, edge, edge),
        likelihood=torch.nn.Module(),
        posterior=SimpleNamespace(density=True, random=True),
    )
    x, y = torch.rand(2, 3, 1, edge, edge)
    try:
        objective.prepare(vae)
    except ValueError:
        with pytest.raises(ValueError, match=r"image|kernel"):
            objective.similarity(x, y)
    else:
        assert objective.similarity(x, y).isfinite().all()


@pytest.mark.parametrize("window", [1, 2])
def test_a_window_is_odd_and_at_least_3(config, window):
    with pytest.raises(ValueError, match="odd, and at least 3"):
        Run.build(config("objective=ms_ssim", f"objective.window={window}"))
