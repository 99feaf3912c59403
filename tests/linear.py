"""A linear VAE at its optimum, which is probabilistic PCA."""

import torch

from vaelab.runs.build import build_from_config

D, Q, N = 12, 3, 400


def linear_vae(config):
    """At the maximum-likelihood solution for some data x: (vae, M), x, eigenvalues, variance."""
    torch.manual_seed(3)
    x = torch.randn(N, D).double() @ torch.randn(D, D).double() + torch.randn(D).double()
    center = x.mean(0)
    values, vectors = torch.linalg.eigh((x - center).T @ (x - center) / N)
    values, vectors = values.flip(0), vectors.flip(1)
    variance = values[Q:].mean()
    weight = vectors[:, :Q] * (values[:Q] - variance).sqrt()
    return with_decoder(config, weight, center, variance), x, values, variance


def with_decoder(config, weight, center, variance):
    """W, b and s^2 of the decoder, with the best diagonal posterior for them."""
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
