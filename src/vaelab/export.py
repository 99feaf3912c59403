"""A trained model for other programs: `export(run, folder)` writes ONNX, safetensors and a card.

onnxruntime runs what was written, on batches of several sizes, and it has to agree with torch.
"""

import shlex
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vaelab import record, weights
from vaelab.encode import parts
from vaelab.noise import Stream, noise
from vaelab.run import Run
from vaelab.vae import VAE

TOLERANCE = 1e-4
SIZES = (3, 1, 8)  # of the batches that are compared; the first is the one that is traced
MEANINGS = {
    "mean": "the mean of q(z\\|x)",
    "scale": "its standard deviation in each dimension",
    "direction": "the mean direction of q(z\\|x)",
    "concentration": "its concentration",
    "mode": "each layer of z at its mode given those before it, of categories the likeliest",
    "code": "the index of the code at each position of z",
}


class Encoder(nn.Module):
    """x (B, *shape), and label (B, labels) of a conditional model, to the numbers of q(z|x).

    The first of them is a z that can be decoded.
    """

    def __init__(self, vae: VAE):
        super().__init__()
        self.vae = vae

    def forward(self, x: Tensor, label: Tensor | None = None) -> dict[str, Tensor]:
        model = self.vae if label is None else self.vae.given(label)
        q = model.encode(x)
        found = parts(q)
        return {"mode": q.mode} | found if "code" in found else found


class Decoder(nn.Module):
    """z (B, latent_dim), and label (B, labels) of a conditional model, to the mean of p(x|z)."""

    def __init__(self, vae: VAE):
        super().__init__()
        self.vae = vae

    def forward(self, z: Tensor, label: Tensor | None = None) -> dict[str, Tensor]:
        model = self.vae if label is None else self.vae.given(label)
        return {"mean": model.decode(z).mean}


@torch.no_grad()
def export(run: Run, folder: Path, numbers: dict[str, Any]) -> list[Path]:
    """Write encoder.onnx, decoder.onnx, model.safetensors and README.md; what was written.

    There is no encoder.onnx of a q(z|x) without a mean or a mode, such as a flow.

    Arguments:
        numbers: metrics.json of the run, empty where there is none.
    """
    vae = run.module.cpu().eval().vae
    folder.mkdir(parents=True, exist_ok=True)
    encoder, decoder = folder / "encoder.onnx", folder / "decoder.onnx"
    outputs = list(Encoder(vae)(**_inputs(vae, "x", 1)))
    if outputs:
        _write(Encoder(vae), "x", encoder)
    _write(Decoder(vae), "z", decoder)
    weights.save(run, folder / weights.NAME)
    card = folder / "README.md"
    card.write_text(_card(run, outputs, numbers))
    return [*([encoder] if outputs else []), decoder, folder / weights.NAME, card]


def _inputs(vae: VAE, name: str, size: int) -> dict[str, Tensor]:
    """Something to try a network on."""
    with noise(Stream.SAMPLES, size):
        x = torch.rand(size, *vae.shape) if name == "x" else torch.randn(size, vae.latent_dim)
    if not vae.conditional:
        return {name: x}
    labels: Any = vae.labels
    return {name: x, "label": torch.eye(labels)[torch.arange(size) % labels]}


def _write(network: Encoder | Decoder, name: str, path: Path) -> None:
    """Trace a network, without what the tracing says of this machine, and compare the two."""
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    network.eval()
    inputs = _inputs(network.vae, name, SIZES[0])
    outputs = list(network(**inputs))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*were assigned during export.*")  # a ladder's last pass
        program: Any = torch.onnx.export(
            network,
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=outputs,
            dynamic_shapes=tuple({0: torch.export.Dim("batch")} for _ in inputs),
            verbose=False,
        )
    ClearMetadataAndDocStringPass()(program.model)
    program.save(path, external_data=False)
    _compare(network, name, path)


def _compare(network: Encoder | Decoder, name: str, path: Path) -> None:
    from onnxruntime import InferenceSession

    session = InferenceSession(path, providers=["CPUExecutionProvider"])
    for size in SIZES:
        inputs = _inputs(network.vae, name, size)
        theirs: Any = session.run(None, {key: value.numpy() for key, value in inputs.items()})
        for ours, found in zip(network(**inputs).values(), theirs, strict=True):
            if not np.allclose(ours.numpy(), found, rtol=TOLERANCE, atol=TOLERANCE):
                raise RuntimeError(f"{path} and torch disagree by more than {TOLERANCE}")


