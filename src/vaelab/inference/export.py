"""Export a trained model to ONNX and safetensors, with a model card.

The exported networks are checked: onnxruntime and torch must agree on batches of several sizes.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vaelab.inference.encoding import extract_posterior_parameters
from vaelab.inference.model_card import render_model_card
from vaelab.runs import weights
from vaelab.runs.metrics_file import RunMetrics
from vaelab.runs.run import RunParts
from vaelab.runtime.seeding import Stream, seeded_noise
from vaelab.vae import VAE

TOLERANCE = 1e-4  # relative and absolute, between onnxruntime and torch
BATCH_SIZES = (3, 1, 8)  # of the batches to compare; the first batch is traced


class ExportedEncoder(nn.Module):
    """The encoder: maps x (B, *shape) of the data to the parameters of q(z|x).

    Conditional models also take label (B, labels). The first output is a z to decode.
    """

    def __init__(self, vae: VAE):
        super().__init__()
        self.vae = vae

    def forward(self, x: Tensor, label: Tensor | None = None) -> dict[str, Tensor]:
        model = self.vae if label is None else self.vae.condition_on(label)
        x = x if self.vae.standardization is None else self.vae.standardization.apply(x)
        q = model.encode(x)
        parameters = extract_posterior_parameters(q)
        return {"mode": q.mode} | parameters if "code" in parameters else parameters


class ExportedDecoder(nn.Module):
    """The decoder: maps z (B, latent_dim) to the mean of p(x|z).

    Conditional models also take label (B, labels).
    """

    def __init__(self, vae: VAE):
        super().__init__()
        self.vae = vae

    def forward(self, z: Tensor, label: Tensor | None = None) -> dict[str, Tensor]:
        model = self.vae if label is None else self.vae.condition_on(label)
        return {"mean": self.vae.to_data_units(model.decode(z).mean)}


@torch.no_grad()
def export_model(run: RunParts, folder: Path, numbers: RunMetrics) -> list[Path]:
    """Write encoder.onnx, decoder.onnx, model.safetensors and README.md to a folder.

    A q(z|x) without a closed-form mean or mode, such as a flow, has no encoder.onnx.

    Arguments:
        numbers: The metrics.json of the run; empty if there is none.

    Returns:
        The written files.

    Raises:
        RuntimeError: If onnxruntime and torch disagree.
    """
    vae = run.module.cpu().eval().vae
    folder.mkdir(parents=True, exist_ok=True)
    encoder, decoder = folder / "encoder.onnx", folder / "decoder.onnx"
    outputs = list(ExportedEncoder(vae)(**_make_inputs(vae, "x", 1)))
    if outputs:
        _export_network(ExportedEncoder(vae), "x", encoder)
    _export_network(ExportedDecoder(vae), "z", decoder)
    run.save(folder / weights.FILE_NAME)
    (folder / "README.md").write_text(render_model_card(run, outputs, numbers), encoding="utf-8")
    written = [decoder, folder / weights.FILE_NAME, folder / "README.md"]
    return [encoder, *written] if outputs else written


def _make_inputs(vae: VAE, name: str, size: int) -> dict[str, Tensor]:
    """Make a random batch to trace or compare a network, with input `name` x or z."""
    with seeded_noise(Stream.SAMPLES, size):
        x = torch.rand(size, *vae.shape) if name == "x" else torch.randn(size, vae.latent_dim)
    if not vae.conditional:
        return {name: x}
    labels: Any = vae.labels
    return {name: x, "label": torch.eye(labels)[torch.arange(size) % labels]}


def _export_network(network: ExportedEncoder | ExportedDecoder, name: str, path: Path) -> None:
    """Export a network without metadata of this machine, and check the result."""
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    network.eval()
    inputs = _make_inputs(network.vae, name, BATCH_SIZES[0])
    outputs, batch = list(network(**inputs)), torch.export.Dim("batch")
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", ".*were assigned during export.*"
        )  # by the last pass of a ladder
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
    _check_agreement(network, name, path)


def _check_agreement(network: ExportedEncoder | ExportedDecoder, name: str, path: Path) -> None:
    """Check that onnxruntime and torch agree, or remove the file and raise."""
    from onnxruntime import InferenceSession

    session = InferenceSession(path, providers=["CPUExecutionProvider"])
    for size in BATCH_SIZES:
        inputs = _make_inputs(network.vae, name, size)
        outputs: Any = session.run(None, {key: value.numpy() for key, value in inputs.items()})
        for expected, output in zip(network(**inputs).values(), outputs, strict=True):
            if not np.allclose(expected.numpy(), output, rtol=TOLERANCE, atol=TOLERANCE):
                path.unlink()
                raise RuntimeError(f"{path} and torch disagree by more than {TOLERANCE}")
