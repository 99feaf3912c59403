"""The page of scripts/explore.py: all is computed here and sent with its pictures inside."""

from collections.abc import Sequence

from vaelab.explorer import markup, style
from vaelab.explorer.compare import CompareTab
from vaelab.explorer.explore import ExploreTab
from vaelab.explorer.explorer import Explorer
from vaelab.explorer.listen import gr
from vaelab.explorer.walk import WalkTab

LARGEST = "30mb"  # of an uploaded file
KEPT = 3600  # seconds that an uploaded file stays
FONT = ("system-ui", "sans-serif")


def serve(explorers: Sequence[Explorer], host: str, port: int) -> None:
    """Serve the page until interrupted."""
    build(explorers).launch(
        server_name=host,
        server_port=port,
        theme=gr.themes.Base(primary_hue="indigo", font=FONT, font_mono=FONT),
        css=style.CSS,
        share=False,
        run_history=False,
        footer_links=[],
        max_file_size=LARGEST,
        quiet=True,
    )


def build(explorers: Sequence[Explorer]) -> gr.Blocks:
    """Tabs for each run, and, of several, one to compare them."""
    title = "vaelab: " + ", ".join(each.name for each in explorers)
    kept = (KEPT, KEPT)
    with gr.Blocks(False, title=title, fill_width=True, delete_cache=kept) as page:
        if len(explorers) == 1:
            _one(explorers[0])
            return page
        for explorer in explorers:
            with gr.Tab(explorer.name):
                _one(explorer)
        with gr.Tab("Compare"):
            CompareTab({each.name: each for each in explorers})
    return page


def _one(explorer: Explorer) -> None:
    gr.HTML(markup.heading(explorer))
    with gr.Tab("Explore"):
        ExploreTab(explorer)
    with gr.Tab("Walk"):
        WalkTab(explorer)
