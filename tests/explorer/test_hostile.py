"""A run whose folder, choices and numbers hold markup: none of it acts in the explorer."""

import json
from urllib.request import urlopen

import pytest
from omegaconf import OmegaConf

from vaelab.explorer import markup
from vaelab.explorer.explorer import Explorer
from vaelab.explorer.page import build

EVIL = """'"><x-evil onload=alert(1)><img src=x onerror=alert(2)><script>alert(3)<\\script>"""


# gradio leaves the loop of its server's thread open
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_no_markup_of_a_run_gets_into_the_page(saved, tmp_path, free_port):
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
    page = build([explorer, other])
    page.launch(server_port=free_port, prevent_thread_lock=True, quiet=True)
    try:
        shown = urlopen(f"http://127.0.0.1:{free_port}").read().decode()
    finally:
        page.close()
    assert "x-evil" in shown
    assert "<x-evil" not in shown
    assert "<script>alert" not in shown
