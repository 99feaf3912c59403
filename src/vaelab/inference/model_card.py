"""The model card, which is the README.md of an exported model."""

import shlex
from collections.abc import Sequence

from vaelab.runs.metrics_file import RunMetrics, describe_images, markdown_table
from vaelab.runs.run import RunParts
from vaelab.vae import VAE

TEMPLATE = """\
# A variational autoencoder of {data}

Trained with vaelab for {step} optimizer steps with the command

    {command}

Its parts are {choices}.

| file | input | output |
|---|---|---|
{encoder}| decoder.onnx | z (n, {latent_dim}){label} | mean: the mean of p(x\\|z) |
| model.safetensors | | weights and config, to open with `vaelab.load` |

{notes}
{numbers}
## Use

```python
{use}
```
{licence}"""
ENCODER_ROW = "| encoder.onnx | x (n, {shape}){label} | {outputs} |\n"
OUTPUT_MEANINGS = {
    "mean": "the mean of q(z\\|x)",
    "scale": "the standard deviation of q(z\\|x) in each dimension",
    "direction": "the mean direction of q(z\\|x)",
    "concentration": "the concentration of q(z\\|x)",
    "mode": "the mode of q(z\\|x), for layers of z each given the layers before",
    "code": "the codebook index at each position of z, int64",
}
IGNORED_GROUPS = ("logger", "callbacks", "trainer")  # choices that do not affect the model


def render_model_card(run: RunParts, outputs: Sequence[str], numbers: RunMetrics) -> str:
    """Render a card that describes the exported files and how to use them.

    Arguments:
        outputs: The names of the outputs of encoder.onnx; empty without an encoder.
        numbers: The metrics.json of the run; empty without one.
    """
    vae, choices = run.vae, run.choices.items()
    parts = [f"{group}={name}" for group, name in choices if name and group not in IGNORED_GROUPS]
    label = f", label (n, {vae.labels})" if vae.conditional else ""
    meanings = "; ".join(f"{name}: {OUTPUT_MEANINGS[name]}" for name in outputs)
    encoder = ENCODER_ROW.format(shape=_format_shape(vae), label=label, outputs=meanings)
    return TEMPLATE.format(
        data=run.choices.get("data", "its data set"),
        step=run.step,
        command=shlex.join(["vaelab", "train", *run.overrides]),
        choices=" ".join(parts),
        encoder=encoder if outputs else "",
        latent_dim=vae.latent_dim,
        label=label,
        notes="\n".join(_list_notes(vae, outputs)),
        numbers=_render_numbers(numbers) if numbers else "",
        use="\n".join(_render_usage(vae, outputs)),
        licence=f"\n## Data\n\n{run.data.licence}\n" if run.data.licence else "",
    )


def _format_shape(vae: VAE) -> str:
    return ", ".join(map(str, vae.shape))


def _list_notes(vae: VAE, outputs: Sequence[str]) -> list[str]:
    notes = ["All arrays are float32. n is any number of images."]
    if vae.likelihood.pixels == "real":
        notes.append("x has the values of the data set; images lie between 0 and 1.")
    elif vae.likelihood.pixels in ("count", "mixed"):
        notes.append("x has the values of the data set, which are not scaled.")
    else:
        notes.append("Pixels lie between 0 and 1.")
    if not outputs:
        notes.append("q(z|x) has no closed-form mean or mode, so there is no encoder.")
    if vae.conditional:
        notes.append(
            "A label is the one-hot vector of a class, or a vector of attributes that are 0 or 1."
        )
    return notes


def _render_numbers(numbers: RunMetrics) -> str:
    """Render the table that is printed at the end of a run."""
    lines = ["", "## Numbers", ""]
    lines += [f"Means over {describe_images(numbers)}.", ""]
    lines += markdown_table(numbers)
    if "samples" in numbers:
        lines += ["", f"The NLL is a bound with {numbers['samples']} importance samples."]
    return "\n".join([*lines, ""])


def _render_usage(vae: VAE, outputs: Sequence[str]) -> list[str]:
    lines, label = ["import numpy as np, onnxruntime"], ""
    if vae.conditional:
        lines.append(f"label = np.eye({vae.labels}, dtype=np.float32)[[0, 0, 0]]")
        label = ', "label": label'
    if outputs:
        lines += [
            'encoder = onnxruntime.InferenceSession("encoder.onnx")',
            f"x = np.zeros((3, {_format_shape(vae)}), np.float32)",
            f'[z] = encoder.run(["{outputs[0]}"], {{"x": x{label}}})',
        ]
    else:
        lines.append(f"z = np.random.randn(3, {vae.latent_dim}).astype(np.float32)")
    return [
        *lines,
        'decoder = onnxruntime.InferenceSession("decoder.onnx")',
        f'[mean] = decoder.run(None, {{"z": z{label}}})',
    ]
