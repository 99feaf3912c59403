"""The figures of the record, found again by other means than those that found them.

Test bits from the raw file, pixels by numpy, densities by dense Jacobians, p(x) by annealing.
"""

import hashlib
import json
import os
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT

from vaelab.estimators.annealed import annealed_bound
from vaelab.estimators.importance import importance_bound
from vaelab.objectives.base import importance_terms, sample_with_log_prob
from vaelab.runs.run import Run

RESULTS = ROOT / "results"
KEPT = {f"{path.parent.name}-0": path.parent for path in RESULTS.glob("*/model.safetensors")}
KEPT |= {
    path.parent.name: path.parent
    for path in ROOT.glob("runs/record/*/metrics.json")
    if (RESULTS / f"{path.parent.name}.json").is_file() and not path.parent.name.startswith("iwae")
}
REAL = os.environ["VAELAB_REAL_DATA"]
FOLDERS = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}
BITS = {
    "mnist": "e57c29358f8feb9d94da931970e5d4412a2ac9422f0a8515278b558a6d213cf7",
    "fashion_mnist": "98c656837e4fef38294a86c585c72175d89c351ea5538ed52c63055d70ff5fe3",
}

IWAE = sorted(path.parent.name for path in ROOT.glob("runs/record/iwae_*/metrics.json"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not REAL, reason="VAELAB_DATA is not set: the real MNIST files are needed"),
]
kept = pytest.mark.parametrize("name", sorted(KEPT))


def bits_of_the_test_images(data):
    raw = (ROOT / REAL / FOLDERS[data] / "raw" / "t10k-images-idx3-ubyte").read_bytes()[16:]
    grey = np.frombuffer(raw, np.uint8).reshape(10_000, 784)
    bits = np.random.RandomState(0).random_sample(grey.shape) < grey / 255
    assert hashlib.sha256(np.packbits(bits, axis=1).tobytes()).hexdigest() == BITS[data]
    return bits


def record(name):
    return json.loads((RESULTS / f"{name}.json").read_text())


def model(name):
    vae = Run.open(KEPT[name], ready=False).vae.double().eval()
    return vae.requires_grad_(False)


