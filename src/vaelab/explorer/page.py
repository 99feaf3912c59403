"""Build and serve the page of scripts/explore.py, which loads nothing from other hosts."""

from collections.abc import Sequence

from vaelab.explorer import markup, style
from vaelab.explorer.compare import CompareTab
from vaelab.explorer.events import gr
from vaelab.explorer.explore import ExploreTab
from vaelab.explorer.explorer import Explorer
from vaelab.explorer.walk import WalkTab

MAX_UPLOAD_SIZE = "30mb"
UPLOAD_SECONDS = 3600  # interval at which uploaded files are deleted, and their minimum age
FONT = ("system-ui", "sans-serif")


def serve_page(explorers: Sequence[Explorer], host: str, port: int) -> None:
    """Serve the page until the process is interrupted."""
    build_page(explorers).launch(
        server_name=host,
        server_port=port,
        theme=gr.themes.Base(primary_hue="indigo", font=FONT, font_mono=FONT),
        css=style.CSS,
        share=False,
        run_history=False,
        footer_links=[],
        max_file_size=MAX_UPLOAD_SIZE,
        quiet=True,
    )


def build_page(explorers: Sequence[Explorer]) -> gr.Blocks:
    """Build the page: tabs for each run, and a tab that compares two runs if there are several."""
    title = "vaelab: " + ", ".join(explorer.name for explorer in explorers)
    cache = (UPLOAD_SECONDS, UPLOAD_SECONDS)
    with gr.Blocks(False, title=title, fill_width=True, delete_cache=cache) as page:
        if len(explorers) == 1:
            _add_run_tabs(explorers[0])
            return page
        for explorer in explorers:
            with gr.Tab(explorer.name):
                _add_run_tabs(explorer)
        with gr.Tab("Compare"):
            CompareTab({explorer.name: explorer for explorer in explorers})
    return page


def _add_run_tabs(explorer: Explorer) -> None:
    gr.HTML(markup.heading_html(explorer))
    with gr.Tab("Explore"):
        ExploreTab(explorer)
    with gr.Tab("Walk"):
        WalkTab(explorer)
