"""Test the contract of objectives/base.py for every option of objective=."""

import math

import pytest
import torch
from conftest import options

from vaelab.runs.run import RunParts
from vaelab.runtime.metric_names import METRICS, OTHER_METRICS

OPTIONS = options("objective")
NEEDS = {"prior": ["prior=flow"]}
DETERMINISTIC = {"autoencoder", "rae", "wae_mmd", "swae", "aae"}  # accept a point posterior


@pytest.fixture
def run(config):
    def build(option, *words):
        words = [*words, "model.hidden=[16]", "latent_dim=4"]
        if option in ("rae", "autoencoder"):
            words.append("posterior=deterministic")
        words += NEEDS.get(option, []) if not any("prior=" in word for word in words) else []
        run = RunParts.build(config(f"objective={option}", *words))
        run.module.objective.dataset_size = 1000
        return run

    return build


def binary_images(count):
    return torch.rand(count, 1, 28, 28).round()


def terms_of(run, x, step=0):
    return run.module.objective(run.vae, x, step)


def trainable_parameters(run):
    """Return the trainable parameters by name; objective=prior freezes those of other parts."""
    parameters = run.module.named_parameters()
    return [(name, weight) for name, weight in parameters if weight.requires_grad]


@pytest.mark.parametrize("option", OPTIONS)
def test_terms_have_one_value_per_image_or_one_per_batch(run, option):
    run = run(option)
    terms = terms_of(run, binary_images(7))
    assert all(term.shape in ((7,), ()) for term in terms.values())
    assert all(torch.isfinite(term).all() for term in terms.values())
    assert run.module.objective.monitor.removeprefix("val/") in terms
    assert "loss" in terms


@pytest.mark.parametrize("option", OPTIONS)
def test_terms_have_names_and_units_in_the_table_of_metrics(run, option):
    terms = terms_of(run(option), binary_images(7))
    assert terms.keys() <= {**METRICS, **OTHER_METRICS}.keys()


@pytest.mark.parametrize("option", OPTIONS)
def test_only_objectives_with_a_density_log_an_elbo(run, option):
    terms = terms_of(run(option), binary_images(5))
    if option in DETERMINISTIC or option == "ms_ssim":
        assert not {"elbo", "iw_bound"} & terms.keys()
    else:
        torch.testing.assert_close(terms["elbo"], -terms["reconstruction"] - terms["kl"])


@pytest.mark.parametrize("option", OPTIONS)
def test_every_parameter_has_a_gradient(run, option):
    run = run(option)
    terms_of(run, binary_images(6))["loss"].mean().backward()
    for name, weight in trainable_parameters(run):
        assert weight.grad is not None, name
        assert torch.isfinite(weight.grad).all(), name
        if "bias" not in name:
            assert weight.grad.abs().sum() > 0, name


@pytest.mark.parametrize("option", OPTIONS)
def test_terms_of_the_fewest_images_and_in_inference_mode_are_finite(run, option):
    run = run(option)
    with torch.inference_mode():
        for x in (binary_images(run.module.objective.min_images), binary_images(3)):
            assert all(torch.isfinite(term).all() for term in terms_of(run, x).values())


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("size", [30.0, 1000.0])
def test_extreme_latents_give_finite_terms_and_gradients(run, option, size):
    run = run(option)
    with torch.no_grad():
        run.vae.encoder.layers[-1].weight.mul_(size)
    terms = terms_of(run, binary_images(6))
    assert all(torch.isfinite(term).all() for term in terms.values())
    terms["loss"].mean().backward()
    for name, weight in trainable_parameters(run):
        assert torch.isfinite(weight.grad).all(), name


@pytest.mark.parametrize("option", OPTIONS)
def test_terms_are_float32_under_bf16_autocast(run, option):
    run = run(option)
    with torch.autocast("cpu", torch.bfloat16):
        terms = run.module.terms((binary_images(4), torch.zeros(4, 0)))
    assert all(term.dtype == torch.float32 for term in terms.values())


@pytest.mark.parametrize("option", sorted(DETERMINISTIC))
def test_deterministic_posterior_is_accepted(run, option):
    terms = terms_of(run(option, "posterior=deterministic"), binary_images(5))
    assert torch.isfinite(terms["loss"]).all()


@pytest.mark.parametrize("option", sorted({*OPTIONS} - DETERMINISTIC))
def test_deterministic_posterior_is_refused_by_the_others(run, option):
    with pytest.raises(ValueError, match=r"posterior with a density|set posterior=(diagonal|vq)"):
        run(option, "posterior=deterministic", *(["prior=normal"] if option == "vq" else []))


def test_rae_refuses_a_stochastic_posterior(config):
    with pytest.raises(ValueError, match=r"deterministic latents.* Diagonal: set posterior="):
        RunParts.build(config("objective=rae", "posterior=diagonal"))


@pytest.mark.parametrize("option", ["wae_mmd", "swae", "aae", "rae"])
@pytest.mark.parametrize("prior", ["mixture", "vamp", "flow"])
def test_learned_prior_is_refused_without_a_kl(run, option, prior):
    with pytest.raises(ValueError, match="set prior=normal"):
        run(option, f"prior={prior}")