def images(count, data="mnist"):
    """Test images spread over the file, as bits (count, 1, 28, 28)."""
    some = bits_of_the_test_images(data)[:: 10_000 // count].reshape(-1, 1, 28, 28)
    return torch.tensor(some, dtype=torch.float64)


def log_normal(u, mean, scale):
    return -(((u - mean) / scale) ** 2 / 2 + np.log(2 * np.pi) / 2 + np.log(scale)).sum()


def log_det(function, at):
    """Of the dense Jacobian of a map of vectors."""
    return torch.linalg.slogdet(torch.autograd.functional.jacobian(function, at))[1].item()


def log_weight(vae, x, u):
    """z = f(u), and log p(x|z) + log p(z) - log q(z|x), where only the maps are the model's own."""
    q, p = vae.encode(x[None]), vae.latents()
    push, pull = (lambda u: q.transform.inv(u[None])[0]), p.transform
    z = push(u)
    log_q = log_normal(u.numpy(), q.base.mean[0].numpy(), q.base.stddev[0].numpy())
    log_p = log_normal(pull(z).numpy(), 0.0, np.ones(len(z)))
    logits, bits = vae.decoder(z[None])[0].numpy(), x.numpy()
    log_x = (bits * logits - np.logaddexp(0, logits)).sum()
    return z, log_x + log_p + log_det(pull, z) - (log_q - log_det(push, u))


@pytest.mark.parametrize("name", sorted(path.stem for path in RESULTS.glob("*-*.json")))
def test_the_bits_of_every_record_are_those_of_the_raw_file(name):
    recorded = record(name)
    assert len(bits_of_the_test_images(recorded["data"])) == recorded["images"]
    assert recorded["bits_sha256"] == BITS[recorded["data"]]


@kept
def test_log_weights_are_those_of_dense_jacobians(name):
    vae = model(name)
    for x in images(4, record(name)["data"]):
        q: Any = vae.encode(x[None])
        z, by_hand = log_weight(vae, x, q.base.sample()[0])
        log_q = q.log_prob(z[None, None])
        log_x, kl = importance_terms(vae, x[None], z[None, None], log_q, vae.latents())
        assert (log_x - kl).item() == pytest.approx(by_hand, abs=1e-6)


@kept
def test_the_recorded_nll_is_that_of_a_few_lines_on_other_noise(name):
    """500 images of 500 samples, which lack up to 0.3 nats of the 5,000."""
    recorded = record(name)
    vae = model(name).float()
    nll, ours = [], []
    for x in images(500, recorded["data"]).float():
        z, log_q = sample_with_log_prob(vae.encode(x[None]), 500)
        logits = vae.decoder(z[:, 0]).double()
        log_x = (x * logits - torch.logaddexp(logits, torch.zeros(()))).sum((1, 2, 3))
        log_w = log_x + vae.latents().log_prob(z[:, 0]).double() - log_q[:, 0].double()
        nll.append(np.log(500) - torch.logsumexp(log_w, 0).item())
        ours.append(-importance_bound(vae, x[None], 500).item())
    assert np.mean(nll) == pytest.approx(np.mean(ours), abs=0.1)
    error = np.std(nll) / np.sqrt(len(nll))
    assert abs(np.mean(nll) - recorded["nll"]) < 3 * error + 0.3


@kept
def test_annealing_from_the_prior_finds_the_same_bound(name):
    """Chains that have never seen q(z|x) end up to 3 nats below: a thousand steps are few."""
    vae, x = model(name).float(), images(4, record(name)["data"]).float()
    z, log_q = sample_with_log_prob(vae.encode(x), 2000)
    log_x, kl = importance_terms(vae, x, z, log_q, vae.latents())
    importance = torch.logsumexp(log_x - kl, 0) - np.log(2000)
    annealed, _ = annealed_bound(vae, x, chains=8, temperatures=1000)
    assert -3 < (annealed - importance).mean().item() < 1


def perceptron(weights, name, x):
    """tanh(W x + b) twice, then W x + b; x is (*, inputs)."""
    for layer in (0, 2, 4):
        matrix, shift = (weights[f"{name}.layers.{layer}.{part}"] for part in ("weight", "bias"))
        x = x @ matrix.T + shift
        x = np.tanh(x) if layer < 4 else x
    return x


def normal(out):
    """Mean and scale, whose logarithm stays softly within 7."""
    mean, raw = np.split(out, 2, -1)
    return mean, np.exp(7 * np.tanh(raw / 7))


def iwae_log_weights(weights, bits, count, random):
    """log p(x|z_1) + log p(z_1|z_2) + log p(z_2) - log q(z_1|x) - log q(z_2|z_1), all by numpy."""
    steps = 2 if "encoder.steps.0.layers.0.weight" in weights else 1
    part = "coder.steps.{}" if steps == 2 else "coder"
    given, below, log_w = bits, [], 0.0
    for step in range(steps):
        mean, scale = normal(perceptron(weights, "en" + part.format(step), given))
        noise = random.standard_normal((count, mean.shape[-1]))
        given = mean + scale * noise
        below.append(given)
        log_w = log_w + (noise**2 / 2 + np.log(scale)).sum(-1)  # the halves of log 2 pi cancel
    log_w = log_w - (below[-1] ** 2 / 2).sum(-1)
    if steps == 2:
        mean, scale = normal(perceptron(weights, "de" + part.format(1), below[1]))
        log_w = log_w - (((below[0] - mean) / scale) ** 2 / 2 + np.log(scale)).sum(-1)
    logits = perceptron(weights, "de" + part.format(0), below[0])
    return log_w + (bits * logits - np.logaddexp(0, logits)).sum(-1)


@pytest.mark.skipif(not IWAE, reason="no trained iwae_* in runs/record: scripts/reproduce.py")
@pytest.mark.parametrize("name", IWAE)
def test_the_iwae_nets_bound_is_that_of_numpy_alone(name):
    """The nets too: 500 images of 500 samples."""
    vae = Run.open(ROOT / "runs" / "record" / name, ready=False).vae.eval()
    weights = {key: value.double().numpy() for key, value in vae.state_dict().items()}
    random, by_hand, ours = np.random.RandomState(1), [], []
    for x in images(500):
        log_w = iwae_log_weights(weights, x.flatten().numpy(), 500, random)
        by_hand.append(np.logaddexp.reduce(log_w) - np.log(500))
        ours.append(importance_bound(vae, x[None].float(), 500).item())
    differences = np.subtract(by_hand, ours)
    assert abs(differences.mean()) < 4 * differences.std() / np.sqrt(500)
