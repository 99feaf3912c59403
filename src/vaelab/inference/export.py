"""A trained model for other programs: `export(run, folder)` writes ONNX, safetensors and a card.

onnxruntime runs what was written, on batches of several sizes, and it has to agree with torch.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vaelab.inference.encoding import posterior_parameters
from vaelab.inference.model_card import render_model_card
from vaelab.runs import weights
from vaelab.runs.run import Run
from vaelab.runtime.seeding import Stream, seeded_noise
from vaelab.vae import VAE

TOLERANCE = 1e-4
SIZES = (3, 1, 8)  # of the batches that are compared; the first is the one that is traced


class ExportedEncoder(nn.Module):
    """x (B, *shape), and label (B, labels) of a conditional model, to the numbers of q(z|x).

    The first of them is a z that can be decoded.
    """

    def __init__(self, vae: VAE):
        super().__init__()
        self.vae = vae

    def forward(self, x: Tensor, label: Tensor | None = None) -> dict[str, Tensor]:
        model = self.vae if label is None else self.vae.condition_on(label)
        q = model.encode(x)
        found = posterior_parameters(q)
        return {"mode": q.mode} | found if "code" in found else found


class ExportedDecoder(nn.Module):
    """z (B, latent_dim), and label (B, labels) of a conditional model, to the mean of p(x|z)."""

    def __init__(self, vae: VAE):
        super().__init__()
        self.vae = vae

    def forward(self, z: Tensor, label: Tensor | None = None) -> dict[str, Tensor]:
        model = self.vae if label is None else self.vae.condition_on(label)
        return {"mean": model.decode(z).mean}


@torch.no_grad()
def export_model(run: Run, folder: Path, numbers: dict[str, Any]) -> list[Path]:
    """Write encoder.onnx, decoder.onnx, model.safetensors and README.md; what was written.

    There is no encoder.onnx of a q(z|x) without a mean or a mode, such as a flow.

    Arguments:
        numbers: metrics.json of the run, empty where there is none.
    """
    vae = run.module.cpu().eval().vae
    folder.mkdir(parents=True, exist_ok=True)
    encoder, decoder = folder / "encoder.onnx", folder / "decoder.onnx"
    outputs = list(ExportedEncoder(vae)(**_inputs(vae, "x", 1)))
    if outputs:
        _write(ExportedEncoder(vae), "x", encoder)
    _write(ExportedDecoder(vae), "z", decoder)
    run.save(folder / weights.FILE_NAME)
    (folder / "README.md").write_text(render_model_card(run, outputs, numbers))
    written = [decoder, folder / weights.FILE_NAME, folder / "README.md"]
    return [encoder, *written] if outputs else written


def _inputs(vae: VAE, name: str, size: int) -> dict[str, Tensor]:
    """Something to try a network on."""
    with seeded_noise(Stream.SAMPLES, size):
        x = torch.rand(size, *vae.shape) if name == "x" else torch.randn(size, vae.latent_dim)
    if not vae.conditional:
        return {name: x}
    labels: Any = vae.labels
    return {name: x, "label": torch.eye(labels)[torch.arange(size) % labels]}


def _write(network: ExportedEncoder | ExportedDecoder, name: str, path: Path) -> None:
    """Trace a network, without what the tracing says of this machine, and compare the two."""
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    network.eval()
    inputs = _inputs(network.vae, name, SIZES[0])
    outputs, batch = list(network(**inputs)), torch.export.Dim("batch")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*were assigned during export.*")  # a ladder's last pass
        warnings.filterwarnings("ignore", ".*shares the same shape constraints.*")  # x and label
        program: Any = torch.onnx.export(
            network,
            tuple(inputs.values()),
            dynamo=True,
            input_names=list(inputs),
            output_names=outputs,
            dynamic_shapes=tuple({0: batch} for _ in inputs),
            verbose=False,
        )
    ClearMetadataAndDocStringPass()(program.model)
    program.save(path, external_data=False)
    _compare(network, name, path)


def _compare(network: ExportedEncoder | ExportedDecoder, name: str, path: Path) -> None:
    from onnxruntime import InferenceSession

    session = InferenceSession(path, providers=["CPUExecutionProvider"])
    for size in SIZES:
        inputs = _inputs(network.vae, name, size)
        theirs: Any = session.run(None, {key: value.numpy() for key, value in inputs.items()})
        for ours, found in zip(network(**inputs).values(), theirs, strict=True):
            if not np.allclose(ours.numpy(), found, rtol=TOLERANCE, atol=TOLERANCE):
                path.unlink()
                raise RuntimeError(f"{path} and torch disagree by more than {TOLERANCE}")
