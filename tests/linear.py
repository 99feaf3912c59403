"""Linear VAEs with known optima: at its optimum a linear VAE is probabilistic PCA."""

import torch

from vaelab.runtime.build import build_from_config

D, Q, N = 12, 3, 400


def build_optimal_linear_vae(config):
    """Build a linear VAE at the maximum-likelihood solution for random data x.

    Returns:
        (vae, M), x (N, D), the eigenvalues of the covariance of x, and the decoder variance s^2.
    """
    torch.manual_seed(3)
    x = torch.randn(N, D).double() @ torch.randn(D, D).double() + torch.randn(D).double()
    center = x.mean(0)
    values, vectors = torch.linalg.eigh((x - center).T @ (x - center) / N)
    values, vectors = values.flip(0), vectors.flip(1)
    variance = values[Q:].mean()
    weight = vectors[:, :Q] * (values[:Q] - variance).sqrt()
    return build_linear_vae(config, weight, center, variance), x, values, variance


def build_linear_vae(config, weight, center, variance):
    """Build a linear VAE with decoder N(W z + b, s^2 I) and the best diagonal posterior for it.

    Returns:
        vae and M = W^T W + s^2 I.
    """
    cfg = config("model.hidden=[]", "loss=gaussian", f"latent_dim={Q}")
    vae = build_from_config(cfg.module.vae, shape=[D]).double()
    m = weight.T @ weight + variance * torch.eye(Q).double()
    encoder = torch.linalg.solve(m, weight.T)
    log_scale = (variance / m.diagonal()).log() / 2
    with torch.no_grad():
        vae.decoder.layers[-1].weight.copy_(weight)
        vae.decoder.layers[-1].bias.copy_(center)
        vae.encoder.layers[-1].weight.copy_(torch.cat([encoder, torch.zeros(Q, D)]))
        raw = 7 * torch.atanh(log_scale / 7)
        vae.encoder.layers[-1].bias.copy_(torch.cat([-encoder @ center, raw]))
        vae.likelihood.raw.copy_((variance.sqrt() - 1 / 256).expm1().log())
    return vae, m
