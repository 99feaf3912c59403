import math

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity
from torch.nn.functional import mse_loss

from vaelab.data.base import choose_subset
from vaelab.evaluation.base import EvaluationConfig, NotApplicable
from vaelab.evaluation.reconstructions import compute_psnr, compute_ssim, evaluate
from vaelab.runs.run import RunParts


@pytest.fixture
def evaluation(tmp_path):
    return EvaluationConfig(samples=1, images=50, folder=tmp_path)


def build_run(config, *words):
    run = RunParts.build(config("model.hidden=[8]", "latent_dim=3", *words))
    run.data.setup()
    return run


def test_psnr_is_the_mean_over_images_in_decibels(config, evaluation):
    run = build_run(config)
    x = run.data.prepare(run.data.splits["test"].images[choose_subset(500, 50)])
    with torch.no_grad():
        y = run.vae.decode(run.vae.encode(x).mean).mean
    errors = [mse_loss(*pair).item() for pair in zip(x, y, strict=True)]
    expected = sum(-10 * math.log10(error) for error in errors) / 50
    assert evaluate(run, evaluation)["psnr"] == pytest.approx(expected, rel=1e-5)


def test_uniform_error_of_a_tenth_is_20_decibels():
    x = torch.full((2, 3, 8, 8), 0.5)
    torch.testing.assert_close(compute_psnr(x, x + 0.1), torch.full((2,), 20.0))


GAUSSIAN = {"gaussian_weights": True, "sigma": 1.5}


@pytest.mark.parametrize(("window", "settings"), [(11, GAUSSIAN), (7, {"win_size": 7})])
def test_ssim_is_that_of_scikit_image(window, settings):
    """Both take the mean over the windows inside the image, as Wang et al. do."""
    x, y = torch.rand(2, 3, 14, 17).double(), torch.rand(2, 3, 14, 17).double()
    settings = {"data_range": 1, "use_sample_covariance": False, "channel_axis": 0} | settings
    pairs = zip(x.numpy(), y.numpy(), strict=True)
    expected = [structural_similarity(*pair, **settings) for pair in pairs]
    np.testing.assert_allclose(compute_ssim(x, y, window).numpy(), expected, rtol=1e-9)
    torch.testing.assert_close(compute_ssim(x, x, window), torch.ones(2).double())


@pytest.mark.parametrize(
    ("edge", "window"),
    [(28, "11x11, a normal of scale 1.5"), (10, "9x9, uniform"), (3, "3x3, uniform"), (2, None)],
)
def test_small_images_have_a_smaller_window(config, evaluation, tmp_path, edge, window):
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).random((60, 1, edge, edge)))
    run = build_run(config, "data=arrays", f"data.path={tmp_path}/x.npz", "loss=mse")
    numbers = evaluate(run, evaluation)
    assert numbers.get("ssim_window") == window
    assert numbers.keys() == ({"psnr", "ssim", "ssim_window"} if window else {"psnr"})
    assert all(math.isfinite(numbers[name]) for name in numbers if name != "ssim_window")


def test_not_applicable_to_tables(config, evaluation, tmp_path):
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).normal(size=(60, 3)))
    run = build_run(config, "data=arrays", f"data.path={tmp_path}/x.npz", "loss=gaussian")
    with pytest.raises(NotApplicable, match=r"this part needs x of shape .* data.shape=\[3\]"):
        evaluate(run, evaluation)
