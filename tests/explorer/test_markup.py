"""Rendering of numbers as HTML and Markdown."""

import re

import pytest
import torch

from vaelab.explorer import markup
from vaelab.explorer.explorer import Explorer
from vaelab.explorer.texts import CHINESE, ENGLISH

METRICS = {"elbo": -104.486, "nll": 99.848, "nll_se": 0.256, "kl": 26.51, "active_units": 2}
METRICS |= {"bits_per_dim": None}


@pytest.fixture(scope="module")
def explorers(save_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    overrides = {
        "binary": (),
        "more binary": (),
        "grayscale": ("data.binarize=none", "loss=mse"),
    }
    small = ("model.hidden=[8]", "latent_dim=2")
    return [Explorer.open(save_run(folder / name, *small, *overrides[name])) for name in overrides]


def test_heading_shows_the_choices_and_the_known_metrics(explorers, monkeypatch):
    explorer = explorers[0]
    monkeypatch.setattr(explorer, "metrics", METRICS)
    heading = markup.heading_html(explorer, ENGLISH)
    assert (
        "mlp with 2 latents on mnist5k, 28\N{MULTIPLICATION SIGN}28 grayscale, binary pixels"
        in heading
    )
    assert "p(x|z) bce" in heading
    for value in ("\N{MINUS SIGN}104.49", "99.85 ± 0.26", "26.510", "2 of 2"):
        assert f"<b>{value}</b>" in heading
    assert "bits/dim" not in heading
    assert "2 维隐变量" in markup.heading_html(explorer, CHINESE)


def test_comparison_of_different_likelihoods_has_a_warning(explorers):
    binary, more, grayscale = explorers
    assert "not their values in nats" not in compare(binary, more)
    assert "not their values in nats" in compare(binary, grayscale)


def compare(*explorers: Explorer) -> str:
    y = torch.zeros(0)
    terms = [explorer.compute_terms(explorer.test_image(0), y) for explorer in explorers]
    return markup.comparison_table(explorers, terms, ENGLISH)


def test_missing_term_is_shown_as_a_dash(explorers):
    terms = [{"elbo": -120.5, "rmse": 0.25}, {"rmse": 0.5}]
    table = markup.comparison_table(explorers[:2], terms, ENGLISH)
    assert "| ELBO (nats per image) | \N{MINUS SIGN}120.50 | \N{EN DASH} |" in table


def test_table_has_one_row_for_each_line_and_escapes_vertical_bars():
    rows = [["log q(z|x)", "1"], ["RMSE", "2"]]
    lines = markup.markdown_table(["at_sliders", ""], rows, ENGLISH).split("\n")
    assert len(lines) == 4
    assert lines[2] == r"| log q(z\|x) | 1 |"
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {3}


def test_terms_say_how_they_were_estimated():
    assert markup.terms_table(None, ENGLISH) == ENGLISH["terms_need_image"]
    assert "16 samples" in markup.terms_table({"kl": 1.0, "reconstruction": 2.0}, ENGLISH)
    assert "64 samples" in markup.terms_table({"kl": 1.0, "nll": 2.0}, ENGLISH)
    assert "undefined" in markup.terms_table({"reconstruction": 2.0}, ENGLISH)
