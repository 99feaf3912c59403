import torch

from vaelab.metrics.latents import ActiveUnits, KLPerDimension


def test_kl_per_dimension_is_the_mean_over_images():
    kl, metric = torch.rand(50, 4), KLPerDimension(4)
    for part in kl.split(20):
        metric.update(part)
    torch.testing.assert_close(metric.compute(), kl.double().mean(0))


def test_a_unit_is_active_when_its_mean_varies_by_more_than_a_hundredth():
    means = torch.randn(10_000, 4).double()
    means = (means - means.mean(0)) / means.std(0, correction=0)
    scale = torch.tensor([0.0, 0.0099, 0.0101, 1.0]).sqrt()
    metric = ActiveUnits(4)
    for part in (means * scale + 5).split(999):
        metric.update(part)
    assert metric.compute() == 2


def test_two_noisy_estimates_of_the_means_do_not_make_units_active():
    truth = torch.randn(5000, 2) * torch.tensor([0.0, 1.0])
    metric = ActiveUnits(2)
    metric.update(truth + 0.3 * torch.randn(5000, 2), truth + 0.3 * torch.randn(5000, 2))
    assert metric.compute() == 1
    alone = ActiveUnits(2)
    alone.update(truth + 0.3 * torch.randn(5000, 2))
    assert alone.compute() == 2
