"""objective=perceptual: the adaptive weight of VQGAN, the delayed critic, and the plain ELBO."""

import pytest
import torch
from torch import nn

from vaelab.features import perceptual
from vaelab.features.perceptual import ClassifierDistance, load_perceptual_distance
from vaelab.models.patch import PatchCritic
from vaelab.objectives.perceptual import compute_adaptive_weight
from vaelab.runs.run import RunParts
from vaelab.runtime.errors import UserError
from vaelab.training.nan_diagnosis import find_non_finite

X = torch.rand(6, 1, 28, 28, generator=torch.Generator().manual_seed(0))
SMALL = ("model.hidden=[16]", "latent_dim=4", "loss=mse", "data.binarize=none")


@pytest.fixture
def build(config):
    def build(*words, objective="perceptual"):
        torch.manual_seed(0)
        return RunParts.build(config(f"objective={objective}", *SMALL, *words))

    return build


def compute_terms(run, step=0):
    torch.manual_seed(1)
    return run.module.objective(run.vae, X, step)


def compute_gradients(loss, module):
    weights = [w for w in module.parameters() if w.requires_grad]
    gradients = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True)
    return [0 * w if g is None else g for w, g in zip(weights, gradients, strict=True)]


def test_adaptive_weight_is_the_ratio_of_the_norms_of_known_gradients():
    """The gradients by w of a sum of w_i^2 and of 3 w_1 are 2 w and (3, 0)."""
    w = torch.tensor([3.0, 4.0], requires_grad=True)
    weight = compute_adaptive_weight(w.square().sum(), 3 * w[0], w)
    assert weight.item() == pytest.approx(10 / (3 + 1e-6), rel=1e-6)
    assert not weight.requires_grad
    assert compute_adaptive_weight(w.square().sum(), 0 * w[0], w) == 1e6


