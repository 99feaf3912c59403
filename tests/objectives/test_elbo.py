"""Test the ELBO on the conjugate toy model, where log p(x) is known."""

import math

import pytest
import torch
from objectives.toy import LOG_P, Toy, images, log_weights

from vaelab.kl.constant import ConstantWeight
from vaelab.kl.warmup import Warmup
from vaelab.objectives.elbo import ELBO


def test_log_weights_of_the_exact_posterior_equal_log_p():
    log_w = log_weights(Toy(), images(10), 100)
    torch.testing.assert_close(log_w, torch.full((100, 10), LOG_P).double())


@pytest.mark.parametrize(
    ("q", "elbo"), [((1.2, 0.2), LOG_P), ((1.0, 0.3), -2.077778), ((0.0, 1.0), -6.725791)]
)
def test_elbo_of_the_toy_has_its_known_value(q, elbo):
    terms = ELBO(ConstantWeight())(Toy(*q), images(100_000), 0)
    error = terms["elbo"].std().item() / math.sqrt(100_000)
    assert terms["elbo"].mean().item() == pytest.approx(elbo, abs=4 * error + 1e-6)


def test_loss_is_minus_the_elbo_at_weight_1():
    terms = ELBO(ConstantWeight())(Toy(1.0, 0.3), images(5), 0)
    torch.testing.assert_close(terms["loss"], -terms["elbo"])


def test_kl_weight_changes_the_loss_but_not_the_elbo():
    for step, weight in ((0, 0.0), (50, 0.5), (1000, 1.0)):
        terms = ELBO(Warmup(100))(Toy(1.0, 0.3), images(5), step)
        torch.testing.assert_close(terms["loss"], terms["reconstruction"] + weight * terms["kl"])
        torch.testing.assert_close(terms["elbo"], -terms["reconstruction"] - terms["kl"])
        assert terms["kl_weight"].item() == weight


def test_terms_have_one_value_per_image():
    terms = ELBO(ConstantWeight())(Toy(), images(7), 0)
    assert all(terms[name].shape == (7,) for name in ("loss", "reconstruction", "kl", "elbo"))
