import torch

from vaelab.metrics.terms import MeanTerms


def test_the_mean_is_over_images_however_they_are_batched():
    values = torch.randn(100)
    for sizes in ([100], [64, 36], [1, 98, 1]):
        terms = MeanTerms()
        for part in values.split(sizes):
            terms.update({"loss": part, "square": part**2})
        found = terms.compute()
        torch.testing.assert_close(found["loss"], values.double().mean())
        torch.testing.assert_close(found["square"], (values**2).double().mean())


def test_a_statistic_of_a_batch_counts_for_each_of_its_images():
    terms = MeanTerms()
    terms.update({"loss": torch.zeros(3), "weight": torch.tensor(1.0)})
    terms.update({"loss": torch.zeros(1), "weight": torch.tensor(0.0)})
    assert terms.compute()["weight"] == 0.75


def test_a_batch_that_is_not_counted_only_names_its_terms():
    terms = MeanTerms()
    terms.update({"loss": torch.zeros(3) / 0, "weight": torch.tensor(5.0)}, counted=False)
    assert terms.names == ["loss", "weight"]
    terms.update({"loss": torch.ones(2), "weight": torch.tensor(1.0)})
    assert terms.compute() == {"loss": 1.0, "weight": 1.0}


def test_reset_forgets_the_values():
    terms = MeanTerms()
    terms.update({"loss": torch.ones(2)})
    terms.reset()
    terms.update({"loss": torch.zeros(2)})
    assert terms.compute() == {"loss": 0.0}


def test_nan_is_not_hidden():
    terms = MeanTerms()
    terms.update({"loss": torch.tensor([1.0, float("nan")])})
    assert terms.compute()["loss"].isnan()
