"""Synthetic run folders, and a parser of report pages."""

import csv
import json
from html.parser import HTMLParser

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

NUMBERS = {
    "split": "test",
    "images": 500,
    "measure": "probability",
    "rmse": 0.1722,
    "samples": 100,
    "nll_se": 1.1599,
    "bits_sha256": "6733a3b3",
    "kl_per_dimension": [3.5, 0.25, 21.25],
    "active_units": 2,
    "kl": 25.0,
    "reconstruction": 85.5,
    "elbo": -110.5,
    "nll": 104.7513,
    "pixels": "binary",
    "shape": [1, 28, 28],
    "step": 640,
    "monitor": "val/elbo",
    "val_elbo": -109.25,
    "seed": 0,
    "epochs": 20,
    "steps": 640,
    "wall_s": 23.9,
    "parameters": 258025,
    "parameters_of": {"encoder": 130000, "decoder": 128025, "prior": 0},
    "encoder_outputs": 6,
    "decoder_outputs": [1, 28, 28],
    "command": "train.py model=conv",
    "git": {"commit": "50579fc446031c78", "changed": False},
    "versions": {"torch": "2.14.1"},
}
OPTIONS = {"model": "conv", "loss": "bce", "objective": "elbo", "kl": "constant", "data": "mnist5k"}
CONFIG = {
    "data": {"_target_": "a.B", "shape": [1, 28, 28], "root": "${oc.env:HOME,x}", "batch_size": 64},
    "model": {"channels": [32, 64], "encoder": {"_target_": "a.Encoder"}},
    "loss": {"_target_": "a.C"},
    "objective": {"_target_": "a.D", "kl": "${kl}"},
    "kl": {"_target_": "a.E", "beta": 4.0},
    "optimizer": {"lr": 0.001},
    "latent_dim": 3,
}


@pytest.fixture
def make_run(tmp_path):
    """Write a run folder: make_run("0", ["model=conv"], kl=3.0, ...) changes its numbers."""

    def write_run(
        name="run", overrides=("model=conv", "kl.beta=4"), rows=(), failure=None, **numbers
    ):
        path = tmp_path / name
        hydra, options = path / ".hydra", OPTIONS | numbers.pop("choices", {})
        hydra.mkdir(parents=True)
        OmegaConf.save(CONFIG, hydra / "config.yaml")
        OmegaConf.save(list(overrides), hydra / "overrides.yaml")
        runtime = {"cwd": "/here", "choices": options | {"hydra/launcher": "basic"}}
        OmegaConf.save({"hydra": {"runtime": runtime}}, hydra / "hydra.yaml")
        if failure is not None:
            (path / "failed.txt").write_text(failure + "\n")
            return path
        numbers = {**NUMBERS, "choices": options, **numbers}
        present = {key: value for key, value in numbers.items() if value != "absent"}
        (path / "metrics.json").write_text(json.dumps(present))
        write_rows(rows or make_curve_rows(), path / "metrics.csv")
        for name in ("samples", "reconstructions"):
            write_image(path / "figures" / f"{name}.png")
        return path

    return write_run


def make_curve_rows(steps=200):
    """Return rows of metrics.csv: validation every 20 steps, training every 5 steps between."""
    rows = []
    for step in range(0, steps, 5):
        stage = "val" if step % 20 == 0 else "train"
        kl = 25 - 20 / (1 + step)
        terms = {
            "reconstruction": 200 - kl,
            "kl": kl,
            "elbo": -200.0,
            "loss": 200.0,
            "kl_weight": 1,
        }
        rows.append(
            {"epoch": step // 20, "step": step} | {f"{stage}/{k}": v for k, v in terms.items()}
        )
    return rows


def write_rows(rows, path):
    names = dict.fromkeys(key for row in rows for key in row)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(names))
        writer.writeheader()
        writer.writerows(rows)


def write_image(path, edge=64, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (edge, edge), dtype=np.uint8)
    Image.fromarray(noise).save(path)


class Page(HTMLParser):
    """The elements of a page with their attributes, and its visible text."""

    def __init__(self, path):
        super().__init__()
        self.elements, self.words, self.inside = [], [], []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.inside.append(tag)

    def handle_endtag(self, tag):
        self.inside = self.inside[: len(self.inside) - 1 - self.inside[::-1].index(tag)]

    def handle_data(self, data):
        if not {"script", "style"} & set(self.inside[-1:]):
            self.words.append(data)

    def find(self, tag, **attributes):
        """Return the attributes of all elements with a tag and some attributes."""
        return [
            element
            for name, element in self.elements
            if name == tag and attributes.items() <= element.items()
        ]


@pytest.fixture
def page():
    return Page
