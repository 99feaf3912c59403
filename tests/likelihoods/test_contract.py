"""The contract of base.py, tested for every option in conf/loss."""

import math

import pytest
import torch
from conftest import options

SCALES = ("learned", "column", "optimal", "pixel")
COUNTS = ("poisson", "negative_binomial", "zero_inflated_negative_binomial")
OPTIONS = [
    *(loss for loss in options("loss") if loss != "mixed"),  # test_mixed.py: it needs columns
    *(f"{loss} loss.exposure=none" for loss in COUNTS),
    *(f"{loss} loss.dispersion=pixel" for loss in COUNTS[1:]),
    *(f"{loss} loss.scale={scale}" for loss in ("gaussian", "laplace") for scale in SCALES[1:]),
    *(f"{loss} loss.scale=pixel" for loss in ("student_t", "discretized_logistic")),
    "mse loss.scale=0.05",
    "student_t loss.df=3",
]
WITHOUT_TOTAL = [
    option for option in OPTIONS if option.split()[0] not in COUNTS or "exposure=none" in option
]  # p(x|z) is conditional on the total of x with exposure=total
LEVELS = torch.arange(256).double() / 255


@pytest.fixture
def likelihood(part):
    """Return a function that builds the likelihood of an option in eval mode and float64."""

    def make(option, shape):
        return part(*f"loss={option}".split())(shape).eval().double()

    return make


def to_kind(likelihood, x):
    """Convert numbers in [0, 1] to values that the likelihood supports."""
    if likelihood.pixels == "count":
        return (9 * x).floor()
    return x.round() if likelihood.pixels == "binary" else x


def random_outputs(likelihood, *size, spread=1.0):
    """Sample decoder outputs about 0.5, the middle of the range of pixels."""
    shape = (*size, likelihood.outputs, *likelihood.shape[1:])
    return 0.5 + spread * torch.randn(shape).double()


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 4, 4), (4,)])
def test_log_prob_and_samples_have_the_correct_shapes(likelihood, option, shape):
    likelihood = likelihood(option, shape)
    x = torch.rand(6, *shape).double().round()
    start = likelihood.initialize(x)
    assert start.shape == (likelihood.outputs, *shape[1:])
    p = likelihood(start.expand(2, 6, *start.shape))
    assert p.batch_shape == (2, 6)
    assert p.event_shape == shape
    assert p.log_prob(x).shape == (2, 6)
    assert p.sample().shape == p.mean.shape == (2, 6, *shape)
    assert likelihood(start).sample((5,)).shape == (5, *shape)


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("shared", [False, True])
def test_initial_output_is_more_likely_than_outputs_nearby(likelihood, option, shared):
    shape = (2, 3, 3)
    likelihood = likelihood(option, shape)
    x = (torch.rand(200, 1, 3, 3).square() * torch.rand(200, *shape)).double()
    x = to_kind(likelihood, x)
    start = likelihood.initialize(x, shared)
    if shared:
        assert (start == start[:, :1, :1]).all()
    best = likelihood(start).log_prob(x).mean()
    approximate = ("student_t", "logistic_mixture", "discretized_logistic", *COUNTS[1:])
    distance = 2.0 if option.startswith(approximate) else 0.3
    for _ in range(5):
        step = torch.randn(len(start), 1, 1).double().expand_as(start)
        assert likelihood(start + distance * step).log_prob(x).mean() < best


@pytest.mark.parametrize("option", WITHOUT_TOTAL)
@pytest.mark.parametrize("spread", [0.3, 3.0])
def test_probability_sums_or_integrates_to_one(likelihood, option, spread):
    likelihood = likelihood(option, (1, 1, 1))
    if likelihood.pixels == "real":
        is_bounded = not likelihood.support.check(torch.tensor(-1.0))
        wide = torch.cat([torch.linspace(-6, 6, 400_001), torch.logspace(-5, 5, 400_001)])
        unbounded = torch.cat([wide, -wide[400_001:]]).sort()[0]
        x = torch.linspace(0, 1, 100_001) if is_bounded else unbounded
    else:
        counts = torch.arange(50_000 if likelihood.pixels == "count" else 2)
        x = LEVELS if likelihood.pixels == "levels" else counts
    x = x.double()
    for out in random_outputs(likelihood, 5, spread=spread):
        p = likelihood(out).log_prob(x.reshape(-1, 1, 1, 1)).exp()
        total = torch.trapezoid(p, x) if likelihood.pixels == "real" else p.sum()
        assert total.item() == pytest.approx(1, abs=2e-4)


