import torch

from vaelab.metrics.terms import MeanTerms


def test_mean_does_not_depend_on_the_batch_size():
    values = torch.randn(100)
    for sizes in ([100], [64, 36], [1, 98, 1]):
        terms = MeanTerms()
        for batch in values.split(sizes):
            terms.update({"loss": batch, "square": batch**2})
        means = terms.compute()
        torch.testing.assert_close(means["loss"], values.double().mean())
        torch.testing.assert_close(means["square"], (values**2).double().mean())


def test_batch_statistics_count_for_each_image():
    terms = MeanTerms()
    terms.update({"loss": torch.zeros(3), "weight": torch.tensor(1.0)})
    terms.update({"loss": torch.zeros(1), "weight": torch.tensor(0.0)})
    assert terms.compute()["weight"] == 0.75


def test_uncounted_batch_only_registers_names():
    terms = MeanTerms()
    terms.update({"loss": torch.zeros(3) / 0, "weight": torch.tensor(5.0)}, counted=0)
    assert terms.names == ["loss", "weight"]
    terms.update({"loss": torch.ones(2), "weight": torch.tensor(1.0)})
    assert terms.compute() == {"loss": 1.0, "weight": 1.0}


def test_reset_clears_the_sums():
    terms = MeanTerms()
    terms.update({"loss": torch.ones(2)})
    terms.reset()
    terms.update({"loss": torch.zeros(2)})
    assert terms.compute() == {"loss": 0.0}


def test_nan_is_propagated():
    terms = MeanTerms()
    terms.update({"loss": torch.tensor([1.0, float("nan")])})
    assert terms.compute()["loss"].isnan()
