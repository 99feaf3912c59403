"""The recorded results, recomputed with independent implementations.

Binarized test images come from the raw file, likelihoods from numpy, densities from dense Jacobians
and p(x) from annealing.
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
from vaelab.runs.run import RunParts

RESULTS = ROOT / "results"
RUN_FOLDERS = {f"{path.parent.name}-0": path.parent for path in RESULTS.glob("*/model.safetensors")}
RUN_FOLDERS |= {
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
each_run = pytest.mark.parametrize("name", sorted(RUN_FOLDERS))


def load_binarized_test_images(data):
    raw = (ROOT / REAL / FOLDERS[data] / "raw" / "t10k-images-idx3-ubyte").read_bytes()[16:]
    pixels = np.frombuffer(raw, np.uint8).reshape(10_000, 784)
    bits = np.random.RandomState(0).random_sample(pixels.shape) < pixels / 255
    assert hashlib.sha256(np.packbits(bits, axis=1).tobytes()).hexdigest() == BITS[data]
    return bits


def read_record(name):
    return json.loads((RESULTS / f"{name}.json").read_text())


def load_model(name):
    vae = RunParts.open(RUN_FOLDERS[name], with_data=False).vae.double().eval()
    return vae.requires_grad_(False)


def load_images(count, data="mnist"):
    """Load every n-th binarized test image, (count, 1, 28, 28)."""
    images = load_binarized_test_images(data)[:: 10_000 // count].reshape(-1, 1, 28, 28)
    return torch.tensor(images, dtype=torch.float64)


def log_normal(u, mean, scale):
    return -(((u - mean) / scale) ** 2 / 2 + np.log(2 * np.pi) / 2 + np.log(scale)).sum()


def log_det(function, point):
    """Compute log |det J| of a map of vectors from its dense Jacobian."""
    return torch.linalg.slogdet(torch.autograd.functional.jacobian(function, point))[1].item()


def log_weight(vae, x, u):
    """Return z = f(u) and log p(x|z) + log p(z) - log q(z|x); only the maps are vaelab's."""
    q, p = vae.encode(x[None]), vae.latents()
    push, pull = (lambda u: q.transform.inv(u[None])[0]), p.transform
    z = push(u)
    log_q = log_normal(u.numpy(), q.base.mean[0].numpy(), q.base.stddev[0].numpy())
    log_p = log_normal(pull(z).numpy(), 0.0, np.ones(len(z)))
    logits, bits = vae.decoder(z[None])[0].numpy(), x.numpy()
    log_x = (bits * logits - np.logaddexp(0, logits)).sum()
    return z, log_x + log_p + log_det(pull, z) - (log_q - log_det(push, u))


@pytest.mark.parametrize("name", sorted(path.stem for path in RESULTS.glob("*-*.json")))
def test_recorded_binarization_matches_the_raw_file(name):
    recorded = read_record(name)
    assert len(load_binarized_test_images(recorded["data"])) == recorded["images"]
    assert recorded["bits_sha256"] == BITS[recorded["data"]]


@each_run
def test_log_weights_match_dense_jacobians(name):
    vae = load_model(name)
    for x in load_images(4, read_record(name)["data"]):
        q: Any = vae.encode(x[None])
        z, expected = log_weight(vae, x, q.base.sample()[0])
        log_q = q.log_prob(z[None, None])
        log_x, kl = importance_terms(vae, x[None], z[None, None], log_q, vae.latents())
        assert (log_x - kl).item() == pytest.approx(expected, abs=1e-6)


