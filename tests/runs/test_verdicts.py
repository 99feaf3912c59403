"""Test the sentences about misleading numbers: their cause, and that no advice is set already."""

import json
import math

import pytest
import torch
from tiny import MLP, TINY

from vaelab.metrics.latents import bound_aggregate_kl
from vaelab.runs.metrics_file import list_remarks
from vaelab.runs.verdicts import find_verdicts, is_collapsed

HEALTHY = {
    "elbo": -100.0, "kl": 20.0, "active_units": 20, "rmse": 0.1, "decoder_scale": 0.11,
    "scale_kind": "learned", "kl_weighting": "constant", "final_weight": 1.0,
    "aggregate_kl_bound": 0.4, "mutual_information": 5.0, "mutual_information_limit": 6.2,
    "aggregate_kl": 15.0, "total_correlation": 2.0, "pixels": "levels", "measure": "density",
    "sampler": "prior",
}  # fmt: skip
COLLAPSED = {"kl": 0.001, "active_units": 0, "mutual_information": None}
FLOOR = {"decoder_scale": 1 / 256, "measure": "density"}


def verdict(**numbers):
    """Return the only sentence about healthy numbers with these changes; None removes a number."""
    merged = {key: value for key, value in (HEALTHY | numbers).items() if value is not None}
    (sentence,) = find_verdicts(merged)
    return sentence


def test_healthy_numbers_have_no_verdict():
    assert find_verdicts(HEALTHY) == []
    assert find_verdicts({}) == []


@pytest.mark.parametrize(
    ("numbers", "collapsed"),
    [
        ({"kl": 0.05, "active_units": 3}, True),  # the information is at most the KL
        ({"kl": 30.0, "active_units": 0, "final_weight": 1.0}, True),  # the same shift for all x
        ({"kl": 30.0, "active_units": 0}, True),  # an older run
        (
            {"kl": 30.0, "active_units": 0, "final_weight": 0.0},
            False,
        ),  # without a KL in the loss z has any scale
        ({"active_units": 0}, False),  # a deterministic posterior
        ({"kl": 30.0, "active_units": 0, "final_weight": 1.0, "mutual_information": 4.0}, False),
        ({"kl": 5.0, "active_units": 2, "mutual_information": 0.02}, True),
        ({"kl": 5.0, "active_units": 2, "final_weight": 1.0}, False),
        ({}, False),
    ],
)
def test_collapse_is_named_only_where_the_latents_have_no_information(numbers, collapsed):
    assert is_collapsed(numbers) == collapsed
    assert any("posterior collapse" in words for words in find_verdicts(numbers)) == collapsed


KL_ADVICE = ("kl=warmup", "kl=free_bits", "a smaller kl.beta", "loss.scale=learned")


@pytest.mark.parametrize("weighting", ["constant", "warmup", "free_bits", "cyclical", None])
@pytest.mark.parametrize("scale", ["fixed", "learned", None])
def test_remedies_of_a_collapse_leave_out_what_is_set(weighting, scale):
    weight = None if weighting is None else 1.0
    kinds = {"scale_kind": scale, "decoder_scale": None, "rmse": None}
    sentence = verdict(**COLLAPSED, **kinds, kl_weighting=weighting, final_weight=weight)
    assert f"kl={weighting}" not in sentence
    assert ("loss.scale=learned" in sentence) == (scale == "fixed")
    assert ("kl.beta" in sentence) == (weighting is not None)
    assert any(each in sentence for each in (*KL_ADVICE, "a larger optimizer.lr"))


def test_zero_weight_advises_no_smaller_one():
    sentence = verdict(**COLLAPSED, final_weight=0.0, decoder_scale=None)
    assert "kl.beta" not in sentence


@pytest.mark.parametrize(
    ("scale", "rmse", "words"),
    [
        (1.0, 0.16, "6.2 times the RMSE 0.16: the KL weighs 39.1 times"),
        (0.01, 0.1, "0.1 times the RMSE 0.1: the KL weighs only 0.01 times"),
    ],
)
def test_fixed_scale_far_from_the_error_is_compared_with_it(scale, rmse, words):
    numbers = {"decoder_scale": scale, "rmse": rmse}
    sentence = verdict(**numbers, scale_kind="fixed")
    assert words in sentence
    assert sentence.endswith(f"set loss.scale=learned, or loss.scale={rmse:.2g}")
    for advised in ({"scale_kind": "learned"}, {"scale_kind": "fixed", "decoder_scale": rmse}):
        assert find_verdicts(HEALTHY | numbers | advised) == []


@pytest.mark.parametrize(
    ("pixels", "remedy"),
    [
        ("levels", "with other runs, or set data.dequantize=true"),
        ("binary", "with other runs, or set loss=bce"),
        ("dequantized", "with other runs"),
        ("real", "with other runs"),
    ],
)
def test_scale_at_its_floor_is_named(pixels, remedy):
    sentence = verdict(**FLOOR, pixels=pixels)
    assert "reached its floor" in sentence
    assert sentence.endswith(remedy)
    assert find_verdicts(HEALTHY | FLOOR | {"pixels": pixels, "measure": "probability"}) == []


