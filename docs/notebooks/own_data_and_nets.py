# %% [markdown]
# # Own data and networks
#
# You can train a VAE on arrays in memory, with any PyTorch network as encoder and decoder, and
# use its latents in scikit-learn. The data here are scikit-learn's 1,797 digits of 8 x 8 pixels.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from torch import nn
from torchvision.utils import make_grid

import vaelab

# %% [markdown]
# ## Data
#
# `make_data` takes an array, a tensor, a data frame, a torch data set, or a dict of splits.
# Images are (N, channels, height, width). 80 % of the rows are for training, 10 % for validation
# and 10 % for testing; the rows of each are random, and always the same.
#
# The pixels are 0 to 16, so 16 is divided out. vaelab does not scale values that are not 8-bit
# levels.

# %%
x, y = load_digits(return_X_y=True)
data = vaelab.make_data(x.reshape(-1, 1, 8, 8) / 16, y)
data.setup()
print({name: tuple(split.images.shape) for name, split in data.splits.items()})

# %% [markdown]
# ## Networks
#
# The encoder returns the parameters of q(z|x). For the default `posterior="diagonal"` these are a
# mean and the logarithm of a standard deviation for each latent: 2 x 8 values. The decoder
# returns the parameters of p(x|z): for a normal distribution the mean of each of the 64 pixels.
# No sigmoid at its end is needed.
#
# `loss="gaussian loss.scale=optimal"` is a normal distribution whose standard deviation is
# estimated from the data. Keys after the word are those of the command line.

# %%
LATENTS = 8


def build_vae():
    """Build the untrained model."""
    return vaelab.make_model(
        (1, 8, 8),
        LATENTS,
        encoder=nn.Sequential(
            nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 2 * LATENTS)
        ),
        decoder=nn.Sequential(nn.Linear(LATENTS, 128), nn.ReLU(), nn.Linear(128, 64)),
        loss="gaussian loss.scale=optimal",
    )


# %% [markdown]
# A network of the wrong size is refused before the training, in one line that says what it must
# return.

# %%
try:
    vaelab.make_model((1, 8, 8), LATENTS, encoder=nn.Sequential(nn.Flatten(), nn.Linear(64, 8)))
except vaelab.UserError as error:
    print(error)

# %% [markdown]
# ## Train
#
# `fit` trains the model, keeps the weights with the best validation ELBO, and evaluates them on
# the test rows. Arguments of Lightning's Trainer, such as `max_epochs`, can be given directly.

# %% tags=["hide_output"]
torch.manual_seed(0)  # of the initial weights of the networks above
folder = Path(tempfile.mkdtemp())
run = vaelab.fit(build_vae(), data, folder=folder, max_epochs=60)

# %% [markdown]
# The NLL is that of a density and may be negative: a density can be above 1. Compare it with
# other models of the same pixels only.

# %%
print(f"NLL  {run.metrics['nll']:7.2f} nats per image")
print(f"KL   {run.metrics['kl']:7.2f} nats per image")
print(f"RMSE {run.metrics['rmse']:7.3f} of a pixel")

# %% [markdown]
# ## Reconstructions and samples
#
# Upper row: test digits. Middle row: their reconstructions. Lower row: samples from the prior.

# %%
rows = [run.data.splits["test"].images[:10], run.reconstruct()[:10], run.sample(10)]
plt.figure(figsize=(8, 2.6))
plt.imshow(make_grid(torch.cat(rows), nrow=10, pad_value=0.5)[0], cmap="gray", vmin=0, vmax=1)
plt.axis("off")
plt.show()

# %% [markdown]
# ## Latents as features
#
# `encode` returns the mean of q(z|x) for each row, so any method of scikit-learn can use the
# latents. A linear classifier on 8 latents, which were learned without labels, is compared with
# one on all 64 pixels.

# %%
splits = run.data.splits
labels = {name: split.labels.numpy() for name, split in splits.items()}
latents = {name: run.encode(split=name).numpy() for name in ("train", "test")}
pixels = {name: splits[name].images.flatten(1).numpy() for name in ("train", "test")}
for name, features in (("8 latents", latents), ("64 pixels", pixels)):
    classifier = LogisticRegression(max_iter=1000).fit(features["train"], labels["train"])
    print(f"{name}: accuracy {classifier.score(features['test'], labels['test']):.3f}")

# %% [markdown]
# ## New rows
#
# The methods of a run also take rows of your own. An unusual image has a high NLL: here white
# noise, beside real digits.

# %%
digits = run.nll(splits["test"].images)
noise = run.nll(torch.rand(100, 1, 8, 8))
print(f"digits {digits.mean():8.1f} nats, noise {noise.mean():8.1f} nats")

# %% [markdown]
# ## Open the run again
#
# The run cannot know how your networks were built, because they were given as objects. So `load`
# takes a model that is built in the same way, and fills in the weights. The data were saved in
# the run.

# %%
opened = vaelab.load(folder, vae=build_vae())
print(torch.equal(opened.encode(), run.encode()))

# %% [markdown]
# If the encoder and decoder are importable functions or classes, give them without calling them:
# `encoder=my_package.Encoder`. vaelab then records how to build them, and all commands work on
# the run, for example `vaelab evaluate runs/<run>`.
