"""The tab that interpolates between two test images."""

from collections.abc import Sequence

from torch import Tensor

from vaelab.explorer import markup
from vaelab.explorer.events import connect_event, gr
from vaelab.explorer.explorer import Explorer
from vaelab.explorer.sources import TILES_PER_PAGE, TileInput

STRIP_IMAGES = 11  # images in the strip from the first to the second test image


class WalkTab:
    """Build the tab inside the open gradio block and connect its events."""

    def __init__(self, explorer: Explorer):
        self.explorer = explorer
        ends = explorer.first_test_index, self._default_end()
        with gr.Row():
            with gr.Column(scale=4, min_width=300):
                gr.HTML("<h3>From</h3>")
                self.start = TileInput(explorer, ends[0])
            with gr.Column(scale=4, min_width=300):
                gr.HTML("<h3>In between</h3>")
                self.figures = gr.HTML(self._render_figures(*ends, 0.5), elem_classes="walked")
                self.weight = gr.Slider(0, 1, 0.5, step=0.01, label="Position", buttons=[])
            with gr.Column(scale=4, min_width=300):
                gr.HTML("<h3>To</h3>")
                self.end = TileInput(explorer, ends[1])
        self.strip = gr.HTML(self._render_strip(*ends))
        self._connect()

    def _default_end(self) -> int:
        """Return the first test image with another label than the start, or else the second."""
        indices = self.explorer.test_indices[:TILES_PER_PAGE]
        labels = self.explorer.run.data.splits["test"].labels[indices]
        differs = labels != (labels[:1] if labels.ndim > 1 else labels[0])
        if labels.ndim > 1:
            differs = differs.flatten(1).any(1)
        position = int(differs.nonzero()[0]) if differs.any() else min(1, len(labels) - 1)
        return int(indices[position])

    def _connect(self) -> None:
        inputs = [self.start.selected, self.end.selected, self.weight]
        connect_event(self.weight.input, self._render_figures, inputs, [self.figures])
        for tiles in (self.start, self.end):
            outputs = [self.figures, self.strip]
            connect_event(tiles.selected.picked, self._update, inputs, outputs)

    def _update(self, first: int, last: int, weight: float) -> list[str]:
        return [self._render_figures(first, last, weight), self._render_strip(first, last)]

    def _render_figures(self, first: int, last: int, weight: float) -> str:
        ends = [
            self.explorer.to_display(self.explorer.test_image(index)) for index in (first, last)
        ]
        (between,) = self._interpolate(first, last, [weight])
        return markup.figures_html(
            (ends[0], f"test image {first}"),
            (between, f"{weight:.0%} of the way"),
            (ends[1], f"test image {last}"),
        )

    def _render_strip(self, first: int, last: int) -> str:
        weights = [step / (STRIP_IMAGES - 1) for step in range(STRIP_IMAGES)]
        return markup.strip_html(self._interpolate(first, last, weights))

    def _interpolate(self, first: int, last: int, weights: Sequence[float]) -> list[Tensor]:
        """Decode the interpolations between two test images, given by index."""
        start, end = self._encode_test_image(first), self._encode_test_image(last)
        points = [self.explorer.interpolate(start, end, weight) for weight in weights]
        return [self.explorer.decode(*point) for point in points]

    def _encode_test_image(self, index: int) -> tuple[Tensor, Tensor]:
        y = self.explorer.test_label(index)
        return self.explorer.encode(self.explorer.test_image(index), y), y
