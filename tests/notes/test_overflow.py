"""Two numerical mistakes cause NaN; vaelab's own likelihood and posterior avoid them."""

import json
import math

import pytest
import torch

from vaelab.distributions.normal import StandardNormal
from vaelab.likelihoods.bernoulli import Bernoulli
from vaelab.notes.overflow import HIGH_LEARNING_RATES, MISTAKES, SigmoidThenLog, Unbounded
from vaelab.posteriors.diagonal import Diagonal


def log_prob_and_gradient(likelihood, logit, x):
    out = torch.tensor([[logit]], requires_grad=True)
    log_p = likelihood(out).log_prob(torch.tensor([[x]]))
    log_p.sum().backward()
    return log_p.item(), out.grad.item()


@pytest.mark.parametrize(("logit", "x"), [(3.0, 1.0), (-3.0, 0.3), (10.0, 0.0)])
def test_sigmoid_then_log_is_accurate_for_moderate_logits(logit, x):
    wrong, right = (
        log_prob_and_gradient(likelihood([1]), logit, x)
        for likelihood in (SigmoidThenLog, Bernoulli)
    )
    assert wrong == pytest.approx(right, rel=1e-2)


def test_sigmoid_then_log_is_nan_for_a_logit_of_17():
    """The largest float32 below 1 is 1 - 2^-24, the sigmoid of about 24 ln 2 = 16.6."""
    assert torch.tensor(24 * math.log(2) + 0.8).sigmoid() == 1
    log_p, gradient = log_prob_and_gradient(SigmoidThenLog([1]), 17.5, 1.0)
    assert math.isnan(log_p)  # (1 - 1) * -inf, although the prediction of this pixel is correct
    assert math.isnan(gradient)
    log_p, gradient = log_prob_and_gradient(Bernoulli([1]), 17.5, 1.0)
    assert log_p == pytest.approx(-math.exp(-17.5), rel=1e-4)
    assert abs(gradient) < 1e-6


def test_unbounded_log_variance_of_89_overflows():
    p = StandardNormal(torch.zeros(1))
    for output, finite in ((88.0, True), (89.0, False)):
        q = Unbounded(1)(torch.tensor([[0.0, output]]))
        assert q.elementwise_kl(p).isfinite().all() == finite


@pytest.mark.parametrize("output", [89.0, 1e4, -1e30, 1e30])
def test_bounded_posterior_is_finite_for_every_output(output):
    raw = torch.tensor([[0.0, output]], requires_grad=True)
    q = Diagonal(1)(raw)
    kl = q.elementwise_kl(StandardNormal(torch.zeros(1)))
    kl.sum().backward()
    assert kl.isfinite().all()
    assert q.rsample().isfinite().all()
    assert raw.grad.isfinite().all()


NAN_MESSAGES = {  # the error of a guarded run, in the step in which the mistake occurs
    "bce": "step 2, batch 1 of epoch 0: NaN or infinity in reconstruction",
    "mse": "step 4, batch 3 of epoch 0: NaN or infinity in reconstruction, kl",
}


@pytest.mark.parametrize("loss", MISTAKES)
def test_run_is_non_finite_only_with_the_mistake(train, tmp_path, loss):
    words = [f"loss={loss}", "data.binarize=none", "latent_dim=2", HIGH_LEARNING_RATES[loss]]
    words.append("trainer.limit_train_batches=5")
    assert math.isfinite(train(*words)["elbo"])
    _, mistake = MISTAKES[loss]
    with pytest.raises(ValueError, match=NAN_MESSAGES[loss]):
        train(*words, *mistake, folder="stopped")
    assert not (tmp_path / "stopped" / "metrics.json").exists()
    with pytest.raises(ValueError, match="NaN or infinite"):
        train(*words, *mistake, "on_nan=ignore", folder="broken")
    assert json.loads((tmp_path / "broken" / "metrics.json").read_text())["elbo"] is None


LEARNING_RATES = ("1e-3", "3e-3", "1e-2", "3e-2", "1e-1")


@pytest.mark.slow
def test_bce_with_two_latents_is_nan_only_with_the_naive_formulas(train):
    """Train 60 steps at each learning rate, with both mistakes and without."""
    words = ["loss=bce", "data.binarize=none", "latent_dim=2", "trainer.max_epochs=2"]
    words += ["trainer.limit_train_batches=30", "trainer.limit_val_batches=null"]
    naive = [word for _, mistake in MISTAKES.values() for word in mistake]
    for rate in LEARNING_RATES:
        overrides = [*words, f"optimizer.lr={rate}"]
        assert math.isfinite(train(*overrides, folder=rate)["elbo"])
        if float(rate) < 3e-2:
            train(*overrides, *naive, folder=f"{rate}-naive")
            continue
        with pytest.raises(ValueError, match="NaN or infinity in reconstruction"):
            train(*overrides, *naive, folder=f"{rate}-naive")