def _card(run: Run, outputs: list[str], numbers: dict[str, Any]) -> str:
    parts = [_heading(run), _files(run.vae, outputs), _numbers(numbers), _use(run.vae, outputs)]
    licence = getattr(run.data, "licence", None)
    if licence:
        parts.append(f"## Data\n\n{licence}")
    return "\n\n".join(part for part in parts if part) + "\n"


def _heading(run: Run) -> str:
    chosen = " ".join(f"{group}={name}" for group, name in run.choices.items() if name)
    data = run.choices.get("data", "its data set")
    command = shlex.join(["python", "train.py", *run.overrides])
    return (
        f"# A variational autoencoder of {data}\n\nTrained with vaelab for {run.step} steps, by\n\n"
        f"    {command}\n\nwhich chose {chosen or 'what model.safetensors has in its metadata'}."
    )


def _files(vae: VAE, outputs: list[str]) -> str:
    x = f"x (n, {', '.join(map(str, vae.shape))})"
    z, label = f"z (n, {vae.latent_dim})", f", label (n, {getattr(vae, 'labels', 0)})"
    label = label if vae.conditional else ""
    given = "; ".join(f"{name}: {MEANINGS[name]}" for name in outputs)
    first = f"| encoder.onnx | {x}{label} | {given} |\n" if outputs else ""
    lines = [
        "| file | takes | gives |\n|---|---|---|\n"
        f"{first}| decoder.onnx | {z}{label} | mean: the mean of p(x\\|z) |\n"
        f"| {weights.NAME} | | the weights, with the config in its metadata: "
        "`vaelab.run.Run.open` takes it |",
        f"Everything is float32, n is any number of images. Pixels are scaled as {_pixels(vae)}.",
    ]
    if not outputs:
        lines.append("q(z|x) has no mean or mode that could be computed, so there is no encoder.")
    if label:
        lines.append("A label is the one-hot vector of a class, or the attributes as 0 and 1.")
    return "\n\n".join(lines)


def _pixels(vae: VAE) -> str:
    pixels = {"binary": "0 to 1", "levels": "0 to 1, in steps of 1/255"}
    return pixels.get(vae.likelihood.pixels, "in the data, pictures from 0 to 1")


def _numbers(numbers: dict[str, Any]) -> str:
    """The table at the end of a run."""
    if not numbers:
        return ""
    measure = f"{numbers['choices']['loss']} on {numbers['pixels']} pixels: {numbers['measure']}"
    lines = [
        f"## Numbers\n\nOf {numbers['images']} {numbers['split']} images, means over images.\n",
        f"| | {measure} |\n|---|---|",
    ]
    for key, title in record.TITLES.items():
        if key in numbers:
            lines.append(f"| {title} | {numbers[key]:.6g} |")
    if "samples" in numbers:
        lines.append(f"\nThe NLL is a bound of {numbers['samples']} importance samples.")
    return "\n".join(lines)


def _use(vae: VAE, outputs: list[str]) -> str:
    shape, label = ", ".join(map(str, vae.shape)), ""
    lines = ["import numpy as np, onnxruntime"]
    if vae.conditional:
        lines.append(f"label = np.eye({vae.labels}, dtype=np.float32)[[0, 1, 2]]")
        label = ', "label": label'
    if outputs:
        lines += [
            'encoder = onnxruntime.InferenceSession("encoder.onnx")',
            f"x = np.zeros((3, {shape}), np.float32)",
            f'z, *_ = encoder.run(["{outputs[0]}"], {{"x": x{label}}})',
        ]
    else:
        lines.append(f"z = np.random.randn(3, {vae.latent_dim}).astype(np.float32)")
    lines += [
        'decoder = onnxruntime.InferenceSession("decoder.onnx")',
        f'mean, = decoder.run(None, {{"z": z{label}}})',
    ]
    code = "\n".join(lines)
    return f"## Use\n\n```python\n{code}\n```"
