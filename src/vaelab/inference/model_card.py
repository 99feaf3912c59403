"""The README.md of an exported model: `card(run, outputs, numbers)`."""

import shlex
from collections.abc import Sequence
from typing import Any

from vaelab.runs import metrics_file
from vaelab.runs.run import Run
from vaelab.vae import VAE

TEMPLATE = """\
# A variational autoencoder of {data}

Trained with vaelab for {step} steps, by

    {command}

which chose {choices}.

| file | takes | gives |
|---|---|---|
{encoder}| decoder.onnx | z (n, {latent_dim}){label} | mean: the mean of p(x\\|z) |
| model.safetensors | | the weights, with their config: `vaelab.runs.run.Run.open` takes it |

{notes}
{numbers}
## Use

```python
{use}
```
{licence}"""
ENCODER = "| encoder.onnx | x (n, {shape}){label} | {outputs} |\n"
MEANINGS = {
    "mean": "the mean of q(z\\|x)",
    "scale": "its standard deviation in each dimension",
    "direction": "the mean direction of q(z\\|x)",
    "concentration": "its concentration",
    "mode": "each layer of z at its mode given those before it, of categories the likeliest",
    "code": "the index of the code at each position of z, int64",
}
OTHERS = ("logger", "callbacks", "trainer")  # choices that do not make a model another one


def render_model_card(run: Run, outputs: Sequence[str], numbers: dict[str, Any]) -> str:
    """What the files of an export are and how they are used.

    Arguments:
        outputs: Of encoder.onnx, none where there is none.
        numbers: metrics.json, or nothing.
    """
    vae, taken = run.vae, run.choices.items()
    chosen = [f"{group}={name}" for group, name in taken if name and group not in OTHERS]
    label = f", label (n, {vae.labels})" if vae.conditional else ""
    given = "; ".join(f"{name}: {MEANINGS[name]}" for name in outputs)
    encoder = ENCODER.format(shape=_shape(vae), label=label, outputs=given)
    return TEMPLATE.format(
        data=run.choices.get("data", "its data set"),
        step=run.step,
        command=shlex.join(["python", "train.py", *run.overrides]),
        choices=" ".join(chosen),
        encoder=encoder if outputs else "",
        latent_dim=vae.latent_dim,
        label=label,
        notes="\n".join(_notes(vae, outputs)),
        numbers=_numbers(numbers) if numbers else "",
        use="\n".join(_use(vae, outputs)),
        licence=f"\n## Data\n\n{run.data.licence}\n" if run.data.licence else "",
    )


def _shape(vae: VAE) -> str:
    return ", ".join(map(str, vae.shape))


def _notes(vae: VAE, outputs: Sequence[str]) -> list[str]:
    notes = ["Everything is float32 and n any number of images."]
    if vae.likelihood.pixels == "real":
        notes.append("x is as in the data, pictures between 0 and 1.")
    else:
        notes.append("Pixels lie between 0 and 1.")
    if not outputs:
        notes.append("q(z|x) has no mean or mode that could be computed, so there is no encoder.")
    if vae.conditional:
        notes.append("A label is the one-hot vector of a class, or attributes as 0 and 1.")
    return notes


def _numbers(numbers: dict[str, Any]) -> str:
    """The table at the end of a run."""
    lines = ["", "## Numbers", ""]
    lines += [f"Means over {numbers['images']} {numbers['split']} images.", ""]
    lines += metrics_file.markdown_table(numbers)
    if "samples" in numbers:
        lines += ["", f"The NLL is a bound of {numbers['samples']} importance samples."]
    return "\n".join([*lines, ""])


def _use(vae: VAE, outputs: Sequence[str]) -> list[str]:
    lines, label = ["import numpy as np, onnxruntime"], ""
    if vae.conditional:
        lines.append(f"label = np.eye({vae.labels}, dtype=np.float32)[[0, 0, 0]]")
        label = ', "label": label'
    if outputs:
        lines += [
            'encoder = onnxruntime.InferenceSession("encoder.onnx")',
            f"x = np.zeros((3, {_shape(vae)}), np.float32)",
            f'[z] = encoder.run(["{outputs[0]}"], {{"x": x{label}}})',
        ]
    else:
        lines.append(f"z = np.random.randn(3, {vae.latent_dim}).astype(np.float32)")
    return [
        *lines,
        'decoder = onnxruntime.InferenceSession("decoder.onnx")',
        f'[mean] = decoder.run(None, {{"z": z{label}}})',
    ]
