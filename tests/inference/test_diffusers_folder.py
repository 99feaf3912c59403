"""vaelab export --format diffusers: AutoencoderKL computes what the model computes."""

import json

import pytest
import torch
from safetensors.torch import load_file

from vaelab.distributions.grid import vector_to_grid
from vaelab.inference import diffusers_folder
from vaelab.inference.batches import iterate_batches
from vaelab.inference.diffusers_folder import WEIGHTS_FILE, export_to_diffusers
from vaelab.runs.run import RunParts
from vaelab.runtime.errors import UserError

SMALL = ("model=autoencoder", "model.channels=[6,12]", "data.binarize=none", "loss=mse")


@pytest.fixture
def run(config, monkeypatch):
    """A function that builds a run whose weights are not those of the start."""
    monkeypatch.setattr(diffusers_folder, "MEASURED_IMAGES", 40)

    def make(*words):
        run = RunParts.build(config(*SMALL, "trainer=smoke", *words))
        run.load_data()
        with torch.no_grad():
            for weight in run.vae.parameters():
                weight.add_(0.1 * torch.randn_like(weight))
        return run

    return make


@pytest.mark.parametrize(
    "words",
    [(), ("loss=gaussian", "loss.scale=pixel"), ("model.layers=2", "model.channels=[4,6,8]")],
)
def test_diffusers_opens_the_folder_with_the_same_output(run, tmp_path, words):
    diffusers = pytest.importorskip(
        "diffusers", reason="diffusers, which opens the exported folder, is not installed"
    )
    run = run(*words)
    export_to_diffusers(run, tmp_path)
    opened = diffusers.AutoencoderKL.from_pretrained(tmp_path)
    vae, x = run.vae, torch.rand(5, *run.vae.shape)
    with torch.no_grad():
        q, p = opened.encode(2 * x - 1).latent_dist, vae.encode(x)
        shape = vae.latent_shape
        torch.testing.assert_close(q.mean, vector_to_grid(p.mean, shape), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(q.std, vector_to_grid(p.scale, shape), rtol=1e-4, atol=1e-4)
        image = (opened.decode(q.mean).sample + 1) / 2
        torch.testing.assert_close(image, vae.decode(p.mean).mean, rtol=1e-4, atol=1e-4)


def test_folder_has_the_measured_scale_and_the_names_of_diffusers(run, tmp_path):
    run = run()
    written = export_to_diffusers(run, tmp_path)
    assert sorted(written) == sorted(tmp_path.iterdir())
    config, weights = json.loads((tmp_path / "config.json").read_text()), load_file(written[1])
    batches = iterate_batches(run.vae, run.data, "train", run.cfg.seed, images=40)
    with torch.no_grad():
        z = torch.cat([model.encode(x).sample() for _, (model, x, *_) in batches]).double()
    assert config["shift_factor"] == pytest.approx(z.mean().item(), abs=1e-6)
    assert config["scaling_factor"] == pytest.approx(1 / z.std(correction=0).item(), rel=1e-5)
    assert config["block_out_channels"] == [6, 12]
    assert (config["norm_num_groups"], config["latent_channels"]) == (6, 4)
    assert written[1].name == WEIGHTS_FILE
    assert len(weights) == len(run.vae.encoder.state_dict()) + len(run.vae.decoder.state_dict())
    own = run.vae.decoder.conv_out
    torch.testing.assert_close(weights["decoder.conv_out.weight"], 2 * own.weight)
    torch.testing.assert_close(weights["decoder.conv_out.bias"], 2 * own.bias - 1)
    for name in ("quant_conv.weight", "decoder.up_blocks.0.upsamplers.0.conv.bias"):
        assert name in weights
    card = (tmp_path / "README.md").read_text()
    assert "The latents of 40 training images" in card
    assert "`(z - shift_factor) * scaling_factor`" in card


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("model=mlp", "model.hidden=[4]", "latent_dim=3"), "needs a run of model=autoencoder"),
        (("posterior=diagonal",), "train with posterior=clamped"),
        (("loss=bce",), r"other parameters of p\(x\|z\): train with loss=mse"),
    ],
)
def test_models_that_diffusers_cannot_compute_are_refused(config, tmp_path, words, message):
    chosen = ("model=autoencoder", "model.channels=[4,8]") if "model=mlp" not in words else ()
    run = RunParts.build(config(*chosen, *words))
    with pytest.raises(UserError, match=message):
        export_to_diffusers(run, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_command_writes_the_folder(train, command):
    folder = train(*SMALL)["folder"]
    status, output = command("scripts/export.py", str(folder), "--format", "diffusers")
    assert status == 0, output
    assert {path.name for path in (folder / "diffusers").iterdir()} == {
        "config.json",
        "README.md",
        WEIGHTS_FILE,
    }
    status, output = command("scripts/export.py", str(folder), "--format=diffusers", "--weights")
    assert status != 0