def test_scale_of_small_real_data_is_not_at_its_floor():
    numbers = HEALTHY | FLOOR | {"pixels": "real", "scale_floor": FLOOR["decoder_scale"] / 100}
    assert find_verdicts(numbers) == []
    assert "reached its floor" in verdict(**FLOOR, scale_floor=FLOOR["decoder_scale"])


def test_unusable_prior_samples_name_the_sampler_and_not_one_that_is_used():
    sentence = verdict(aggregate_kl_bound=1846.0, final_weight=1e-6)
    assert "at least 1846 nats" in sentence
    assert sentence.endswith("sampler=gmm, or train with a larger kl.beta")
    assert "kl.beta" not in verdict(aggregate_kl_bound=1846.0, final_weight=None, kl_weighting=None)
    assert find_verdicts(HEALTHY | {"aggregate_kl_bound": 1846.0, "sampler": "gmm"}) == []


def test_information_at_its_limit_and_negative_correlation_are_explained():
    assert "is at its limit ln N = 6.20" in verdict(mutual_information=6.19)
    assert "whose noise may make it negative" in verdict(total_correlation=-0.3)


def test_recorded_sentences_and_absent_parts_are_remarks():
    numbers = HEALTHY | {"weight_warning": "a", "kl_warning": "b", "absent": {"codes": "c"}}
    assert list_remarks(numbers) == ["b", "a", "no codes: c"]


def test_non_finite_metric_is_named():
    assert "non-finite metrics: ELBO." in find_verdicts(HEALTHY | {"elbo": None})[0]


def test_bound_is_the_kl_of_a_normal_and_below_that_of_a_mixture():
    z = torch.tensor([3.0, 0.0]) + torch.tensor([2.0, 1.0]) * torch.randn(200_000, 2)
    exact = 0.5 * (4 + 9 - 1 - math.log(4))
    assert bound_aggregate_kl(z) == pytest.approx(exact, rel=0.01)
    two_modes = torch.cat([torch.full((5000, 1), -1.0), torch.full((5000, 1), 1.0)])
    assert bound_aggregate_kl(two_modes) == pytest.approx(0, abs=1e-6)  # KL(q(z) || p) is infinite
    assert math.isfinite(bound_aggregate_kl(torch.ones(5, 2)))


def test_run_with_a_tiny_weight_says_that_prior_samples_are_unusable(train):
    words = (*MLP, "latent_dim=20", "optimizer.lr=1e-2", "trainer.limit_train_batches=60")
    words += ("trainer.max_steps=-1", "trainer.max_epochs=2")
    numbers = train(*words, "kl.beta=1e-6", folder="small")
    assert numbers["aggregate_kl_bound"] > 10
    sentence = "samples of p(z) are unusable"
    assert any(sentence in words for words in find_verdicts(numbers))
    assert "Samples of p(z) are unusable" in (numbers["folder"] / "report.html").read_text()
    assert not any(sentence in words for words in find_verdicts(train(*words, folder="one")))


def test_run_with_a_large_fixed_scale_is_told_so_and_the_advice_helps(train):
    words = (*TINY, "loss=mse", "data.binarize=none")
    numbers = train(*words, folder="fixed")
    (sentence,) = [words for words in find_verdicts(numbers) if "the decoder scale" in words]
    advice = sentence.rpartition("or ")[2]
    for override in ("loss.scale=learned", advice):
        advised = train(*words, override, folder=override)
        assert not any("the decoder scale" in words for words in find_verdicts(advised))


@pytest.mark.parametrize("on_nan", ["skip", "restore", "stop"])
@pytest.mark.parametrize("clip", ["null", "1.0"])
def test_error_about_nan_advises_nothing_that_is_set(train, on_nan, clip):
    """A learning rate of 1e30 makes every step non-finite, so that each way stops in the end."""
    from vaelab.runtime.errors import UserError

    words = ("optimizer=sgd", "optimizer.lr=1e30", *TINY, "trainer.limit_train_batches=30")
    words += ("trainer.max_steps=-1", f"on_nan={on_nan}", f"trainer.gradient_clip_val={clip}")
    with pytest.raises(UserError, match=r"lower optimizer\.lr") as error:
        train(*words)
    assert ("set on_nan=skip" in str(error.value)) == (on_nan == "stop")
    assert ("set trainer.gradient_clip_val" in str(error.value)) == (clip == "null")


def test_metrics_of_an_old_run_have_verdicts():
    old = {"kl": 0.01, "active_units": 0, "decoder_scale": 1.0, "rmse": 0.1, "elbo": -1.0}
    assert "posterior collapse (KL 0.01 nats" in find_verdicts(json.loads(json.dumps(old)))[0]
