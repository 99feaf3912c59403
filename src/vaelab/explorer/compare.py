"""The tab that compares two runs on one image."""

from collections.abc import Mapping
from typing import Any

from vaelab.explorer import markup
from vaelab.explorer.events import connect_event, gr
from vaelab.explorer.explorer import Explorer
from vaelab.explorer.sources import ImageSource, ImageSources, LabelInput, selected_label


class CompareTab:
    """Build the tab inside the open gradio block and connect its events.

    Arguments:
        explorers: The runs by name. The test images are those of the first run.
    """

    def __init__(self, explorers: Mapping[str, Explorer]):
        self.explorers = explorers
        names = list(explorers)
        self.home = explorers[names[0]]
        start = ImageSource(index=self.home.first_test_index)
        self.source = gr.State(start)
        with gr.Row():
            with gr.Column(scale=4, min_width=320):
                gr.HTML("<h3>Image</h3>")
                self.sources = ImageSources(self.home)
                conditional = [one for one in explorers.values() if one.label_names]
                labelled = conditional[0] if conditional else self.home
                y = labelled.make_label(labelled.label_names[:1])
                self.label = LabelInput(
                    labelled, y, "of drawings and files, for conditional models"
                )
            with gr.Column(scale=8, min_width=480):
                gr.HTML("<h3>Reconstruction by each run</h3>")
                with gr.Row():
                    self.first, self.second = (
                        gr.Dropdown(names, value=names[n], label=label)
                        for n, label in enumerate(("Left", "Right"))
                    )
                self.message = gr.HTML()
                self.table = gr.HTML(self._render_table(start, names[:2], None))
        self._connect()

    def _connect(self) -> None:
        settings = [self.first, self.second, self.label.choice]
        outputs = [self.source, self.table, self.message]
        self.sources.connect(self._update, settings, outputs)
        for setting in settings:
            connect_event(setting.input, self._update, [self.source, *settings], outputs)

    def _update(self, source: ImageSource, first: str, second: str, label: Any) -> list[Any]:
        try:
            return [source, self._render_table(source, [first, second], label), ""]
        except (ValueError, OSError) as error:
            return [gr.skip(), gr.skip(), markup.message_html(str(error))]

    def _render_table(self, source: ImageSource, names: list[str], label: Any) -> str:
        columns = [self._make_column(source, self.explorers[name], label) for name in names]
        return markup.comparison_html(columns)

    def _make_column(
        self, source: ImageSource, explorer: Explorer, label: Any
    ) -> markup.ComparisonColumn:
        chosen = selected_label(explorer, label or explorer.label_names[:1])
        x, y, _ = source.load(explorer, chosen, self.home)
        reconstruction = explorer.decode(explorer.encode(x, y), y)
        terms = explorer.compute_terms(x, y)
        return markup.ComparisonColumn(explorer, x, reconstruction, terms)
