"""Run folders that version 0.1 (commit 62fc578) wrote still open, resume and evaluate."""

import json
import shutil

import pytest
import torch
from conftest import CONF, ROOT
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from vaelab.evaluation.base import EvaluationConfig
from vaelab.evaluation.likelihood import evaluate
from vaelab.runs import old_names
from vaelab.runs.checkpoints import read_checkpoint
from vaelab.runs.run import RunParts

FIXTURES = ROOT / "tests" / "fixtures" / "runs_of_version_0.1"
EXPECTED = json.loads((FIXTURES / "expected.json").read_text())
FINISHED = [name for name in EXPECTED if (FIXTURES / name / "metrics.json").is_file()]
CLOSE = {"rel": 1e-3, "abs": 1e-3}  # the kernels of another CPU round differently


def check_numbers(numbers, name):
    """Check that numbers agree with those that version 0.1 computed."""
    for key, value in EXPECTED[name].items():
        assert numbers[key] == pytest.approx(value, **CLOSE), key


def test_fixtures_are_six_small_folders():
    assert sorted(path.name for path in FIXTURES.iterdir() if path.is_dir()) == [
        *("conditional", "ddp", "finished", "interrupted", "ladder", "multirun")
    ]
    assert sum(path.stat().st_size for path in FIXTURES.rglob("*") if path.is_file()) < 1e6


@pytest.mark.parametrize("name", FINISHED)
def test_finished_run_opens_and_evaluates_to_its_numbers(name):
    run = RunParts.open(FIXTURES / name)
    numbers = evaluate(run, EvaluationConfig(samples=run.cfg.samples, seed=run.cfg.seed))
    check_numbers(numbers | {"steps": run.step}, name)


@pytest.mark.parametrize("name", ["mnist_best", "mnist_mlp"])
def test_weights_in_results_open_and_decode(name):
    run = RunParts.open(ROOT / "results" / name, with_data=False)
    with torch.no_grad():
        x = run.vae.eval().decode(torch.zeros(2, run.vae.latent_dim)).mean
    assert x.shape == (2, *run.vae.shape)
    assert x.isfinite().all()


def test_interrupted_run_resumes_to_the_numbers_of_an_uninterrupted_one(command, tmp_path):
    folder = shutil.copytree(FIXTURES / "interrupted", tmp_path / "run")
    status, output = command("train.py", f"resume={folder}")
    assert status == 0, output
    assert "resuming after step 50" in output
    numbers = json.loads((folder / "metrics.json").read_text())
    check_numbers(numbers, "interrupted")
    assert numbers["resumed"] == [50]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["finished", "ddp"])
def test_finished_run_trains_longer(command, tmp_path, name):
    folder = shutil.copytree(FIXTURES / name, tmp_path / "run")
    epochs = json.loads((folder / "metrics.json").read_text())["epochs"]
    status, output = command("train.py", f"resume={folder}", f"trainer.max_epochs={epochs + 1}")
    assert status == 0, output
    numbers = json.loads((folder / "metrics.json").read_text())
    assert numbers["epochs"] == epochs + 1
    assert numbers["resumed"] == [EXPECTED[name]["steps"]]


@pytest.mark.slow
def test_multirun_runs_its_missing_job(command, tmp_path):
    folder = shutil.copytree(FIXTURES / "multirun", tmp_path / "multirun")
    assert not (folder / "3").exists()
    status, output = command("train.py", "resume=multirun")
    assert status == 0, output
    assert output.count("has finished before with value") == 3
    check_numbers(json.loads((folder / "3" / "metrics.json").read_text()), "multirun/3")


@pytest.mark.parametrize("name", ["finished", "interrupted", "ddp", "ladder"])
def test_random_states_are_found_under_the_current_callback_name(name):
    path = FIXTURES / name / "checkpoints" / "best.ckpt"
    stored = torch.load(path, weights_only=True)["callbacks"]
    assert "Continuation" in stored
    assert read_checkpoint(path)["callbacks"]["ResumeState"]["states"].keys()


def test_every_old_target_is_mapped_to_an_existing_class():
    from hydra.utils import get_class

    for old, new in old_names.TARGETS.items():
        assert get_class(new).__module__ in new
        with pytest.raises(Exception, match=r"Error loading|Error locating"):
            get_class(old)


def test_targets_in_records_are_those_of_the_current_configs():
    for path in (ROOT / "results").glob("*.json"):
        config = old_names.current_names(json.loads(path.read_text())["config"])
        with initialize_config_dir(str(CONF), version_base="1.3"):
            words = [f"experiment={path.stem.rpartition('-')[0]}"]
            composed = OmegaConf.to_container(compose("train", words), resolve=False)
        assert find_targets(config) == find_targets(composed)


def find_targets(node):
    """Return all `_target_`s of nested dicts by their path."""
    if not isinstance(node, dict):
        return {}
    inner = {f"{k}.{path}": t for k, v in node.items() for path, t in find_targets(v).items()}
    return inner | ({"": node["_target_"]} if "_target_" in node else {})
