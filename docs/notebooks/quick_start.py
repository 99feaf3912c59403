# %% [markdown]
# # Quick start
#
# You can train a variational autoencoder (VAE) in a few seconds, read its numbers, generate new
# images and look at its latents. The data are 5,000 MNIST digits that vaelab includes, so nothing
# is downloaded.

# %%
import tempfile

import matplotlib.pyplot as plt
import torch
from torchvision.utils import make_grid

import vaelab

# %% [markdown]
# ## Train
#
# `run_training` takes the words of the command line: `vaelab train latent_dim=2 ...`. Each option
# that you do not name has a default; here the encoder and decoder are small fully connected
# networks (`model=mlp`), and two latents can be drawn on a page.
#
# The run folder can be any new folder. Without `folder=` it is `runs/<time>`.

# %% tags=["hide_output"]
run = vaelab.run_training(
    "model=mlp",
    "latent_dim=2",
    "trainer.max_epochs=2",
    "trainer.log_every_n_steps=4",
    "logger=csv",
    folder=tempfile.mkdtemp(),
)

# %% [markdown]
# ## Numbers
#
# All terms are in nats per image, summed over pixels and latents. The ELBO is a lower bound on
# log p(x). The negative log-likelihood (NLL) is estimated with 100 importance samples per image
# and is a tighter bound: it is never above -ELBO, apart from the noise of the estimate.

# %%
for name in ("elbo", "nll", "reconstruction", "kl"):
    print(f"{name:15} {run.metrics[name]:8.2f} nats per image")

# %% [markdown]
# The curves of the training are in `run.history`. Each curve has the optimizer steps and the
# values.

# %%
train, val = run.history["train/elbo"], run.history["val/elbo"]
plt.figure(figsize=(5, 3))
plt.plot(train.steps, train.values, label="training digits")
plt.plot(val.steps, val.values, "o", label="validation digits")
plt.xlabel("optimizer step")
plt.ylabel("ELBO (nats per image)")
plt.legend()
plt.show()

# %% [markdown]
# ## Reconstructions
#
# `reconstruct` encodes each test digit and decodes its latents. The upper row shows the digits,
# the lower row their reconstructions. Two epochs give blurred digits; `trainer.max_epochs=20`
# gives sharper ones.


# %%
def show_rows(*rows):
    """Show rows of images (N, 1, H, W)."""
    grid = make_grid(torch.cat(rows), nrow=len(rows[0]), pad_value=0.5)
    plt.figure(figsize=(8, len(rows)))
    plt.imshow(grid[0], cmap="gray", vmin=0, vmax=1)
    plt.axis("off")
    plt.show()


digits = run.data.splits["test"].images[:10] / 255
show_rows(digits, run.reconstruct()[:10])

# %% [markdown]
# ## Samples
#
# A new image is the decoder's output for a latent vector z from the prior p(z), a normal
# distribution.

# %%
samples = run.sample(20)
show_rows(samples[:10], samples[10:])

# %% [markdown]
# ## The latent map
#
# `encode` returns the means of q(z|x). Each point is a test digit. The model never saw the
# labels, which only give the colors: digits of one class lie together.

# %%
z, labels = run.encode(), run.data.splits["test"].labels
plt.figure(figsize=(5, 4))
plt.scatter(z[:, 0], z[:, 1], c=labels, cmap="tab10", s=12)
plt.colorbar(label="digit")
plt.xlabel("latent 0")
plt.ylabel("latent 1")
plt.show()

# %% [markdown]
# Decoding a grid of latents shows what each place of the map means. The grid covers the central
# 95 % of the prior in each direction.

# %%
line = torch.linspace(-2, 2, 10)
rows = [torch.stack([line, y.expand(10)], dim=1) for y in line.flip(0)]
with torch.no_grad():
    show_rows(*[run.vae.decode(row).mean for row in rows])

# %% [markdown]
# ## Open the run again
#
# The run folder has the weights, the complete config, the curves, figures and `report.html`.
# `load` opens it, today or in another program.

# %%
opened = vaelab.load(run.folder)
print(opened.metrics["elbo"] == run.metrics["elbo"])
print(sorted(path.name for path in run.folder.iterdir()))

# %% [markdown]
# ## Next
#
# Other words select other parts: `"prior=vamp"`, `"loss=gaussian"`, `"objective=iwae"`. `vaelab
# train --help` lists them all. The notebook "Own data and networks" trains networks of your own.
