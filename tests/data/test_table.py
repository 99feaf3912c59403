"""The data sets `counts` and `table`."""

import pytest
import torch

from vaelab.data.counts import Counts
from vaelab.data.table import Table
from vaelab.distributions.columns import parse_columns


def test_counts_have_the_moments_of_their_model():
    data = Counts(columns=4, latents=2, train=20_000)
    data.setup()
    assert data.pixels == "count"
    z, x = data.sample_split("train")
    assert torch.equal(data.splits["train"].images, x)
    model = data.make_model()
    fractions = model.compute_log_fractions(z).exp()
    totals = 2_000 * torch.tensor(0.4**2 / 2).exp()  # the mean of a log-normal variable
    expected = totals * fractions.mean(0)
    torch.testing.assert_close(x.mean(0), expected, rtol=0.05, atol=0.0)
    torch.testing.assert_close(z.std(0), torch.ones(2), rtol=0.02, atol=0.0)


def test_counts_of_another_draw_have_another_model():
    first, second = Counts().make_model(), Counts(draw=1).make_model()
    assert not torch.equal(first.weights, second.weights)
    assert torch.equal(first.bias, Counts(seed=5).make_model().bias)


@pytest.mark.parametrize(
    "settings", [{"columns": 1}, {"latents": 0}, {"test": 0}, {"validation": -1}, {"draw": -1}]
)
def test_counts_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match="at least"):
        Counts(**settings)


@pytest.mark.parametrize(
    ("name", "rows", "columns"), [("breast_cancer", 569, 31), ("wine", 178, 16)]
)
@pytest.mark.parametrize("target", [True, False])
def test_table_is_standardized_and_has_the_class_as_columns(name, rows, columns, target):
    data = Table(name, target)
    data.setup()
    images, labels = data.splits["train"]
    real = {"breast_cancer": 30, "wine": 13}[name]
    assert sum(len(split.images) for split in data.splits.values()) == rows
    assert images.shape[1:] == data.shape == (columns if target else real,)
    assert len(data.columns) == data.shape[0]
    x = data.prepare(images)
    torch.testing.assert_close(x[:, :real].mean(0), torch.zeros(real), atol=1e-5, rtol=0)
    torch.testing.assert_close(x[:, :real].std(0, correction=0), torch.ones(real))
    torch.testing.assert_close(data.standardization.undo(x), images)
    assert data.pixels == ("mixed" if target else "real")
    if target:
        assert sum(len(numbers) for _, numbers in parse_columns(data.column_kinds)) == columns
        added = x[:, real:]
        assert torch.equal(added.argmax(1) if added.shape[1] > 1 else added[:, 0].long(), labels)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "iris"}, "choose from breast_cancer, wine"),
        ({"binarize": "dynamic"}, "treats pixels as probabilities"),
        ({"test": 0.0}, "data.test above 0"),
    ],
)
def test_table_out_of_range_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Table(**settings)


@pytest.mark.slow
def test_negative_binomial_recovers_dispersion_and_latents(train, tmp_path):
    train("experiment=counts", "trainer=cpu", "trainer.precision=32-true")
    from vaelab.runs.run import RunParts

    run = RunParts.open(tmp_path / "run")
    data, vae = run.data, run.vae
    z, x = data.sample_split("test")
    with torch.no_grad():
        mean = vae.encode(x).mean
        log_r = vae.likelihood.log_dispersion
    true_log_r = data.make_model().inverse_dispersion.log()
    assert torch.corrcoef(torch.stack([log_r, true_log_r]))[0, 1] > 0.9
    assert (log_r - true_log_r).abs().median() < 0.2
    design = torch.cat([mean, torch.ones(len(mean), 1)], 1)
    residual = z - design @ torch.linalg.lstsq(design, z).solution
    assert (residual.var(0) < 0.1).all()
