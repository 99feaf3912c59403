"""The tab that compares two runs on one image."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from vaelab.explorer.events import connect_event, gr
from vaelab.explorer.explorer import Explorer
from vaelab.explorer.markup import comparison_table
from vaelab.explorer.sources import (
    ImageSource,
    ImageSources,
    LabelInput,
    add_picture,
    make_picture,
    selected_label,
)
from vaelab.explorer.texts import Texts


class CompareTab:
    """Build the tab inside the open gradio block and connect its events.

    Arguments:
        explorers: The runs by name. The test images are those of the first run.
    """

    def __init__(self, explorers: Mapping[str, Explorer], texts: Texts):
        self.explorers, self.texts = explorers, texts
        names = list(explorers)
        self.home = explorers[names[0]]
        self.source = gr.State(ImageSource(index=self.home.first_test_index))
        with gr.Row():
            with gr.Column(scale=4, min_width=300):
                gr.Markdown(f"### {texts['source']}")
                self.sources = ImageSources(self.home, texts)
                conditional = [one for one in explorers.values() if one.label_names]
                labelled = conditional[0] if conditional else self.home
                y = labelled.make_label(labelled.label_names[:1])
                self.label = LabelInput(labelled, y, texts, texts["label_of_comparison"])
            with gr.Column(scale=8, min_width=300):
                gr.Markdown(f"### {texts['comparison']}")
                pictures, table = self._compare(self.source.value, names[:2], None)
                self.choices, self.pictures = [], []
                with gr.Row():
                    for n, side in enumerate(("left", "right")):
                        with gr.Column(min_width=250):
                            choice = gr.Dropdown(names, value=names[n], label=texts[side])
                            self.choices.append(choice)
                            with gr.Row():
                                shown = pictures[2 * n : 2 * n + 2]
                                self.pictures += [add_picture(*picture) for picture in shown]
                self.table = gr.Markdown(table, elem_classes="numbers")
        self._connect()

    def _connect(self) -> None:
        settings = [*self.choices, self.label.choice]
        outputs = [self.source, *self.pictures, self.table]
        self.sources.connect(self._update, settings, outputs)
        for setting in settings:
            connect_event(setting.input, self._update, [self.source, *settings], outputs)

    def _update(self, source: ImageSource, left: str, right: str, label: Any) -> list[Any]:
        pictures, table = self._compare(source, [left, right], label)
        return [source, *(make_picture(*picture) for picture in pictures), table]

    def _compare(
        self, source: ImageSource, names: list[str], label: Any
    ) -> tuple[list[tuple[Tensor, str]], str]:
        """Return input and reconstruction of each run with their captions, and a table."""
        explorers = [self.explorers[name] for name in names]
        pictures, terms = [], []
        for explorer in explorers:
            chosen = selected_label(explorer, label or explorer.label_names[:1])
            x, y, caption = source.load(explorer, chosen, self.texts, self.home)
            reconstruction = explorer.decode(explorer.encode(x, y), y)
            pictures.append((explorer.to_display(x), caption))
            pictures.append((reconstruction, self.texts["reconstruction_image"]))
            terms.append(explorer.compute_terms(x, y))
        return pictures, comparison_table(explorers, terms, self.texts)