def test_loss_and_gradients_are_those_of_equation_7(build):
    run = build("objective.weight=2", "objective.critic_weight=0.3", "kl.beta=0.5")
    vae, objective = run.vae, run.module.objective.eval()
    terms = compute_terms(run)
    torch.manual_seed(1)
    q = vae.encode(X)
    z = q.rsample()
    y = vae.decode(z).mean
    kl = torch.distributions.kl_divergence(q, vae.latents())
    distance = 28 * 28 * ClassifierDistance("digits")(X, y)
    error = -vae.decode(z).log_prob(X) + 2 * distance
    fooling = -objective.critic(y).sigmoid().log().mean(1)
    last = vae.decoder.output.weight
    norms = [
        torch.autograd.grad(each.mean(), last, retain_graph=True)[0].square().sum().sqrt()
        for each in (error, fooling)
    ]
    expected = norms[0] / norms[1]
    torch.testing.assert_close(terms["adaptive_weight"], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(terms["perceptual"], distance)
    torch.testing.assert_close(terms["criterion"], -(error + 0.5 * kl))
    model = (error + 0.5 * kl + 0.3 * expected.detach() * fooling).mean()
    expected_gradients = compute_gradients(model, vae)
    gradients = compute_gradients(terms["loss"].mean(), vae)
    for gradient, known in zip(gradients, expected_gradients, strict=True):
        assert (gradient - known).abs().max() < 1e-4 * known.abs().max()
    critic = compute_gradients(terms["critic"], objective)
    torch.testing.assert_close(compute_gradients(terms["loss"].mean(), objective), critic)
    assert any(gradient.abs().sum() > 0 for gradient in critic)


def test_zero_weights_are_the_elbo_bit_for_bit(build):
    plain, run = build(objective="elbo"), build("objective.weight=0", "objective.critic_weight=0")
    expected, terms = compute_terms(plain), compute_terms(run)
    assert terms.keys() == expected.keys()
    for name in terms:
        assert torch.equal(terms[name], expected[name])
    assert run.module.objective.criterion == plain.module.objective.criterion == "val/elbo"
    assert not list(run.module.objective.parameters())


def test_critic_has_no_effect_before_its_start(build):
    without, run = build("objective.critic_weight=0"), build("objective.critic_start=3")
    expected, before, after = compute_terms(without), compute_terms(run, 2), compute_terms(run, 3)
    assert torch.equal(before["loss"], expected["loss"])
    assert "fooling" not in before
    assert after["fooling"].shape == (6,)
    assert all(
        (g == 0).all() for g in compute_gradients(before["loss"].mean(), run.module.objective)
    )
    objective = run.module.objective
    assert [objective.has_arrived(step) for step in (1, 3, 4)] == [False, False, True]


def test_evaluation_leaves_the_critic_out_of_the_loss(build):
    run = build("objective.critic_weight=0.3")
    with torch.no_grad():
        terms = compute_terms(run)
    torch.testing.assert_close(terms["loss"], -terms["criterion"])
    assert "adaptive_weight" not in terms


def test_distance_is_0_for_equal_images_and_grows_with_blur():
    distance = ClassifierDistance("digits")
    blurred = [nn.functional.avg_pool2d(X, size, 1, size // 2) for size in (1, 3, 5)]
    values = torch.stack([distance(X, each) for each in blurred])
    assert (values[0] == 0).all()
    assert (values[1] > 0.01).all()
    assert (values[2] > values[1]).all()
    assert (values < 2).all()


def test_distance_of_a_layer_is_that_of_directions():
    """For one hidden layer with one position, d is 2 - 2 cos of the two feature vectors."""
    distance = ClassifierDistance("digits")
    distance.network.layers = nn.Sequential(
        nn.Flatten(), nn.Linear(784, 8), nn.Unflatten(1, (8, 1, 1)), nn.ReLU()
    )
    weight = distance.network.layers[1].weight.data.mul_(1000)  # EPSILON is negligible
    weight[:2].abs_()  # no image is without features
    y = torch.rand_like(X)
    first, second = (distance.network.layers(each).flatten(1) for each in (X, y))
    cosine = nn.functional.cosine_similarity(first, second)
    torch.testing.assert_close(distance(X, y), 2 - 2 * cosine, rtol=1e-3, atol=1e-4)


def test_network_follows_from_the_data_and_is_recorded(config, capsys, monkeypatch):
    cfg = config("objective=perceptual", *SMALL)
    run = RunParts.build(cfg)
    assert cfg.objective.network == run.module.objective.network == "digits"
    run.module.objective.check_training(run.vae)
    assert "perceptual term: the built-in classifier of digits" in capsys.readouterr().out
    assert not [name for name in run.module.state_dict() if "distance" in name]
    monkeypatch.setattr("vaelab.objectives.perceptual.has_lpips", lambda: True)
    with pytest.raises(UserError, match="pip install lpips"):
        RunParts.build(config("objective=perceptual", *SMALL))


def test_lpips_gets_three_channels_in_minus_1_to_1(monkeypatch):
    lpips = pytest.importorskip("lpips", reason="the package lpips is not installed")
    monkeypatch.setattr(perceptual, "has_lpips", lambda: True)

    class Recorder(nn.Module):
        def forward(self, x, y):
            self.got = x, y
            return (x - y).square().mean((1, 2, 3), keepdim=True)

    monkeypatch.setattr(lpips, "LPIPS", lambda **settings: Recorder())
    distance = load_perceptual_distance("lpips")
    values = distance(X, 1 - X)
    assert values.shape == (6,)
    assert torch.equal(distance.network.got[0], (2 * X - 1).expand(-1, 3, -1, -1))


@pytest.mark.parametrize(("channels", "patch"), [([4], 8), ([4, 4], 18), ([4, 4, 4], 38)])
def test_logit_of_the_critic_depends_on_a_patch(channels, patch):
    critic, edge = PatchCritic((1, 64, 64), channels), 64 // 2 ** len(channels)
    x = torch.rand(1, 1, 64, 64, requires_grad=True)
    logits = critic(x)
    assert logits.shape == (1, edge**2)
    logits.unflatten(1, (edge, edge))[0, edge // 2, edge // 2].backward()
    is_used = (x.grad[0, 0] != 0).nonzero()
    assert (is_used.max(0).values - is_used.min(0).values + 1).tolist() == [patch, patch]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("objective.weight=-1",), r"objective\.weight="),
        (("objective.critic_weight=-1",), r"objective\.critic_weight="),
        (("objective.critic_start=-1",), r"objective\.critic_start="),
        (("objective.lr=0",), r"objective\.lr="),
        (("objective.network=cats",), r"network=cats: choose from auto, lpips, clothes, digits"),
        (("data=series",), r"images \(C, H, W\) with 1 or 3 channels"),
        (
            ("model=ladder", "objective.decoder_only=true"),
            "layers of its posterior",
        ),
    ],
)
def test_settings_that_cannot_train_are_refused(config, words, message):
    with pytest.raises(UserError, match=message):
        RunParts.build(config("objective=perceptual", *words))


def test_nan_guard_names_the_terms_of_the_critic(build):
    run = build()
    with torch.no_grad():
        for weight in run.module.objective.critic.parameters():
            weight.fill_(torch.nan)
    names = find_non_finite(run.module, (X, torch.zeros(6)), 0)
    assert {*names} == {"fooling", "critic", "adaptive_weight"}


def test_decoder_only_gives_gradients_to_the_decoder_alone(build):
    run = build("objective.decoder_only=true", "objective.critic_weight=0.3", "prior=mixture")
    assert run.module.objective.needs_start
    compute_terms(run)["loss"].mean().backward()
    trained = {name.split(".")[0] for name, w in run.vae.named_parameters() if w.grad is not None}
    assert trained == {"decoder"}


DECODER = ("objective=perceptual", "objective.decoder_only=true")
AUTOENCODER = ("model=autoencoder", "model.channels=[4,8]", "loss=mse", "data.binarize=none")


@pytest.mark.slow
def test_only_the_decoder_is_fine_tuned(train):
    first = train(*AUTOENCODER, folder="first")["folder"]
    second = train(*AUTOENCODER, *DECODER, f"start={first}", folder="second")["folder"]
    after = RunParts.open(second, "last", with_data=False).vae
    start = RunParts.open(first, with_data=False).vae
    for part in ("encoder", "posterior", "prior"):
        for name, weight in getattr(start, part).state_dict().items():
            assert torch.equal(weight, getattr(after, part).state_dict()[name]), name
    changed = [
        not torch.equal(weight, after.decoder.state_dict()[name])
        for name, weight in start.decoder.state_dict().items()
    ]
    assert all(changed)


@pytest.mark.slow
def test_fine_tuning_needs_a_finished_run(train):
    with pytest.raises(UserError, match=r"name its folder, as in start="):
        train(*AUTOENCODER, *DECODER)
