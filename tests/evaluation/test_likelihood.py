import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from objectives.toy import LOG_P, Toy, images, log_weights

from vaelab.estimators.importance import importance_bound
from vaelab.evaluation.likelihood import evaluate_likelihood
from vaelab.metrics.linear import exact_elbo
from vaelab.runs.run import RunParts
from vaelab.runtime.seeding import Stream, seeded_noise


@pytest.mark.parametrize(
    ("q", "samples", "bound"),
    [
        ((1.0, 0.3), 1, -2.077778),
        ((1.0, 0.3), 5, -1.9494),
        ((1.0, 0.3), 50, -1.9323),
        ((0.0, 1.0), 1, -6.725791),
        ((0.0, 1.0), 5, -2.453),
        ((0.0, 1.0), 50, -1.9590),
        ((0.0, 1.0), 500, -1.9334),
    ],
)
def test_importance_bounds_of_the_toy_have_the_known_values(q, samples, bound):
    count = 1_000_000 // samples
    bounds = torch.cat([importance_bound(Toy(*q), x, samples) for x in images(count).split(500)])
    error = bounds.std().item() / math.sqrt(count)
    assert bounds.mean().item() == pytest.approx(bound, abs=4 * error + 5e-5)


def test_exact_posterior_gives_log_p_for_any_number_of_samples():
    for samples in (1, 7, 5000):
        bound = importance_bound(Toy(), images(3), samples)
        torch.testing.assert_close(bound, torch.full((3,), LOG_P).double())


def test_more_samples_tighten_the_bound():
    drawn = log_weights(Toy(0.0, 1.0), images(50), 64)
    bounds = [
        (drawn.unflatten(0, (-1, k)).logsumexp(1) - math.log(k)).mean(0) for k in (1, 2, 8, 64)
    ]
    assert all((looser <= tighter).all() for looser, tighter in pairwise(bounds))


def test_bound_does_not_depend_on_chunks(monkeypatch):
    monkeypatch.setattr("vaelab.estimators.importance.MAX_DECODER_OUTPUTS", 30)
    torch.manual_seed(1)
    chunked = importance_bound(Toy(0.0, 1.0), images(10), 7)
    torch.manual_seed(1)
    drawn = torch.cat([log_weights(Toy(0.0, 1.0), images(10), k) for k in (3, 3, 1)])
    torch.testing.assert_close(chunked, drawn.logsumexp(0) - math.log(7))


@pytest.fixture
def run(config):
    run = RunParts.build(config("model.hidden=[16]", "latent_dim=3"))
    run.data.setup()
    run.vae.initialize(run.data.prepare(run.data.splits["train"].images))
    return run


def test_numbers_equal_those_of_an_explicit_evaluation(run):
    numbers = evaluate_likelihood(run.vae, run.data, "test", samples=20)
    x = run.data.splits["test"].images / 255
    with torch.no_grad():
        mean, raw = run.vae.encoder(x).chunk(2, -1)
        scale = torch.exp(7 * torch.tanh(raw / 7))
        kl = (mean**2 + scale**2 - 1 - 2 * scale.log()).sum(1) / 2
        noise = torch.randn(20, 500, 3)
        z = mean + scale * noise
        logits = run.vae.decoder(z.flatten(0, 1)).unflatten(0, (20, 500))
        log_px = -torch.nn.functional.softplus(torch.where(x > 0.5, -logits, logits)).sum((2, 3, 4))
        log_w = log_px + (noise**2 / 2 - z**2 / 2 + scale.log()).sum(-1)
    nll = -(log_w.logsumexp(0) - math.log(20)).mean().item()
    assert numbers["kl"] == pytest.approx(kl.mean().item(), rel=1e-5)
    noise_level = log_px.std(0).mean().item() / math.sqrt(500)
    assert numbers["reconstruction"] == pytest.approx(-log_px.mean().item(), abs=4 * noise_level)
    assert numbers["nll"] == pytest.approx(nll, abs=4 * noise_level)
    terms = numbers["reconstruction"] + numbers["kl"]
    assert numbers["elbo"] == pytest.approx(-terms, rel=1e-6)
    assert sum(numbers["kl_per_dimension"]) == pytest.approx(numbers["kl"])
    assert numbers["bits_per_dim"] == pytest.approx(numbers["nll"] / 784 / math.log(2))
    assert numbers["images"] == 500
    error = (run.vae.decode(mean).mean - x).square().mean().sqrt().item()
    assert numbers["rmse"] == pytest.approx(error, rel=1e-5)
    assert numbers["active_units"] == int((mean.var(0) > 0.01).sum())


