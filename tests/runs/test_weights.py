"""model.safetensors: a run in one file."""

import json

import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file
from safetensors.torch import save_file as write

from vaelab.evaluation.likelihood import evaluate_likelihood
from vaelab.runs import weights
from vaelab.runs.run import Run

TINY = ("model.hidden=[8]", "latent_dim=3")


@pytest.fixture
def best(train, tmp_path):
    """A run, and its weights alone in a folder."""

    def make(*words):
        small = TINY[1:] if any("channels" in word for word in words) else TINY
        folder = train(*small, *words)["folder"]
        path = tmp_path / "best" / weights.FILE_NAME
        Run.open(folder, with_data=False).save(path)
        return folder, path

    return make


def test_it_opens_as_the_run_does(best, tmp_path):
    folder, path = best("seed=3")
    run, again = Run.open(folder), Run.open(path)
    assert again.step == run.step == 2
    assert again.choices == run.choices
    assert again.choices["model"] == "mlp"
    assert again.cfg == run.cfg
    assert again.overrides == run.overrides
    numbers = evaluate_likelihood(again.vae, again.data, "test", samples=2, seed=3)
    assert numbers == evaluate_likelihood(run.vae, run.data, "test", samples=2, seed=3)
    assert Run.open(path.parent).step == 2


def test_the_same_run_gives_the_same_bytes(best, tmp_path):
    folder, path = best("model=conv", "model.channels=[4,8]")
    for _ in range(5):
        Run.open(folder, with_data=False).save(tmp_path / "again.safetensors")
        assert path.read_bytes() == (tmp_path / "again.safetensors").read_bytes()


def test_weights_of_weights_are_the_same_file(best, tmp_path):
    _, path = best()
    Run.open(path, with_data=False).save(tmp_path / "again.safetensors")
    assert path.read_bytes() == (tmp_path / "again.safetensors").read_bytes()


def test_it_names_no_folder_of_this_machine(best, idx, tmp_path, monkeypatch):
    monkeypatch.setenv("VAELAB_DATA", idx.root)
    _, path = best("data=mnist", "data.validation=10", "data.batch_size=8")
    assert str(tmp_path).encode() not in path.read_bytes()


def test_a_critic_is_left_out_and_not_missed(best):
    folder, path = best("objective=factor")
    assert load_file(path).keys() == Run.open(folder, with_data=False).vae.state_dict().keys()
    run = Run.open(path, with_data=False)
    assert any(name.startswith("objective.") for name in run.module.state_dict())


def test_new_images_need_no_data_set(best, idx, command, tmp_path):
    _, path = best("data=mnist", f"data.root={idx.root}", "data.validation=10", "data.batch_size=8")
    (tmp_path / "idx").rename(tmp_path / "gone")
    status, output = command("scripts/sample.py", str(path.parent), "n=4")
    assert status == 0, output
    assert (path.parent / "samples" / "prior.png").is_file()
    status, _ = command("scripts/sample.py", str(path), "n=4", "sampler=gmm")
    assert "VAELAB_DATA" in status


def test_it_can_be_evaluated(best, command):
    folder, path = best()
    words = ("--samples", "2", "--parts", "likelihood")
    status, output = command("scripts/evaluate.py", str(path), *words)
    assert status == 0, output
    (found,) = (path.parent / "evaluation").glob("*/numbers.json")
    numbers = json.loads(found.read_text())
    assert numbers["elbo"] == json.loads((folder / "metrics.json").read_text())["elbo"]
    assert numbers["choices"]["model"] == "mlp"


def test_a_run_can_start_from_it(best, train):
    folder, path = best()
    words = (*TINY, "prior=mixture", "objective=prior", "optimizer.lr=0")
    started = train(*words, f"start={path.parent}", folder="second")["folder"]
    ours, theirs = Run.open(started).vae.decoder, Run.open(folder).vae.decoder
    for first, second in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(first, second)


def rewritten(path, **said):
    """The same tensors with other metadata."""
    write(load_file(path), path, {weights.KEY: json.dumps(said)} if said else None)


def test_a_file_from_elsewhere_cannot_start_a_program(best, command, tmp_path):
    folder, path = best()
    cfg = OmegaConf.load(folder / ".hydra" / "config.yaml")
    cfg.kl = {"_target_": "torch.utils.collect_env.run", "command": f"touch {tmp_path}/started"}
    said = {"choices": {}, "overrides": [], "step": 1}
    rewritten(path, config=OmegaConf.to_yaml(cfg), **said)
    for script in ("evaluate", "sample", "encode", "export"):
        status, _ = command(f"scripts/{script}.py", str(path))
        assert "torch.utils.collect_env.run is no class of" in status
    assert not (tmp_path / "started").exists()


def test_a_bad_file_says_what_is_wrong_with_it(best, command):
    _, path = best()
    whole = path.read_bytes()

    def refusal(*words):
        status, output = command("scripts/evaluate.py", str(path.parent), *words)
        assert status.startswith("error: ")
        assert "\n" not in status
        assert "Traceback" not in output
        return status

    assert "leave out checkpoint last" in refusal("--checkpoint", "last")
    path.write_bytes(whole[:-100])
    assert "is truncated or no file of weights" in refusal()
    path.write_text("no weights")
    assert "is truncated or no file of weights" in refusal()
    for said in (
        {},
        {"step": 1},
        {"config": "data: [", "step": 1, "choices": {}, "overrides": []},
        {"config": "a: 1", "step": 1, "choices": {}, "overrides": []},
        {"config": "data: 1\nmodule: 1", "step": "many", "choices": {}, "overrides": []},
    ):
        path.write_bytes(whole)
        rewritten(path, **said)
        assert "has no config of vaelab in its metadata" in refusal()