@each_run
def test_recorded_nll_matches_an_independent_estimate(name):
    """500 samples for 500 images; the recorded NLL has 5,000 and is up to 0.3 nats lower."""
    recorded = read_record(name)
    vae = load_model(name).float()
    nll, ours = [], []
    for x in load_images(500, recorded["data"]).float():
        z, log_q = sample_with_log_prob(vae.encode(x[None]), 500)
        logits = vae.decoder(z[:, 0]).double()
        log_x = (x * logits - torch.logaddexp(logits, torch.zeros(()))).sum((1, 2, 3))
        log_w = log_x + vae.latents().log_prob(z[:, 0]).double() - log_q[:, 0].double()
        nll.append(np.log(500) - torch.logsumexp(log_w, 0).item())
        ours.append(-importance_bound(vae, x[None], 500).item())
    assert np.mean(nll) == pytest.approx(np.mean(ours), abs=0.1)
    error = np.std(nll) / np.sqrt(len(nll))
    assert abs(np.mean(nll) - recorded["nll"]) < 3 * error + 0.3


@each_run
def test_annealing_from_the_prior_confirms_the_bound(name):
    """With only 1,000 temperatures, chains that do not use q(z|x) are up to 3 nats lower."""
    vae, x = load_model(name).float(), load_images(4, read_record(name)["data"]).float()
    z, log_q = sample_with_log_prob(vae.encode(x), 2000)
    log_x, kl = importance_terms(vae, x, z, log_q, vae.latents())
    importance = torch.logsumexp(log_x - kl, 0) - np.log(2000)
    annealed, _ = annealed_bound(vae, x, chains=8, temperatures=1000)
    assert -3 < (annealed - importance).mean().item() < 1


def run_perceptron(weights, name, x):
    """Apply tanh(W x + b) twice, then W x + b, to x (*, inputs)."""
    for layer in (0, 2, 4):
        matrix, shift = (weights[f"{name}.layers.{layer}.{part}"] for part in ("weight", "bias"))
        x = x @ matrix.T + shift
        x = np.tanh(x) if layer < 4 else x
    return x


def split_parameters(out):
    """Return mean and scale of a normal with log scale 7 tanh(raw / 7)."""
    mean, raw = np.split(out, 2, -1)
    return mean, np.exp(7 * np.tanh(raw / 7))


def iwae_log_weights(weights, bits, count, random):
    """Compute log p(x, z_1, z_2) - log q(z_1|x) - log q(z_2|z_1) with numpy."""
    steps = 2 if "encoder.steps.0.layers.0.weight" in weights else 1
    part = "coder.steps.{}" if steps == 2 else "coder"
    inputs, samples, log_w = bits, [], 0.0
    for step in range(steps):
        mean, scale = split_parameters(run_perceptron(weights, "en" + part.format(step), inputs))
        noise = random.standard_normal((count, mean.shape[-1]))
        inputs = mean + scale * noise
        samples.append(inputs)
        log_w = log_w + (noise**2 / 2 + np.log(scale)).sum(-1)  # the terms of log 2 pi cancel
    log_w = log_w - (samples[-1] ** 2 / 2).sum(-1)
    if steps == 2:
        mean, scale = split_parameters(run_perceptron(weights, "de" + part.format(1), samples[1]))
        log_w = log_w - (((samples[0] - mean) / scale) ** 2 / 2 + np.log(scale)).sum(-1)
    logits = run_perceptron(weights, "de" + part.format(0), samples[0])
    return log_w + (bits * logits - np.logaddexp(0, logits)).sum(-1)


@pytest.mark.skipif(not IWAE, reason="no trained iwae_* in runs/record: scripts/reproduce.py")
@pytest.mark.parametrize("name", IWAE)
def test_iwae_bound_matches_numpy(name):
    """500 samples for 500 images, with the networks in numpy too."""
    vae = RunParts.open(ROOT / "runs" / "record" / name, with_data=False).vae.eval()
    weights = {key: value.double().numpy() for key, value in vae.state_dict().items()}
    random, expected, bounds = np.random.RandomState(1), [], []
    for x in load_images(500):
        log_w = iwae_log_weights(weights, x.flatten().numpy(), 500, random)
        expected.append(np.logaddexp.reduce(log_w) - np.log(500))
        bounds.append(importance_bound(vae, x[None].float(), 500).item())
    differences = np.subtract(expected, bounds)
    assert abs(differences.mean()) < 4 * differences.std() / np.sqrt(500)
