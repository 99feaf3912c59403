"""A run whose folder, choices and numbers hold markup: none of it acts in the explorer."""

import json

import gradio
from fastapi.testclient import TestClient
from omegaconf import OmegaConf

from vaelab.explorer import markup
from vaelab.explorer.explorer import Explorer
from vaelab.explorer.page import build

EVIL = """'"><x-evil onload=alert(1)><img src=x onerror=alert(2)><script>alert(3)<\\script>"""


def test_no_markup_of_a_run_gets_into_the_page(saved, tmp_path):
    folder = saved(tmp_path / "run", "model.hidden=[8]", "latent_dim=2").rename(tmp_path / EVIL)
    hydra = OmegaConf.load(folder / ".hydra" / "hydra.yaml")
    for group in ("model", "data", "posterior", "loss", "objective", "kl"):
        hydra.hydra.runtime.choices[group] = EVIL
    OmegaConf.save(hydra, folder / ".hydra" / "hydra.yaml")
    numbers = {"images": 5, "split": EVIL, "elbo": -1.5, "nll_se": None, "kl_per_dimension": None}
    (folder / "metrics.json").write_text(json.dumps(numbers))
    explorer = Explorer.open(folder)
    assert explorer.name == EVIL
    for text in (markup.heading(explorer), markup.message(EVIL), markup.figure(None, EVIL)):
        assert "<x-evil" not in text
        assert "<script" not in text
        assert "<img src=x" not in text
    other = Explorer.open(folder)
    other.name += " (2)"
    with TestClient(gradio.routes.App.create_app(build([explorer, other]))) as client:
        shown = client.get("/").text
    assert "x-evil" in shown
    assert "<x-evil" not in shown
    assert "<script>alert" not in shown
