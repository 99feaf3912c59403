"""model.safetensors: a trained model in one file."""

import json

import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file

from vaelab.evaluation.likelihood import evaluate_likelihood
from vaelab.runs import weights
from vaelab.runs.run import RunParts

TINY = ("model.hidden=[8]", "latent_dim=3")


@pytest.fixture
def save_run(finished_run, tmp_path):
    """Train a run and save its weights; return the run folder and the file."""

    def train_and_save(*words):
        tiny = TINY[1:] if any("channels" in word for word in words) else TINY
        folder = finished_run(*tiny, *words)["folder"]
        path = tmp_path / "weights" / weights.FILE_NAME
        RunParts.open(folder, with_data=False).save(path)
        return folder, path

    return train_and_save


def test_file_opens_like_its_run(save_run, tmp_path):
    folder, path = save_run("seed=3")
    run, opened = RunParts.open(folder), RunParts.open(path)
    assert opened.step == run.step == 2
    assert opened.choices == run.choices
    assert opened.choices["model"] == "mlp"
    assert opened.cfg == run.cfg
    assert opened.overrides == run.overrides
    numbers = evaluate_likelihood(opened.vae, opened.data, "test", samples=2, seed=3)
    assert numbers == evaluate_likelihood(run.vae, run.data, "test", samples=2, seed=3)
    assert RunParts.open(path.parent).step == 2


def test_same_run_gives_the_same_bytes(save_run, tmp_path):
    folder, path = save_run("model=conv", "model.channels=[4,8]")
    for _ in range(5):
        RunParts.open(folder, with_data=False).save(tmp_path / "copy.safetensors")
        assert path.read_bytes() == (tmp_path / "copy.safetensors").read_bytes()


def test_saving_an_opened_file_gives_the_same_bytes(save_run, tmp_path):
    _, path = save_run()
    RunParts.open(path, with_data=False).save(tmp_path / "copy.safetensors")
    assert path.read_bytes() == (tmp_path / "copy.safetensors").read_bytes()


def test_file_contains_no_path_of_this_machine(save_run, idx, tmp_path, monkeypatch):
    monkeypatch.setenv("VAELAB_DATA", idx.root)
    _, path = save_run("data=mnist", "data.validation=10", "data.batch_size=8")
    assert str(tmp_path).encode() not in path.read_bytes()


def test_file_opens_without_the_parameters_of_a_critic(save_run):
    folder, path = save_run("objective=factor")
    assert load_file(path).keys() == RunParts.open(folder, with_data=False).vae.state_dict().keys()
    run = RunParts.open(path, with_data=False)
    assert any(name.startswith("objective.") for name in run.module.state_dict())


def test_sampling_needs_no_data_set(save_run, idx, command, tmp_path):
    _, path = save_run(
        "data=mnist", f"data.root={idx.root}", "data.validation=10", "data.batch_size=8"
    )
    (tmp_path / "idx").rename(tmp_path / "moved")
    status, output = command("scripts/sample.py", str(path.parent), "n=4")
    assert status == 0, output
    assert (path.parent / "samples" / "prior.png").is_file()
    status, _ = command("scripts/sample.py", str(path), "n=4", "sampler=gmm")
    assert "VAELAB_DATA" in status


def test_file_can_be_evaluated(save_run, command):
    folder, path = save_run()
    words = ("--samples", "2", "--images", "100", "--parts", "likelihood")
    status, output = command("scripts/evaluate.py", str(path), *words)
    assert status == 0, output
    (file,) = (path.parent / "evaluation").glob("*/numbers.json")
    numbers = json.loads(file.read_text())
    assert numbers["elbo"] == json.loads((folder / "metrics.json").read_text())["elbo"]
    assert numbers["choices"]["model"] == "mlp"


@pytest.mark.slow
def test_run_can_start_from_a_file(save_run, train):
    folder, path = save_run()
    words = (*TINY, "prior=mixture", "objective=prior", "optimizer.lr=1e-30")
    started = train(*words, f"start={path.parent}", folder="second")["folder"]
    decoder, expected = RunParts.open(started).vae.decoder, RunParts.open(folder).vae.decoder
    for first, second in zip(decoder.parameters(), expected.parameters(), strict=True):
        assert torch.equal(first, second)


def replace_metadata(path, **metadata):
    """Write the same tensors with other metadata."""
    header = {weights.METADATA_KEY: json.dumps(metadata)} if metadata else None
    save_file(load_file(path), path, header)


def test_untrusted_file_cannot_start_a_program(save_run, command, tmp_path):
    folder, path = save_run()
    cfg = OmegaConf.load(folder / ".hydra" / "config.yaml")
    cfg.kl = {"_target_": "torch.utils.collect_env.run", "command": f"touch {tmp_path}/started"}
    metadata = {"choices": {}, "overrides": [], "step": 1}
    replace_metadata(path, config=OmegaConf.to_yaml(cfg), **metadata)
    for script in ("evaluate", "sample", "encode", "export"):
        status, _ = command(f"scripts/{script}.py", str(path))
        assert "torch.utils.collect_env.run is not a class of" in status
    assert not (tmp_path / "started").exists()


def test_damaged_file_says_what_is_wrong_with_it(save_run, command):
    _, path = save_run()
    intact = path.read_bytes()

    def get_error(*words):
        status, output = command("scripts/evaluate.py", str(path.parent), *words)
        assert status.startswith("error: ")
        assert "\n" not in status
        assert "Traceback" not in output
        return status

    assert "leave out checkpoint=last" in get_error("--checkpoint", "last")
    path.write_bytes(intact[:-100])
    assert "is truncated, or not a file of weights" in get_error()
    path.write_text("not weights")
    assert "is truncated, or not a file of weights" in get_error()
    for metadata in (
        {},
        {"step": 1},
        {"config": "data: [", "step": 1, "choices": {}, "overrides": []},
        {"config": "a: 1", "step": 1, "choices": {}, "overrides": []},
        {"config": "data: 1\nmodule: 1", "step": "many", "choices": {}, "overrides": []},
    ):
        path.write_bytes(intact)
        replace_metadata(path, **metadata)
        assert "has no config of vaelab in its metadata" in get_error()