@pytest.mark.parametrize("option", OPTIONS)
def test_mean_agrees_with_samples(likelihood, option):
    likelihood = likelihood(option, (3, 1, 1))
    p = likelihood(random_outputs(likelihood, spread=0.3))
    x = p.sample((20_000,))
    assert likelihood.support.check(x).all()
    error = 5 * x.std(0) / math.sqrt(20_000)
    if "mixture" in option:  # its mean uses the means of the preceding channels
        error[1:] += 0.05
    elif likelihood.pixels == "levels":
        error += 0.5 / 255
    assert ((x.mean(0) - p.mean).abs() < error).all()


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("size", [1e2, 1e4])
def test_extreme_outputs_give_finite_values_and_gradients(likelihood, option, size):
    likelihood = likelihood(option, (1, 1, 4)).float()
    out = (size * torch.randn(50, likelihood.outputs, 1, 4)).requires_grad_()
    for x in (0.0, 100 / 255, 1.0):
        if x in (0, 1) or likelihood.pixels not in ("binary", "count"):
            log_p = likelihood(out).log_prob(torch.full((1, 1, 4), x))
            assert torch.isfinite(log_p).all()
            log_p.sum().backward()
    assert torch.isfinite(out.grad).all()
    assert torch.isfinite(likelihood(out).mean).all()


@pytest.mark.parametrize("option", OPTIONS)
def test_gradient_agrees_with_finite_differences(likelihood, option):
    likelihood = likelihood(option, (2, 1, 2))
    x = torch.tensor([0.0, 1.0, 77 / 255, 1.0]).double().round(decimals=12).reshape(2, 1, 2)
    x = to_kind(likelihood, x)
    out = random_outputs(likelihood).requires_grad_()
    assert torch.autograd.gradcheck(lambda out: likelihood(out).log_prob(x), out)


@pytest.mark.parametrize("option", OPTIONS)
def test_measure_for_each_kind_of_pixels(likelihood, option):
    likelihood = likelihood(option, (1, 2, 2))
    measures = {pixels: likelihood.measure(pixels) for pixels in ("binary", "levels", "real")}
    if likelihood.pixels == "binary":
        assert measures == {"binary": "probability", "levels": "grey", "real": "grey"}
    elif likelihood.pixels == "levels":
        assert measures["binary"] == measures["levels"] == "probability"
        likelihood.check_pixels(0.0, 1.0, "levels")
        with pytest.raises(ValueError, match=r"256 levels.* are real: set a density such as"):
            likelihood.check_pixels(0.0, 1.0, "real")
        with pytest.raises(ValueError, match=r"256 levels.* set data\.dequantize=false, or a"):
            likelihood.check_pixels(0.0, 1.0, "dequantized")
    elif likelihood.pixels == "count":
        assert measures["binary"] == likelihood.measure("count") == "probability"
        likelihood.check_pixels(0.0, 12.0, "count")
        with pytest.raises(ValueError, match=r"counts.* are real: set data\.kind=count"):
            likelihood.check_pixels(0.0, 12.0, "real")
        with pytest.raises(ValueError, match=r"up to 2\^24"):
            likelihood.check_pixels(0.0, 2.0**24 + 2, "count")
    else:
        assert set(measures.values()) == {"density"}


@pytest.mark.parametrize("option", OPTIONS)
def test_likelihood_of_values_outside_the_support_names_the_loss_for_the_data(likelihood, option):
    likelihood = likelihood(option, (1, 2, 2))
    if likelihood.support.check(torch.tensor(7.0)) and likelihood.pixels == "real":
        likelihood.check_pixels(0.0, 7.0, "count")
    elif likelihood.pixels != "count":
        with pytest.raises(ValueError, match="set loss=negative_binomial"):
            likelihood.check_pixels(0.0, 7.0, "count")


@pytest.mark.parametrize("option", [o for o in OPTIONS if o.split()[0] in COUNTS])
def test_counts_reach_the_encoder_as_logarithms(likelihood, option):
    x = torch.tensor([[[[0.0, 1.0], [9.0, 99.0]]]])
    seen = likelihood(option, (1, 2, 2)).transform_encoder_input(x)
    torch.testing.assert_close(seen, (1 + x).log())


@pytest.mark.parametrize("option", COUNTS)
def test_total_of_a_single_entry_is_no_exposure(likelihood, option):
    with pytest.raises(ValueError, match=r"set loss\.exposure=none"):
        likelihood(option, (1,))
