import torch

from vaelab.metrics.latents import ActiveUnits, KLPerDimension


def test_kl_per_dimension_is_the_mean_over_images():
    kl, metric = torch.rand(50, 4), KLPerDimension(4)
    for batch in kl.split(20):
        metric.update(batch)
    torch.testing.assert_close(metric.compute(), kl.double().mean(0))


def test_unit_is_active_if_the_variance_of_its_mean_exceeds_the_threshold():
    means = torch.randn(10_000, 4).double()
    means = (means - means.mean(0)) / means.std(0, correction=0)
    scale = torch.tensor([0.0, 0.0099, 0.0101, 1.0]).sqrt()
    metric = ActiveUnits(4)
    for batch in (means * scale + 5).split(999):
        metric.update(batch)
    assert metric.compute() == 2


def test_noise_of_two_independent_estimates_does_not_activate_units():
    truth = torch.randn(5000, 2) * torch.tensor([0.0, 1.0])
    metric = ActiveUnits(2)
    metric.update(truth + 0.3 * torch.randn(5000, 2), truth + 0.3 * torch.randn(5000, 2))
    assert metric.compute() == 1
    single = ActiveUnits(2)
    single.update(truth + 0.3 * torch.randn(5000, 2))
    assert single.compute() == 2