def test_standard_error_is_that_of_the_mean_over_images(run):
    data = run.data
    numbers = evaluate_likelihood(run.vae, data, "val", samples=2)
    batches = data.batches("val")
    bounds = []
    with torch.no_grad():
        for number, (x, *_) in zip(batches.batch_numbers, batches, strict=True):
            with seeded_noise(Stream.EVALUATION, 0, number):
                q = run.vae.encode(data.prepare(x))
                q.rsample()  # the sample of the ELBO comes first
                bounds.append(importance_bound(run.vae, data.prepare(x), 2))
    nll = -torch.cat(bounds)
    assert numbers["nll"] == pytest.approx(nll.mean().item(), rel=1e-6)
    assert numbers["nll_se"] == pytest.approx(nll.std().item() / math.sqrt(500), rel=0.01)


def test_active_units_are_dimensions_whose_mean_varies(run):
    with torch.no_grad():
        run.vae.encoder.layers[-1].weight[0].zero_()
        run.vae.encoder.layers[-1].weight[1:3].mul_(100)
    assert evaluate_likelihood(run.vae, run.data, "val", samples=1)["active_units"] == 2


def test_linear_vae_has_an_exact_elbo(config):
    run = RunParts.build(config("model.hidden=[]", "loss=mse", "data.binarize=none"))
    run.data.setup()
    numbers = evaluate_likelihood(run.vae, run.data, "val", samples=1)
    with torch.no_grad():
        expected = exact_elbo(run.vae, run.data.prepare(run.data.splits["val"].images)).mean()
    assert numbers["elbo_exact"] == pytest.approx(expected.item(), rel=1e-5)


def test_optimal_scale_is_calibrated_on_training_images(config):
    words = ("model.hidden=[16]", "loss=gaussian", "loss.scale=optimal", "data.binarize=none")
    run = RunParts.build(config(*words))
    run.data.setup()
    numbers = evaluate_likelihood(run.vae, run.data, "test", samples=1)
    x = run.data.prepare(run.data.splits["train"].images)
    with torch.no_grad():
        errors = (run.vae.decode(run.vae.encode(x).rsample()).mean - x).square().mean()
    assert numbers["decoder_scale"] == pytest.approx(errors.sqrt().item(), rel=1e-3)


def test_evaluation_after_training_does_not_change_batch_statistics(config):
    words = ("model=resnet", "model.channels=[4,6]", "model.blocks=1", "loss=gaussian")
    run = RunParts.build(config(*words, "data.binarize=none"))
    run.data.setup()
    run.module.train()
    before = {name: each.clone() for name, each in run.vae.state_dict().items()}
    evaluate_likelihood(run.vae, run.data, samples=1)
    assert all(torch.equal(each, before[name]) for name, each in run.vae.state_dict().items())


@pytest.mark.parametrize("samples", [0, -3, "many", 1.5])
def test_invalid_number_of_samples_is_refused(run, samples):
    with pytest.raises(ValueError, match=f"samples={samples}: it must be an integer"):
        evaluate_likelihood(run.vae, run.data, "test", samples=samples)


def test_seed_repeats_the_numbers_and_random_state_is_untouched(run):
    state = torch.get_rng_state()
    first = evaluate_likelihood(run.vae, run.data, "val", samples=3, seed=1)
    assert torch.equal(state, torch.get_rng_state())
    torch.rand(5)
    assert evaluate_likelihood(run.vae, run.data, "val", samples=3, seed=1) == first
    assert evaluate_likelihood(run.vae, run.data, "val", samples=3, seed=2) != first


def test_two_processes_give_the_numbers_of_one(run, monkeypatch):
    whole = evaluate_likelihood(run.vae, run.data, "test", samples=3)
    parts, sizes = [], []
    for rank in (0, 1):
        monkeypatch.setattr("vaelab.data.base.rank_and_world_size", lambda rank=rank: (rank, 2))
        parts.append(evaluate_likelihood(run.vae, run.data, "test", samples=3))
        sizes.append(sum(len(x) for x, *_ in run.data.batches("test")))
    assert sum(sizes) == 500
    for name in ("elbo", "reconstruction", "kl", "nll"):
        mean = np.average([part[name] for part in parts], weights=sizes)
        assert mean == pytest.approx(whole[name], rel=1e-12)


