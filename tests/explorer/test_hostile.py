"""The explorer escapes HTML in the name, the choices, the classes and the metrics of a run."""

import json
from urllib.request import urlopen

import pytest
from omegaconf import OmegaConf

from vaelab.explorer import markup
from vaelab.explorer.drawing import scatter_map_svg
from vaelab.explorer.explorer import Explorer
from vaelab.explorer.page import build_page
from vaelab.explorer.texts import ENGLISH

EVIL = """'"><x-evil onload=alert(1)><img src=x onerror=alert(2)><script>alert(3)<\\script>"""


# gradio does not close the event loop of its server thread
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_page_escapes_html_of_untrusted_run(save_run, tmp_path, free_port):
    folder = save_run(tmp_path / "run", "model.hidden=[8]", "latent_dim=2").rename(tmp_path / EVIL)
    hydra = OmegaConf.load(folder / ".hydra" / "hydra.yaml")
    for group in ("model", "data", "posterior", "loss", "objective", "kl"):
        hydra.hydra.runtime.choices[group] = EVIL
    OmegaConf.save(hydra, folder / ".hydra" / "hydra.yaml")
    metrics = {"images": 5, "split": EVIL, "elbo": -1.5, "nll_se": None, "kl_per_dimension": None}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    explorer = Explorer.open(folder)
    assert explorer.name == EVIL
    explorer.run.data.classes = tuple(f"{EVIL}{label}" for label in range(10))
    rendered = [markup.heading_html(explorer, ENGLISH), scatter_map_svg(explorer)]
    for text in rendered:
        assert "&lt;x-evil" in text
        assert "<x-evil" not in text
        assert "<script" not in text
        assert "<img src=x" not in text
    other = Explorer.open(folder)
    other.name += " (2)"
    page = build_page([explorer, other], ENGLISH)
    page.launch(server_port=free_port, prevent_thread_lock=True, quiet=True)
    try:
        html = urlopen(f"http://127.0.0.1:{free_port}").read().decode()
    finally:
        page.close()
    assert "x-evil" in html
    assert "<x-evil" not in html
    assert "<script>alert" not in html
