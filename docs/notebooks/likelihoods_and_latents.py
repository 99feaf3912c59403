# %% [markdown]
# # Likelihoods and latents
#
# You can see what the choice of p(x|z) does to numbers and samples, find out how many latents a
# model uses, and compare priors and posteriors. All models here are small and are trained for a
# few epochs on the digits that vaelab includes.

# %%
import tempfile

import matplotlib.pyplot as plt
import torch
from torchvision.utils import make_grid

import vaelab

# %% [markdown]
# ## Three likelihoods of the same images
#
# Pixels between 0 and 1 can be modeled in several ways. `loss=bce` treats a grayscale pixel as
# the probability of a 1. `loss=gaussian` is a normal density about the decoder's output; with
# `loss.scale=optimal` its standard deviation is the one that fits best.
# `loss=continuous_bernoulli` is a density on [0, 1].


# %% tags=["hide_output"]
def train(*words):
    """Train a small model for a few epochs, without the figures of the report."""
    short = ["trainer.max_epochs=6", "logger=csv", "callbacks.pictures.only=[]"]
    return vaelab.run_training("latent_dim=10", *words, *short, folder=tempfile.mkdtemp())


LOSSES = {
    "bce": ["loss=bce"],
    "gaussian": ["loss=gaussian", "loss.scale=optimal"],
    "continuous Bernoulli": ["loss=continuous_bernoulli"],
}
runs = {name: train("data.binarize=none", *words) for name, words in LOSSES.items()}

# %% [markdown]
# ## Their numbers cannot be ranked
#
# The ELBOs differ by thousands of nats, but this says nothing about the quality of the models.
# The two densities are measured per unit of pixel value, and can be above 1, so that their
# logarithm is positive. The Bernoulli number of grayscale pixels is no log-likelihood at all,
# because a Bernoulli variable is 0 or 1: vaelab labels it `grey`, gives no NLL, and never puts
# these numbers into one ranking.

# %%
for name, run in runs.items():
    numbers = run.metrics
    nll = f"NLL {numbers['nll']:.1f} nats" if "nll" in numbers else "no NLL"
    print(f"{name:21} ELBO {numbers['elbo']:8.1f} nats, {nll}, {numbers['measure']}")

# %% [markdown]
# A number in the units of the images can be compared: the root mean squared error (RMSE) of a
# pixel. It describes only the reconstructions, not the samples.

# %%
for name, run in runs.items():
    print(f"{name:21} RMSE {run.metrics['rmse']:.4f} of a pixel, KL {run.metrics['kl']:5.1f} nats")

# %% [markdown]
# ## What samples look like
#
# An image of samples usually shows the means of p(x|z). The upper row of each pair shows means,
# the lower row samples of p(x|z) for the same latents: Bernoulli samples are black and white,
# normal samples have noise, and only the means look like digits. The noise is part of the model:
# it is what the likelihood says about pixels.

# %%
figure, axes = plt.subplots(len(runs), 1, figsize=(8, 1.8 * len(runs)))
for axis, (name, run) in zip(axes, runs.items(), strict=True):
    images = torch.cat([run.sample(10, draw=draw) for draw in (False, True)])
    axis.imshow(make_grid(images, nrow=10, pad_value=0.5)[0], cmap="gray", vmin=0, vmax=1)
    axis.set_title(name)
    axis.axis("off")
figure.tight_layout()
plt.show()

# %% [markdown]
# ## How many latents does a model use?
#
# The KL divergence is a sum over latents. A latent whose KL is 0 carries no information about x:
# q(z|x) equals the prior. For a normal posterior and prior, the KL of one latent is
# `(m^2 + s^2 - 1) / 2 - log s`, where m is the mean and s the standard deviation of q(z|x).

# %%
q = runs["gaussian"].vae.encode(runs["gaussian"].data.splits["test"].images / 255)
kl = ((q.mean**2 + q.stddev**2 - 1) / 2 - q.stddev.log()).mean(0).detach()
print([round(value, 2) for value in kl.tolist()], f"sum {kl.sum():.1f} nats")

# %% [markdown]
# `kl_per_dimension` has the same numbers for every run. A latent is called active if its posterior
# mean varies between images with a variance above 0.01. A larger weight of the KL lets the latents
# carry less information. With `kl.beta=100` they carry none: the posterior has collapsed to the
# prior.

# %% tags=["hide_output"]
weighted = {"1": runs["gaussian"]}
for beta in ("20", "100"):
    weighted[beta] = train("data.binarize=none", *LOSSES["gaussian"], f"kl.beta={beta}")

# %%
plt.figure(figsize=(6, 3))
for beta, run in weighted.items():
    label = f"beta {beta}: {run.metrics['active_units']} active"
    plt.plot(sorted(run.metrics["kl_per_dimension"], reverse=True), "o-", label=label)
plt.xlabel("latents, sorted by their KL")
plt.ylabel("KL (nats per image)")
plt.legend()
plt.show()

# %% [markdown]
# ## Prior and posterior
#
# With one likelihood and the same pixels, here binary ones, NLLs can be compared. `prior=vamp`
# learns a mixture as prior. `posterior=iaf` adds an autoregressive flow to the normal posterior.
#
# After six epochs the differences are small, and one seed is no evidence: the page Results of
# this site has complete trainings.

# %% tags=["hide_output"]
choices = {
    "normal posterior and prior": [],
    "VampPrior": ["prior=vamp", "prior.components=50"],
    "IAF posterior": ["posterior=iaf"],
}
trained = {name: train("data.binarize=fixed", *words) for name, words in choices.items()}

# %%
for name, run in trained.items():
    numbers = run.metrics
    print(f"{name:27} NLL {numbers['nll']:6.1f} +- {numbers['nll_se']:.1f} nats")