def test_mean_hardly_depends_on_the_size_of_evaluation_batches(run, monkeypatch):
    whole = evaluate_likelihood(run.vae, run.data, "test", samples=1)
    monkeypatch.setattr("vaelab.data.base.EVALUATION_BATCH", 77)  # does not divide 500
    assert evaluate_likelihood(run.vae, run.data, "test", samples=1)["kl"] == pytest.approx(
        whole["kl"]
    )


def test_grayscale_pixels_as_probabilities_have_no_nll_and_no_bits_per_dim(config):
    run = RunParts.build(config("model.hidden=[16]", "latent_dim=3", "data.binarize=none"))
    run.data.setup()
    numbers = evaluate_likelihood(run.vae, run.data, "val", samples=2)
    assert numbers["measure"] == "grey"
    assert not {"nll", "nll_se", "bits_per_dim", "bits_sha256", "samples"} & numbers.keys()


def test_density_has_an_nll_but_no_bits_per_dim(config):
    run = RunParts.build(config("model.hidden=[16]", "loss=mse", "data.binarize=none"))
    run.data.setup()
    numbers = evaluate_likelihood(run.vae, run.data, "val", samples=2)
    assert numbers["measure"] == "density"
    assert "nll" in numbers
    assert "bits_per_dim" not in numbers
    assert numbers["decoder_scale"] == 1.0


@pytest.mark.parametrize(
    ("choices", "extra"),
    [
        (("data.dequantize=true", "loss=gaussian"), 8),
        (("loss=discretized_logistic",), 0),
        (("loss=categorical",), 0),
    ],
)
def test_bits_per_dim_of_256_levels(config, choices, extra):
    run = RunParts.build(config("model.hidden=[8]", "data.binarize=none", *choices))
    run.data.setup()
    numbers = evaluate_likelihood(run.vae, run.data, "val", samples=1)
    expected = numbers["nll"] / 784 / math.log(2) + extra
    assert numbers["bits_per_dim"] == pytest.approx(expected)


def test_density_of_undequantized_levels_has_no_bits_per_dim(config):
    run = RunParts.build(config("model.hidden=[8]", "data.binarize=none", "loss=gaussian"))
    run.data.setup()
    assert "bits_per_dim" not in evaluate_likelihood(run.vae, run.data, "val", samples=1)


def test_uniform_density_of_dequantized_levels_has_8_bits_per_dim(config):
    run = RunParts.build(config("data.dequantize=true", "data.binarize=none", LOSS))
    run.data.setup()
    with torch.no_grad():
        run.vae.decoder.layers[-1].weight.zero_()
        run.vae.decoder.layers[-1].bias.zero_()
    assert evaluate_likelihood(run.vae, run.data, "val", samples=1)[
        "bits_per_dim"
    ] == pytest.approx(8, abs=1e-3)


LOSS = "loss=continuous_bernoulli"


def test_optimal_laplace_scale_is_calibrated_on_absolute_errors(config):
    choices = ("loss=laplace", "loss.scale=optimal", "model.hidden=[8]", "data.binarize=none")
    run = RunParts.build(config(*choices))
    run.data.setup()
    numbers = evaluate_likelihood(run.vae, run.data, "val", samples=1)
    x = run.data.prepare(run.data.splits["train"].images)
    with torch.no_grad():
        error = (run.vae.decode(run.vae.encode(x).rsample()).mean - x).abs().mean().item()
    assert numbers["decoder_scale"] == pytest.approx(error, rel=0.01)
    assert "implied_scale" not in numbers


@pytest.mark.parametrize("posterior", ["iaf", "planar"])
def test_constant_posterior_with_estimated_mean_has_no_active_units(config, posterior):
    run = RunParts.build(config(f"posterior={posterior}", "model.hidden=[8]", "latent_dim=4"))
    run.data.setup()
    with torch.no_grad():
        for weight in run.vae.encoder.parameters():
            weight.zero_()  # q(z|x) is the same for every x
    assert evaluate_likelihood(run.vae, run.data, "val", samples=1)["active_units"] == 0
