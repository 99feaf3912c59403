"""The two ways to a nan, on purpose, and that what is used here has neither."""

import json
import math

import pytest
import torch

from vaelab.distributions.normal import StandardNormal
from vaelab.likelihoods.bernoulli import Bernoulli
from vaelab.notes.overflow import FAST, MISTAKES, SigmoidThenLog, Unbounded
from vaelab.posteriors.diagonal import Diagonal


def log_p_and_slope(likelihood, logit, x):
    out = torch.tensor([[logit]], requires_grad=True)
    log_p = likelihood(out).log_prob(torch.tensor([[x]]))
    log_p.sum().backward()
    return log_p.item(), out.grad.item()


@pytest.mark.parametrize(("logit", "x"), [(3.0, 1.0), (-3.0, 0.3), (10.0, 0.0)])
def test_a_sigmoid_and_then_a_log_is_right_while_float32_can_tell(logit, x):
    wrong, right = (log_p_and_slope(each([1]), logit, x) for each in (SigmoidThenLog, Bernoulli))
    assert wrong == pytest.approx(right, rel=1e-2)


def test_a_sigmoid_of_17_is_one_and_its_log_ends_in_nan():
    """The largest number below 1 is 1 - 2^-24, a sigmoid of 24 ln 2 = 16.6."""
    assert torch.tensor(24 * math.log(2) + 0.8).sigmoid() == 1
    log_p, slope = log_p_and_slope(SigmoidThenLog([1]), 17.5, 1.0)
    assert math.isnan(log_p)  # (1 - 1) times -inf, although the model is right about this pixel
    assert math.isnan(slope)
    log_p, slope = log_p_and_slope(Bernoulli([1]), 17.5, 1.0)
    assert log_p == pytest.approx(-math.exp(-17.5), rel=1e-4)
    assert abs(slope) < 1e-6


def test_a_log_variance_of_89_is_infinite():
    p = StandardNormal(torch.zeros(1))
    for output, finite in ((88.0, True), (89.0, False)):
        q = Unbounded(1)(torch.tensor([[0.0, output]]))
        assert q.kl(p).isfinite().all() == finite


@pytest.mark.parametrize("output", [89.0, 1e4, -1e30, 1e30])
def test_the_bound_keeps_every_output_finite(output):
    raw = torch.tensor([[0.0, output]], requires_grad=True)
    q = Diagonal(1)(raw)
    kl = q.kl(StandardNormal(torch.zeros(1)))
    kl.sum().backward()
    assert kl.isfinite().all()
    assert q.rsample().isfinite().all()
    assert raw.grad.isfinite().all()


NAMED = {  # what a guarded run says of the mistake, in the step that it happens in
    "bce": "step 2, batch 1 of epoch 0: reconstruction not finite",
    "mse": "step 4, batch 3 of epoch 0: reconstruction, kl not finite",
}


@pytest.mark.parametrize("loss", MISTAKES)
def test_the_same_run_is_finite_without_the_mistake_and_not_with_it(train, tmp_path, loss):
    words = [f"loss={loss}", "data.binarize=none", "latent_dim=2", FAST[loss]]
    words.append("trainer.limit_train_batches=5")
    assert math.isfinite(train(*words)["elbo"])
    _, mistake = MISTAKES[loss]
    with pytest.raises(ValueError, match=NAMED[loss]):
        train(*words, *mistake, folder="stopped")
    assert not (tmp_path / "stopped" / "metrics.json").exists()
    with pytest.raises(ValueError, match="not finite"):
        train(*words, *mistake, "on_nan=ignore", folder="broken")
    assert json.loads((tmp_path / "broken" / "metrics.json").read_text())["elbo"] is None


RATES = ("1e-3", "3e-3", "1e-2", "3e-2", "1e-1")


@pytest.mark.slow
def test_two_latents_of_cross_entropy_are_a_nan_in_the_naive_form_and_never_in_ours(train):
    """60 steps at each learning rate, with both mistakes and without."""
    words = ["loss=bce", "data.binarize=none", "latent_dim=2", "trainer.max_epochs=2"]
    words += ["trainer.limit_train_batches=30", "trainer.limit_val_batches=null"]
    naive = [word for _, mistake in MISTAKES.values() for word in mistake]
    for rate in RATES:
        chosen = [*words, f"optimizer.lr={rate}"]
        assert math.isfinite(train(*chosen, folder=rate)["elbo"])
        if float(rate) < 3e-2:
            train(*chosen, *naive, folder=f"{rate}-naive")
            continue
        with pytest.raises(ValueError, match="reconstruction not finite"):
            train(*chosen, *naive, folder=f"{rate}-naive")
