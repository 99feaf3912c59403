"""scripts/export.py: exported networks agree with torch in onnxruntime."""

import re

import numpy as np
import onnxruntime
import pytest
import torch
from conftest import ROOT, options
from tiny import DEEP, RESIDUAL_VQ

from vaelab.inference.export import ExportedEncoder, export_model
from vaelab.runs.run import RunParts

MLP = ["model.hidden=[8]", "latent_dim=3"]
CONV = ["model.channels=[4,8]", "latent_dim=3"]
MODELS = {
    "mlp": MLP,
    "conv": ["model=conv", *CONV],
    "resnet": ["model=resnet", *CONV, "model.blocks=1"],
    "full": [*MLP, "posterior=full"],
    "vmf": [*MLP, "posterior=vmf"],
    "deterministic": [*MLP, "posterior=deterministic", "objective=autoencoder"],
    "gumbel": [*MLP, "posterior=gumbel", "posterior.categories=3"],
    "vq": ["model=vq", "model.channels=4", "model.residual=2", "latent_dim=98", "posterior.dim=2"],
    "fsq": ["model=vq", "model.channels=4", "model.residual=2", "posterior=fsq"],
    "residual_vq": [*RESIDUAL_VQ],
    "ladder": ["model=ladder", "model.hidden=[8,6]", "model.latents=[2,1]", "latent_dim=3"],
    "deep": [*DEEP],
    "conditional deep": [*DEEP, "model.labels=10"],
    "ladder_conv": ["model=ladder_conv", CONV[0], "model.latents=[1,1]", "latent_dim=245"],
    "autoencoder": ["model=autoencoder", CONV[0], "loss=mse", "data.binarize=none"],
    "bottom_up": [
        "model=bottom_up",
        "model.hidden=[[8],[6]]",
        "model.latents=[2,1]",
        "latent_dim=3",
    ],
    "conditional": ["model=conditional", *MLP],
    "conditional_conv": ["model=conditional_conv", *CONV],
    "iaf": [*MLP, "posterior=iaf"],
    "planar": [*MLP, "posterior=planar"],
    "vamp": [*MLP, "prior=vamp", "prior.components=3"],
    "flow": [*MLP, "prior=flow"],
}
WITHOUT_ENCODER = {"iaf", "planar"}
LOSSES = [
    "loss=mixed data=table" if loss == "mixed" else f"loss={loss} data.binarize=none"
    for loss in options("loss")
]
SCALES = [
    "loss=gaussian loss.scale=optimal data.binarize=none",
    "loss=student_t loss.scale=pixel data.binarize=none",
]


@pytest.fixture
def run(config):
    def make(*words):
        run = RunParts.build(config(*words))
        with torch.no_grad():
            for weight in run.vae.parameters():
                weight.add_(0.1 * torch.randn_like(weight))  # so that no parameter is 0
        return run

    return make


def open_session(path):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def labels(vae, n):
    return {"label": torch.eye(10)[torch.arange(n) % 10]} if vae.conditional else {}


def check_export(run, folder, encodes=True):
    """Check that both networks agree with torch on batches of several sizes."""
    vae = run.vae
    decoder = open_session(folder / "decoder.onnx")
    for n in (1, 2, 5, 33):
        label = labels(vae, n)
        model = vae.condition_on(label["label"]) if label else vae
        known = {name: value.numpy() for name, value in label.items()}
        with torch.no_grad():
            z = 2 * torch.randn(n, vae.latent_dim)
            mean = model.decode(z).mean
            (output,) = decoder.run(["mean"], {"z": z.numpy(), **known})
            np.testing.assert_allclose(output, mean.numpy(), rtol=1e-4, atol=1e-4)
            if encodes:
                x = torch.rand(n, *vae.shape)
                q = model.encode(x)
                encoder = open_session(folder / "encoder.onnx")
                names = [output.name for output in encoder.get_outputs()]
                outputs = encoder.run(None, {"x": x.numpy(), **known})
                for name, output in zip(names, outputs, strict=True):
                    attribute = {"code": "indices", "scale": "stddev"}.get(name, name)
                    expected = getattr(q, attribute).numpy()
                    np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-4)
                assert encoder.get_outputs()[0].shape[1] == vae.latent_dim


def test_onnxruntime_agrees_with_torch(run, tmp_path):
    run = run(*MODELS["mlp"])
    paths = export_model(run, tmp_path, {})
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in paths}
    check_export(run, tmp_path)
    for path in tmp_path.glob("*.onnx"):
        content = path.read_bytes()
        assert str(ROOT).encode() not in content
        assert b"site-packages" not in content


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_every_kind_of_model_is_exported(run, tmp_path, name):
    run = run(*MODELS[name])
    export_model(run, tmp_path, {})
    assert (tmp_path / "encoder.onnx").exists() == (name not in WITHOUT_ENCODER)
    check_export(run, tmp_path, name not in WITHOUT_ENCODER)
    run_card_example(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("loss", [*LOSSES, *SCALES])
def test_decoder_gives_the_mean_of_every_likelihood(run, tmp_path, loss):
    run = run(*MLP, *loss.split())
    export_model(run, tmp_path, {})
    check_export(run, tmp_path)


def run_card_example(folder):
    """Run the example of the model card."""
    card = (folder / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert len(code.splitlines()) <= 7
    namespace = {}
    exec(code.replace('Session("', f'Session("{folder}/'), namespace)
    assert namespace["mean"].shape == (3, 1, 28, 28)
    return card


@pytest.mark.slow
def test_card_describes_the_model_and_its_usage(train, command):
    folder = train(*MLP, "seed=3")["folder"]
    status, output = command("scripts/export.py", str(folder))
    assert status == 0, output
    export = folder / "export"
    written = sorted(map(str, export.iterdir()))
    assert written in [sorted(line.split()) for line in output.splitlines()]
    card = run_card_example(export)
    for words in (
        "| bce on binary pixels: probability |",
        "| ELBO (nats per image) | -2",
        "100 random images of 500 test images",
        "a bound with 2 importance samples",
        "model=mlp",
        "for 2 optimizer steps",
        "CC BY-SA 3.0",
        "x (n, 1, 28, 28)",
    ):
        assert words in card
    assert RunParts.open(export).step == 2


@pytest.mark.slow
def test_flow_has_no_encoder_and_the_card_says_so(train, command):
    folder = train(*MLP, "posterior=iaf")["folder"]
    status, output = command("scripts/export.py", str(folder))
    assert status == 0
    assert "no encoder.onnx: q(z|x) of this run has neither a mean nor a mode" in output
    assert "there is no encoder" in run_card_example(folder / "export")


def test_disagreement_with_torch_is_an_error_and_removes_the_file(run, tmp_path, monkeypatch):
    monkeypatch.setattr(
        ExportedEncoder, "forward", lambda self, x: {"mean": x.flatten(1) + torch.rand(1)}
    )
    with pytest.raises(RuntimeError, match=r"encoder\.onnx and torch disagree"):
        export_model(run(*MLP), tmp_path, {})
    assert not [*tmp_path.iterdir()]
