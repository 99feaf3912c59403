"""The tab that shows one picture to two runs."""

from collections.abc import Mapping
from typing import Any

from vaelab.explorer import markup
from vaelab.explorer.explorer import Explorer
from vaelab.explorer.listen import gr, on
from vaelab.explorer.sources import ImageSource, ImageSources, LabelInput, y_of


class CompareTab:
    """Builds the tab inside what is open, and listens to it; test images are the first run's."""

    def __init__(self, explorers: Mapping[str, Explorer]):
        self.explorers = explorers
        names = list(explorers)
        self.home = explorers[names[0]]
        start = ImageSource(index=0)
        self.source = gr.State(start)
        with gr.Row():
            with gr.Column(scale=4, min_width=320):
                gr.HTML("<h3>The picture</h3>")
                self.sources = ImageSources(self.home)
                given = next((each for each in explorers.values() if each.names), self.home)
                y = given.label(given.names[:1])
                self.label = LabelInput(given, y, "of drawings and files, for conditional models")
            with gr.Column(scale=8, min_width=480):
                gr.HTML("<h3>What each run makes of it</h3>")
                with gr.Row():
                    self.first, self.second = (
                        gr.Dropdown(names, value=names[n], label=label)
                        for n, label in enumerate(("Left", "Right"))
                    )
                self.message = gr.HTML()
                self.table = gr.HTML(self._table(start, names[:2], None))
        self._listen()

    def _listen(self) -> None:
        settings = [self.first, self.second, self.label.choice]
        outputs = [self.source, self.table, self.message]
        self.sources.follow(self._show, settings, outputs)
        for each in settings:
            on(each.input, self._show, [self.source, *settings], outputs)

    def _show(self, source: ImageSource, first: str, second: str, label: Any) -> list[Any]:
        try:
            return [source, self._table(source, [first, second], label), ""]
        except (ValueError, OSError) as error:
            return [gr.skip(), gr.skip(), markup.message(str(error))]

    def _table(self, source: ImageSource, names: list[str], label: Any) -> str:
        columns = [self._column(source, self.explorers[name], label) for name in names]
        return markup.comparison(columns)

    def _column(self, source: ImageSource, explorer: Explorer, label: Any) -> markup.Column:
        given = y_of(explorer, label or explorer.names[:1])
        x, y, _ = source.seen_by(explorer, given, self.home)
        made = explorer.decode(explorer.encode(x, y), y)
        return markup.Column(explorer, x, made, explorer.terms(x, y))
