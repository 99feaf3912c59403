"""Export a run of model=autoencoder as a folder that AutoencoderKL of the package diffusers opens.

diffusers is not needed to write the folder: the layers of models/autoencoder.py have its names.

Pixels of vaelab lie in [0, 1] and those of diffusers in [-1, 1]. vaelab's encoder maps x to 2 x - 1
before its first convolution, which is therefore exported unchanged. The decoder's last convolution
gives x, so the exported one has twice its weights, and twice its bias minus 1.
"""

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor

from vaelab.inference.batches import iterate_batches
from vaelab.models.autoencoder import Decoder, Encoder
from vaelab.posteriors.clamped import Clamped
from vaelab.runs.run import RunParts
from vaelab.runtime.errors import UserError
from vaelab.runtime.seeding import Stream, seeded_noise
from vaelab.vae import VAE

WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"
MEASURED_IMAGES = 10_000  # at most so many training images give the scaling factor
CARD = """\
# A KL autoencoder of {data}

Trained with vaelab for {step} optimizer steps. Open it with diffusers:

```python
from diffusers import AutoencoderKL

vae = AutoencoderKL.from_pretrained("path/of/this/folder")
```

Its images have {channels} channels and {size} pixels with values in [-1, 1]: `2 * x - 1` for x in
[0, 1]. A latent has the shape {latent}.

The latents of {images} training images, sampled from q(z|x), have the mean {shift:.6g} and the
standard deviation {deviation:.6g}. `config.json` contains them as `shift_factor` and
`scaling_factor`, 1 / {deviation:.6g}. A diffusion model is trained on
`(z - shift_factor) * scaling_factor`, and `z / scaling_factor + shift_factor` is decoded.
"""


class LatentScale(NamedTuple):
    """The mean and the standard deviation of all latents of some images, each one number."""

    mean: float
    deviation: float
    images: int


@torch.no_grad()
def export_to_diffusers(run: RunParts, folder: Path) -> list[Path]:
    """Write config.json, the weights and README.md to a folder.

    Arguments:
        run: A run of model=autoencoder with its data.

    Returns:
        The written files.

    Raises:
        UserError: If AutoencoderKL cannot compute what the model computes.
    """
    vae = run.module.cpu().eval().vae
    check_export_to_diffusers(vae)
    scale = measure_latents(run)
    folder.mkdir(parents=True, exist_ok=True)
    config, weights, card = folder / "config.json", folder / WEIGHTS_FILE, folder / "README.md"
    config.write_text(json.dumps(make_config(vae, scale), indent=2) + "\n", encoding="utf-8")
    save_file(convert_weights(vae), weights, {"format": "pt"})
    channels, *size = vae.shape
    text = CARD.format(
        data=run.choices.get("data", "its data set"),
        step=run.step,
        channels=channels,
        size="x".join(map(str, size)),
        latent=list(vae.latent_shape),
        images=scale.images,
        shift=scale.mean,
        deviation=scale.deviation,
    )
    card.write_text(text, encoding="utf-8")
    return [config, weights, card]


def check_export_to_diffusers(vae: VAE) -> None:
    """Check that AutoencoderKL can compute what the model computes.

    Raises:
        UserError: If it cannot.
    """
    refuse = "--format diffusers writes an AutoencoderKL, "
    if not (isinstance(vae.encoder, Encoder) and isinstance(vae.decoder, Decoder)):
        raise UserError(f"{refuse}which needs a run of model=autoencoder: leave --format out")
    if not isinstance(vae.posterior, Clamped):
        raise UserError(
            f"{refuse}whose encoder outputs a clamped log variance, but the posterior of this run "
            f"is {type(vae.posterior).__name__}: train with posterior=clamped"
        )
    if vae.missing or vae.standardization is not None:
        raise UserError(
            f"{refuse}which has no place for missing values or data.standardize=true, but this run "
            "was trained with them: train without"
        )
    with torch.no_grad(), seeded_noise(Stream.SAMPLES, 0):
        z = torch.randn(2, vae.latent_dim)
        out, mean = vae.decoder(z), vae.decode(z).mean
    if not torch.equal(out[:, : vae.shape[0]], mean):
        raise UserError(
            f"{refuse}whose decoder outputs the image, but that of this run outputs other "
            "parameters of p(x|z): train with loss=mse, gaussian or laplace"
        )


def make_config(vae: VAE, scale: LatentScale) -> dict[str, Any]:
    """Return the config.json of AutoencoderKL."""
    encoder: Any = vae.encoder
    channels = [block.resnets[-1].conv2.out_channels for block in encoder.down_blocks]
    return {
        "_class_name": "AutoencoderKL",
        "act_fn": "silu",
        "block_out_channels": channels,
        "down_block_types": ["DownEncoderBlock2D"] * len(channels),
        "force_upcast": True,
        "in_channels": vae.shape[0],
        "latent_channels": vae.latent_shape[0],
        "layers_per_block": len(encoder.down_blocks[0].resnets),
        "norm_num_groups": encoder.conv_norm_out.num_groups,
        "out_channels": vae.shape[0],
        "sample_size": max(vae.shape[1:]),
        "scaling_factor": 1 / scale.deviation,
        "shift_factor": scale.mean,
        "up_block_types": ["UpDecoderBlock2D"] * len(channels),
    }


def convert_weights(vae: VAE) -> dict[str, Tensor]:
    """Return the weights by their names in AutoencoderKL."""
    weights = {}
    for part, network in {"encoder": vae.encoder, "decoder": vae.decoder}.items():
        for name, weight in network.state_dict().items():
            is_outside = name.startswith(("quant_conv", "post_quant_conv"))
            weights[name if is_outside else f"{part}.{name}"] = weight.contiguous()
    location = slice(vae.shape[0])  # other outputs are scales of pixels
    weights["decoder.conv_out.weight"] = 2 * weights["decoder.conv_out.weight"][location]
    weights["decoder.conv_out.bias"] = 2 * weights["decoder.conv_out.bias"][location] - 1
    return weights


def measure_latents(run: RunParts) -> LatentScale:
    """Compute mean and standard deviation of the latents z ~ q(z|x) of training images.

    All channels and positions together have one mean and one standard deviation.
    """
    sums = torch.zeros(2, dtype=torch.float64)
    count = images = 0
    total = len(run.data.splits["train"].images)
    subset = MEASURED_IMAGES if total > MEASURED_IMAGES else None
    batches = iterate_batches(
        run.vae, run.data, "train", run.cfg.seed, subset, title="measuring latents of"
    )
    for _, (model, x, _, _) in batches:
        z = model.encode(x).sample().double()
        sums += torch.stack([z.sum(), z.square().sum()])
        count, images = count + z.numel(), images + len(z)
    mean, square = (sums / count).tolist()
    return LatentScale(mean, math.sqrt(square - mean**2), images)
