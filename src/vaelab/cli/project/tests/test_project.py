"""A short training with the parts of this project, whose run opens again: `python -m pytest`."""

import subprocess
import sys
from pathlib import Path

from vaelab.runs.run import RunParts

PROJECT = Path(__file__).parents[1]
SHORT = ["trainer.max_epochs=1", "trainer.limit_train_batches=2", "samples=2", "logger=csv"]


def test_run_of_this_project_trains_and_opens_again(tmp_path):
    words = ["experiment=wave", *SHORT, f"hydra.run.dir={tmp_path}/run", "--trust", "myproject"]
    subprocess.run([sys.executable, "-m", "vaelab", "train", *words], cwd=PROJECT, check=True)
    sys.path.append(str(PROJECT))
    run = RunParts.open(tmp_path / "run", trust=["myproject"])
    assert type(run.data).__name__ == "Wave"
    assert type(run.vae.likelihood).__name__ == "NoisyGaussian"
    assert run.step == 2
