"""Test the objective based on MS-SSIM."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn.functional import avg_pool2d

from vaelab.kl.constant import ConstantWeight
from vaelab.objectives.ms_ssim import BETAS, MSSSIM
from vaelab.runs.run import RunParts
from vaelab.runtime.build import build_from_config


def compute_ms_ssim(x, y, scales, window):
    """Compute equations 1 to 7 of Wang et al. (2003) with flat windows, C1 = .01^2, C2 = .03^2."""
    betas = torch.tensor(BETAS[:scales]).double()
    betas = betas / betas.sum()
    product = torch.ones(len(x)).double()
    for scale in range(scales):
        mx, my = (avg_pool2d(image, window, 1) for image in (x, y))
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
def test_similarity_equals_the_equations_of_the_paper(scales, window):
    x = torch.rand(5, 1, 28, 28).double()
    y = (x + 0.2 * torch.randn_like(x)).clamp(0, 1)
    similarity = MSSSIM(ConstantWeight(), scales=scales, window=window).similarity(x, y)
    torch.testing.assert_close(
        similarity, compute_ms_ssim(x, y, scales, window), rtol=0.05, atol=0.01
    )


def test_similarity_is_1_for_equal_images_and_decreases_with_contrast():
    x, objective = torch.rand(3, 1, 28, 28), MSSSIM(ConstantWeight())
    torch.testing.assert_close(objective.similarity(x, x), torch.ones(3))
    faded = [x.lerp(x.mean(), weight) for weight in (0.1, 0.3, 0.6)]
    similarities = [objective.similarity(x, y).mean() for y in faded]
    assert 1 > similarities[0] > similarities[1] > similarities[2] >= 0


def test_loss_equals_its_definition_for_color_images(config):
    vae = build_from_config(config("model=conv").module.vae, shape=[3, 32, 32])
    objective = MSSSIM(ConstantWeight(3.0))
    objective.prepare(vae)
    terms = objective(vae, torch.rand(4, 3, 32, 32), 0)
    expected = 500 * (1 - terms["ms_ssim"]) + 3 * terms["kl"]
    torch.testing.assert_close(terms["loss"], expected)
    torch.testing.assert_close(terms["objective"], -(expected - 2 * terms["kl"]))
    assert terms["ms_ssim"].shape == (4,)


def test_images_smaller_than_the_windows_are_refused(config):
    with pytest.raises(ValueError, match=r"windows of 7x7 .* set objective\.scales or"):
        RunParts.build(config("objective=ms_ssim", "objective.scales=4"))


@pytest.mark.parametrize("edge", [28, 56, 63, 64])
@pytest.mark.parametrize("scales", [1, 2, 3, 4])
@pytest.mark.parametrize("window", [3, 7])
def test_accepted_image_sizes_have_a_finite_similarity(edge, scales, window):
    objective = MSSSIM(ConstantWeight(), scales=scales, window=window)
    vae = SimpleNamespace(
        shape=(1, edge, edge),
        missing=False,
        likelihood=torch.nn.Module(),
        posterior=SimpleNamespace(has_density=True, is_random=True),
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
def test_window_must_be_odd_and_at_least_3(config, window):
    with pytest.raises(ValueError, match="odd, and at least 3"):
        RunParts.build(config("objective=ms_ssim", f"objective.window={window}"))


@pytest.mark.parametrize(("low", "high"), [(-1, 1), (0, 255), (0, 1.01), (-0.5, 0.5)])
def test_pixels_outside_0_to_1_are_refused(train, tmp_path, low, high):
    x = np.random.default_rng(0).uniform(low, high, (20, 1, 28, 28))
    x[:, 0, 0, :2] = low, high
    np.savez(tmp_path / "x.npz", x=x)
    with pytest.raises(ValueError, match=r"pixels in \[0, 1\], but .* scale them to \[0, 1\]"):
        train("objective=ms_ssim", "loss=mse", "data=arrays", f"data.path={tmp_path}/x.npz")
    MSSSIM(ConstantWeight()).check_range(0, 1)