@pytest.mark.parametrize("option", ["ms_ssim", "vae_gan"])
def test_learned_scale_is_refused_without_a_likelihood(run, option):
    with pytest.raises(ValueError, match="set loss=bce"):
        run(option, "loss=gaussian")


@pytest.mark.parametrize("option", ["ms_ssim", "vae_gan"])
def test_data_without_image_shape_is_refused(config, option, tmp_path):
    import numpy as np

    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).random((40, 5)))
    with pytest.raises(ValueError, match=r"images \(C, H, W\).* data\.shape=\[5\]"):
        RunParts.build(config(f"objective={option}", "data=arrays", f"data.path={tmp_path}/x.npz"))


@pytest.mark.parametrize(
    ("option", "setting"),
    [
        ("beta_tc", "beta=-1"),
        ("dip", "diagonal=-1"),
        ("info_mmd", "alpha=2"),
        ("info_mmd", "strength=0"),
        ("info_mmd", "scales=[]"),
        ("wae_mmd", "weight=-1"),
        ("wae_mmd", "scales=[0.0]"),
        ("swae", "directions=0"),
        ("rae", "weight=-1"),
        ("ms_ssim", "scales=6"),
        ("ms_ssim", "window=4"),
        ("factor", "gamma=-1"),
        ("factor", "lr=0"),
        ("aae", "weight=-1"),
        ("vae_gan", "features=0"),
        ("vae_gan", "scale=0"),
    ],
)
def test_invalid_setting_raises(part, option, setting):
    with pytest.raises(ValueError, match=rf"objective\.{setting.partition('=')[0]}="):
        part(f"objective={option}", f"objective.{setting}")


@pytest.mark.parametrize(
    "choice", ["beta_tc", "info_mmd", "wae_mmd", "swae", "rae posterior=deterministic", "aae"]
)
def test_kl_weighting_is_refused_where_it_has_no_effect(train, choice):
    with pytest.raises(ValueError, match="no weighted KL term"):
        train(*f"objective={choice}".split(), "kl=warmup")


@pytest.mark.parametrize("option", ["factor", "aae", "vae_gan"])
def test_critic_has_its_own_learning_rate_and_is_in_the_checkpoint(train, option):
    numbers = train(f"objective={option}", "objective.lr=0.123", "model.hidden=[8]")
    path = numbers["folder"] / "checkpoints" / "last.ckpt"
    state = torch.load(path, weights_only=True)
    groups = state["optimizer_states"][0]["param_groups"]
    assert [group["lr"] for group in groups] == [1e-3, 0.123]
    assert any(name.startswith("objective.critic.") for name in state["state_dict"])
    assert RunParts.open(numbers["folder"]).step == 2


@pytest.mark.slow
@pytest.mark.parametrize("option", sorted({*OPTIONS} - {"vae_gan", "prior"}))
def test_trained_model_beats_the_mean_image_on_the_embedded_digits(train, option):
    """Compare squared errors, and log-likelihoods where training maximises a bound on them.

    vae_gan needs more than 15 epochs, and prior needs start=.
    """
    words = ["data.binarize=none"] if option in ("ms_ssim", "vae_gan") else []
    words += ["model=conv"] if option == "vae_gan" else []
    words += ["posterior=deterministic"] if option in ("rae", "autoencoder") else []
    numbers = train(
        f"objective={option}",
        *words,
        "trainer.max_epochs=15",
        "trainer.limit_train_batches=1.0",
        "trainer.limit_val_batches=1.0",
        "data.batch_size=64",
        "optimizer.lr=2e-3",
    )
    run = RunParts.open(numbers["folder"])
    train_x, test_x = (
        run.data.prepare(run.data.splits[split].images).double() for split in ("train", "test")
    )
    mean = train_x.mean(0).clamp(1e-3, 1 - 1e-3)
    assert numbers["rmse"] < 0.9 * (test_x - mean).square().mean().sqrt().item()
    maximises_bound = option not in DETERMINISTIC | {"ms_ssim", "info_mmd", "vae_gan"}
    if maximises_bound:
        baseline = -torch.distributions.Bernoulli(mean).log_prob(test_x).flatten(1).sum(1).mean()
        assert numbers["nll"] < 0.9 * baseline.item()
        assert math.isfinite(numbers["elbo"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # raised inside torch during compilation
@pytest.mark.parametrize("option", ["dreg", "piwae", "factor", "vae_gan", "rae", "dip"])
def test_compiled_objective_has_the_same_gradient(run, option):
    words = ["objective.regularizer=gradient_penalty"] if option == "rae" else []
    run, x, gradients = run(option, *words), binary_images(6), []
    run.module.eval()  # in training mode each call updates the spectral normalization
    with torch._inductor.config.patch(fallback_random=True):  # type: ignore[attr-defined]
        for compiled in (False, True):
            if compiled:
                run.module.objective.compile()
            torch.manual_seed(0)
            run.module.zero_grad()
            terms_of(run, x)["loss"].mean().backward()
            gradients.append([weight.grad.clone() for weight in run.module.parameters()])
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-4)
