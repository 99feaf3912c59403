"""Real offline runs, read back from the files that W&B wrote."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

QUICK = ["logger=wandb", "trainer=smoke", "samples=1", "model.hidden=[4]"]


def inspect(folder, *options):
    tool = [sys.executable, "-m", "wandb", "leet", "inspect", *options, "--json", str(folder)]
    done = subprocess.run(tool, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


def test_without_a_key_a_run_is_offline_and_says_how_to_see_and_upload_it(
    command, tmp_path, monkeypatch
):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))  # where there is no netrc
    status, output = command("train.py", "kl.beta=2", *QUICK)
    assert status == 0
    (folder,) = tmp_path.glob("runs/*/wandb/offline-run-*")
    assert f"wandb sync {folder}" in output
    assert f"wandb leet {folder}" in output
    summary = json.loads(inspect(folder, "--summary"))
    text = json.dumps(summary)
    for word in ("val/elbo", "test/nll", "figures/samples", "figures/reconstructions"):
        assert word in text
    everything = inspect(folder)
    assert "kl.beta=2" in everything
    assert '"latent_dim"' in everything


@pytest.mark.slow
def test_each_job_of_a_multirun_is_one_run_in_the_group_of_the_sweep(command, tmp_path):
    status, _ = command("train.py", "-m", "seed=0,1", *QUICK)
    assert status == 0
    (sweep,) = (tmp_path / "multirun").iterdir()
    folders = sorted(sweep.glob("*/wandb/offline-run-*"))
    assert [folder.parent.parent.name for folder in folders] == ["0", "1"]
    for folder in folders:
        assert sweep.name in inspect(folder)


@pytest.mark.slow
def test_with_a_key_and_no_network_it_goes_on_offline_within_seconds(
    command, tmp_path, monkeypatch
):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    status, output = command("train.py", *QUICK, "logger.wandb.timeout=3")
    assert status == 0
    assert "recorded offline" in output
    assert "a" * 40 not in output
    assert list(tmp_path.glob("runs/*/wandb/offline-run-*"))
    for path in Path(tmp_path, "runs").rglob("*"):
        assert not path.is_file() or b"a" * 40 not in path.read_bytes()
