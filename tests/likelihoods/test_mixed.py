"""`loss=mixed`: columns of different kinds, each with its own likelihood."""

import math

import pytest
import torch

from vaelab.likelihoods.mixed import Mixed

COLUMNS = ["count", "real", "categorical:3", "binary", "real", "count", "categorical:2"]
REAL, BINARY, COUNT = [1, 6], [5], [0, 7]
CATEGORIES = [[2, 3, 4], [8, 9]]
SCALES = ["column", "learned", "pixel"]


def make_rows(n):
    torch.manual_seed(0)
    x = torch.zeros(n, 10).double()
    x[:, REAL] = torch.randn(n, 2).double() * torch.tensor([1.0, 30.0]).double()
    x[:, BINARY] = (torch.rand(n, 1) < 0.3).double()
    x[:, COUNT] = torch.poisson(torch.rand(n, 2).double() * 20)
    for columns in CATEGORIES:
        chances = torch.rand(n, len(columns)) + torch.arange(len(columns))
        x[:, columns] = torch.nn.functional.one_hot(chances.argmax(1), len(columns)).double()
    return x


def make(scale="column", dispersion="column", columns=COLUMNS):
    size = sum(int(kind.partition(":")[2] or 1) for kind in columns)
    return Mixed((size,), columns, scale, dispersion).double()


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("dispersion", ["column", "pixel"])
def test_log_prob_is_the_sum_over_the_likelihoods_of_the_columns(scale, dispersion):
    likelihood, x = make(scale, dispersion), make_rows(50)
    start = likelihood.initialize(x)
    assert start.shape == (likelihood.outputs,)
    p = likelihood((start + torch.randn(4, 50, len(start)) / 5).double())
    assert (p.batch_shape, p.event_shape) == ((4, 50), (10,))
    entries = p.entry_log_prob(x)
    assert entries.shape == p.sample().shape == p.mean.shape == (4, 50, 10)
    torch.testing.assert_close(entries.sum(-1), p.log_prob(x))
    parts = {columns.tolist()[0]: part for columns, part in p.parts}
    torch.testing.assert_close(parts[1].log_prob(x[:, REAL]), entries[..., REAL].sum(-1))
    torch.testing.assert_close(parts[0].log_prob(x[:, COUNT]), entries[..., COUNT].sum(-1))


def test_probabilities_of_discrete_columns_sum_to_one():
    likelihood = make(columns=["binary", "categorical:3", "count"])
    p = likelihood(torch.randn(likelihood.outputs).double())
    grid = torch.stack(
        torch.meshgrid(torch.arange(2), torch.arange(3), torch.arange(3_000), indexing="ij"), -1
    ).reshape(-1, 3)
    category = torch.nn.functional.one_hot(grid[:, 1], 3)
    x = torch.cat([grid[:, :1], category, grid[:, 2:]], 1).double()
    assert p.log_prob(x).exp().sum().item() == pytest.approx(1, abs=1e-9)
    assert likelihood.measure("mixed") == "probability"
    assert make().measure("mixed") == "density"


def test_mean_agrees_with_samples():
    likelihood, x = make(), make_rows(300)
    p = likelihood(likelihood.initialize(x))
    samples = p.sample((20_000,))
    error = 5 * samples.std(0) / math.sqrt(20_000)
    assert ((samples.mean(0) - p.mean).abs() <= error).all()
    for columns in CATEGORIES:
        assert (samples[:, columns].sum(1) == 1).all()


def test_initial_output_gives_the_means_and_each_real_column_its_own_scale():
    likelihood, x = make(), make_rows(2_000)
    likelihood.set_floor(x)
    p = likelihood(likelihood.initialize(x))
    torch.testing.assert_close(p.mean, x.mean(0), rtol=2e-3, atol=2e-3)
    (scale,) = (part.scale for columns, part in p.parts if columns.tolist() == REAL)
    torch.testing.assert_close(scale, x[:, REAL].std(0, correction=0), rtol=0.02, atol=0.0)


def test_gradient_agrees_with_finite_differences():
    likelihood, x = make("pixel", "pixel"), make_rows(1)
    out = torch.randn(likelihood.outputs).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda out: likelihood(out).log_prob(x), out)


@pytest.mark.parametrize("size", [1e2, 1e4])
def test_extreme_outputs_give_finite_values_and_gradients(size):
    likelihood, x = make("pixel", "pixel").float(), make_rows(20).float()
    out = (size * torch.randn(20, likelihood.outputs)).requires_grad_()
    p = likelihood(out)
    p.log_prob(x).sum().backward()
    assert p.log_prob(x).isfinite().all()
    assert p.mean.isfinite().all()
    assert out.grad.isfinite().all()


def test_encoder_takes_logarithms_of_counts_only():
    x = make_rows(5)
    seen = make().transform_encoder_input(x)
    torch.testing.assert_close(seen[:, COUNT], x[:, COUNT].log1p())
    others = [n for n in range(10) if n not in COUNT]
    assert torch.equal(seen[:, others], x[:, others])


@pytest.mark.parametrize(
    ("columns", "shape", "message"),
    [
        (None, (3,), r"set data\.kind="),
        (["real"], (3,), "describe 1 columns"),
        (["real"], (1, 4, 4), "describe 1 columns"),
        (["reel"], (1,), "choose from real, binary"),
        (["categorical"], (3,), "categorical:N"),
        (["categorical:1"], (1,), "at least 2"),
        (["real:2"], (2,), "choose from"),
    ],
)
def test_columns_that_do_not_describe_x_are_refused(columns, shape, message):
    with pytest.raises(ValueError, match=message):
        Mixed(shape, columns)


def test_data_of_other_kinds_are_refused():
    likelihood = make()
    likelihood.check_pixels(-3, 90, "mixed", COLUMNS)
    with pytest.raises(ValueError, match=r"are real: set data\.kind=\[count,real,"):
        likelihood.check_pixels(-3, 90, "real")
    with pytest.raises(ValueError, match=r"leave out loss\.columns"):
        likelihood.check_pixels(-3, 90, "mixed", ["real"] * 10)
