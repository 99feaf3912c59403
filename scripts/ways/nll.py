"""Time the importance-weighted bound of a 784-200-200-50 VAE, per image: vaelab or hand-written."""

import argparse
import math

import torch
from nets import PlainVAE, digits, mlp
from report import now, report
from torch.distributions import Normal
from torch.nn.functional import binary_cross_entropy_with_logits

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("way", choices=("vaelab", "hand"))
parser.add_argument("--images", type=int, default=8)
parser.add_argument("--samples", type=int, default=5000)
args = parser.parse_args()
LATENT, HIDDEN, MAX_LATENTS = 50, [200, 200], 2000  # MAX_LATENTS decoded at once

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
x = (digits()[: args.images] / 255).to(device)


def handwritten_bound():
    """Return bound(x, samples), written in plain PyTorch and compiled."""
    vae = PlainVAE(*mlp(tuple(HIDDEN), LATENT)).to(device)

    @torch.compile
    def log_weights(x, noise):
        mean, log_variance = vae.encoder(x).chunk(2, dim=-1)
        scale = torch.exp(0.5 * log_variance)
        z = mean + scale * noise
        logits = vae.decoder(z.flatten(0, 1)).unflatten(0, z.shape[:2])
        targets = x.expand_as(logits)
        log_p_x = -binary_cross_entropy_with_logits(logits, targets, reduction="none")
        log_ratio = Normal(0, 1).log_prob(z) - Normal(mean, scale).log_prob(z)
        return log_p_x.sum((-3, -2, -1)) + log_ratio.sum(-1)

    def bound(x, samples):
        total, done = torch.full((len(x),), -math.inf, device=device), 0
        while done < samples:
            count = min(MAX_LATENTS // len(x), samples - done)
            noise = torch.randn(count, len(x), LATENT, device=device)
            total = torch.logaddexp(total, log_weights(x, noise).logsumexp(0))
            done += count
        return total - math.log(samples)

    return bound


def vaelab_bound():
    """Return bound(x, samples) of vaelab."""
    from functools import partial

    from vaelab.estimators.importance import importance_bound
    from vaelab.likelihoods.bernoulli import Bernoulli
    from vaelab.models.mlp import Decoder, Encoder
    from vaelab.posteriors.diagonal import Diagonal
    from vaelab.priors.normal import UnitNormal
    from vaelab.runtime.posix import keep_freed_memory
    from vaelab.vae import VAE

    keep_freed_memory()
    encoder, decoder = partial(Encoder, hidden=HIDDEN), partial(Decoder, hidden=HIDDEN)
    vae = VAE((1, 28, 28), LATENT, encoder, decoder, Diagonal, UnitNormal, Bernoulli).to(device)
    return partial(importance_bound, vae)


bound = handwritten_bound() if args.way == "hand" else vaelab_bound()
seconds = []
with torch.no_grad():
    for _ in range(8):
        started = now()
        bound(x, args.samples)
        seconds.append((now() - started) / len(x))
report(seconds=seconds)
