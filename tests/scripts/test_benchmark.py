"""Test that the benchmark compares the same models and that it runs."""

import json
import os
import runpy
import sys

import pytest
from conftest import ROOT

from vaelab.runtime.build import build_from_config

WAYS = ROOT / "scripts" / "ways"


@pytest.fixture
def nets(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(WAYS), *sys.path])
    return runpy.run_path(str(WAYS / "nets.py"))["NETS"]


@pytest.mark.parametrize(
    ("net", "words"),
    [("mlp", ["model=mlp"]), ("conv", ["model=conv", "model.channels=[32,64,128]"])],
)
def test_vaelab_and_the_hand_written_loop_train_the_same_model(config, nets, net, words):
    plain = [weight.shape for part in nets[net]() for weight in part.parameters()]
    cfg = config(*words)
    vae = build_from_config(cfg.module.vae, shape=[1, 28, 28])
    assert plain == [weight.shape for weight in vae.parameters()]


def test_section_prints_a_table_and_writes_json(command, tmp_path):
    words = ["startup", "--rounds=1", "--ways=--help", "--out=measured.json"]
    status, output = command("scripts/benchmark.py", *words)
    assert status == 0
    assert "train.py --help" in output
    assert "ratio" in output
    measured = json.loads((tmp_path / "measured.json").read_text())
    assert measured["startup"]["train.py --help"][0]["whole"] > 0


def test_error_for_an_unknown_section_lists_the_known_ones(command):
    status, output = command("scripts/benchmark.py", "speed")
    assert status == 2
    assert "speed: choose from mlp, bf16, conv, nll, startup, faces, scale" in output


@pytest.mark.slow
def test_section_nll_times_the_bound_of_vaelab(shell, tmp_path):
    if not os.environ["VAELAB_REAL_DATA"]:
        pytest.skip("VAELAB_DATA is not set: the real MNIST files are needed")
    data = str(ROOT / os.environ["VAELAB_REAL_DATA"])
    words = ["nll", "--rounds=1", "--ways=vaelab", "--out=measured.json"]
    assert "vaelab" in shell("scripts/benchmark.py", *words, VAELAB_DATA=data)
    measured = json.loads((tmp_path / "measured.json").read_text())
    assert measured["nll"]["vaelab"][0]["seconds"][0] > 0
