"""Build and serve the page of scripts/explore.py, which loads nothing from other hosts."""

from collections.abc import Sequence

from vaelab.explorer import markup, style
from vaelab.explorer.compare import CompareTab
from vaelab.explorer.events import gr
from vaelab.explorer.explore import ExploreTab
from vaelab.explorer.explorer import Explorer
from vaelab.explorer.texts import LANGUAGES, Texts, name_data_in_texts
from vaelab.explorer.walk import WalkTab

MAX_UPLOAD_SIZE = "30mb"
UPLOAD_SECONDS = 3600  # interval at which uploaded files are deleted, and their minimum age
FONT = ("system-ui", "sans-serif")


def serve_page(explorers: Sequence[Explorer], host: str, port: int, language: str = "en") -> None:
    """Serve the page until the process is interrupted."""
    launch_page(explorers, host, port, language)


def launch_page(
    explorers: Sequence[Explorer],
    host: str,
    port: int | None,
    language: str = "en",
    *,
    prevent_thread_lock: bool = False,
) -> gr.Blocks:
    """Serve the page.

    Arguments:
        port: None for any free one.
        prevent_thread_lock: Return at once and serve from a thread.
    """
    page = build_page(explorers, LANGUAGES[language])
    page.launch(
        server_name=host,
        server_port=port,
        theme=gr.themes.Base(primary_hue="indigo", font=FONT, font_mono=FONT),
        css=style.CSS,
        share=False,
        run_history=False,
        footer_links=[],
        max_file_size=MAX_UPLOAD_SIZE,
        quiet=True,
        prevent_thread_lock=prevent_thread_lock,
    )
    return page


def build_page(explorers: Sequence[Explorer], texts: Texts) -> gr.Blocks:
    """Build the page: tabs for each run, and a tab that compares two runs if there are several."""
    title = "vaelab: " + ", ".join(explorer.name for explorer in explorers)
    cache = (UPLOAD_SECONDS, UPLOAD_SECONDS)
    with gr.Blocks(False, title=title, fill_width=True, delete_cache=cache) as page:
        if len(explorers) == 1:
            _add_run_tabs(explorers[0], texts)
            return page
        for explorer in explorers:
            with gr.Tab(explorer.name):
                _add_run_tabs(explorer, texts)
        if not _are_comparable(explorers):
            return page
        with gr.Tab(texts["compare"]):
            texts = name_data_in_texts(texts, explorers[0].run.data.shape)
            CompareTab({explorer.name: explorer for explorer in explorers}, texts)
    return page


def _are_comparable(explorers: Sequence[Explorer]) -> bool:
    """True if one x can be shown to all runs: images of any size, or other data of one set."""
    if all(explorer.is_image for explorer in explorers):
        return True
    return len({explorer.data_identity for explorer in explorers}) == 1


def _add_run_tabs(explorer: Explorer, texts: Texts) -> None:
    texts = name_data_in_texts(texts, explorer.run.data.shape)
    gr.HTML(markup.heading_html(explorer, texts))
    with gr.Tab(texts["explore"]):
        ExploreTab(explorer, texts)
    with gr.Tab(texts["walk"]):
        WalkTab(explorer, texts)
