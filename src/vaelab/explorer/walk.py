"""The tab that interpolates between two test images."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torchvision.utils import make_grid

from vaelab.explorer.events import connect_event, gr
from vaelab.explorer.explorer import TILES_PER_PAGE, Explorer
from vaelab.explorer.sources import TileInput, add_picture, make_picture, name_test_image
from vaelab.explorer.texts import Texts

STRIP_IMAGES = 11  # images in the strip from the first to the second test image


class WalkTab:
    """Build the tab inside the open gradio block and connect its events."""

    def __init__(self, explorer: Explorer, texts: Texts):
        self.explorer, self.texts = explorer, texts
        # A page of tiles is sorted by class: its last image has another class than its first.
        indices = [int(explorer.tiles[:TILES_PER_PAGE][position]) for position in (0, -1)]
        self.ends = [gr.State(index) for index in indices]
        with gr.Row():
            with gr.Column(scale=4, min_width=300):
                first = self._add_end("from", indices[0])
            with gr.Column(scale=4, min_width=300):
                gr.Markdown(f"### {texts['between']}")
                self.between = add_picture(*self._interpolate_once(indices[0], indices[1], 0.5))
                self.weight = gr.Slider(0, 1, 0.5, step=0.01, label=texts["position"], buttons=[])
            with gr.Column(scale=4, min_width=300):
                last = self._add_end("to", indices[1])
        self.strip = add_picture(self._make_strip(*indices), texts["strip"])
        inputs = [*self.ends, self.weight]
        connect_event(self.weight.input, self._move, inputs, [self.between])
        for number, (tiles, picture) in enumerate((first, last)):
            outputs = [self.ends[number], picture, self.between, self.strip]
            tiles.connect(
                self._replace_first if number == 0 else self._replace_last, inputs, outputs
            )

    def _add_end(self, key: str, index: int) -> tuple[TileInput, Any]:
        """Add the picture of one end, and the test images that can replace it."""
        gr.Markdown(f"### {self.texts[key]}")
        picture = add_picture(*self._show_end(index))
        return TileInput(self.explorer), picture

    def _replace_first(self, index: int, first: int, last: int, weight: float) -> list[Any]:
        return self._update(index, index, last, weight)

    def _replace_last(self, index: int, first: int, last: int, weight: float) -> list[Any]:
        return self._update(index, first, index, weight)

    def _update(self, index: int, first: int, last: int, weight: float) -> list[Any]:
        strip = make_picture(self._make_strip(first, last), self.texts["strip"])
        return [index, make_picture(*self._show_end(index)), self._move(first, last, weight), strip]

    def _move(self, first: int, last: int, weight: float) -> Any:
        return make_picture(*self._interpolate_once(first, last, weight))

    def _show_end(self, index: int) -> tuple[Tensor, str]:
        x = self.explorer.to_display(self.explorer.test_image(index))
        return x, name_test_image(self.explorer, index, self.texts)

    def _interpolate_once(self, first: int, last: int, weight: float) -> tuple[Tensor, str]:
        caption = self.texts["part_of_way"].format(weight=f"{weight:.0%}")
        return self._interpolate(first, last, [weight])[0], caption

    def _make_strip(self, first: int, last: int) -> Tensor:
        weights = [step / (STRIP_IMAGES - 1) for step in range(STRIP_IMAGES)]
        return make_grid(self._interpolate(first, last, weights), STRIP_IMAGES, pad_value=1)

    def _interpolate(self, first: int, last: int, weights: Sequence[float]) -> list[Tensor]:
        """Decode the interpolations between two test images, given by index."""
        start, end = self._encode_test_image(first), self._encode_test_image(last)
        points = [self.explorer.interpolate(start, end, weight) for weight in weights]
        return [self.explorer.decode(*point) for point in points]

    def _encode_test_image(self, index: int) -> tuple[Tensor, Tensor]:
        y = self.explorer.test_label(index)
        return self.explorer.encode(self.explorer.test_image(index), y), y
