"""A stub of the training, for tests of what happens around jobs."""

import json
from pathlib import Path

import pytest

import vaelab.train
from vaelab.runs.provenance import read_choices


@pytest.fixture
def stub_training(monkeypatch):
    """Replace the training by a function that writes metrics.json and a file of weights."""

    def write_results(cfg, **settings):
        folder = Path(cfg.folder)
        elbo = -100.0 - cfg.latent_dim - cfg.seed
        numbers = {
            "choices": read_choices(folder),
            **{"split": "test", "images": 500, "shape": [1, 28, 28], "pixels": "levels"},
            **{"measure": "grey", "monitor": "val/elbo", "val_elbo": elbo, "elbo": elbo},
            **{"seed": cfg.seed, "steps": 2, "wall_s": 1.0},
        }
        (folder / "metrics.json").write_text(json.dumps(numbers))
        (folder / "checkpoints").mkdir(exist_ok=True)
        (folder / "checkpoints" / "best.ckpt").write_text(str(elbo))
        return elbo

    monkeypatch.setattr(vaelab.train, "train", write_results)
    monkeypatch.setattr("vaelab.report.write.write_report_or_warn", lambda folder: None)
