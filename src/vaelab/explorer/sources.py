"""Where an image comes from: the test images, a drawing, a file."""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from vaelab.explorer import markup, style
from vaelab.explorer.explorer import Explorer
from vaelab.explorer.listen import gr, on

SHOWN = 30  # test images at once
TILES = "tiles"


@dataclass(frozen=True)
class ImageSource:
    """One of a test image's index, a drawing as the address data:..., and a file's path."""

    index: int | None = None
    drawing: str = ""
    path: str = ""

    def seen_by(
        self, explorer: Explorer, label: Tensor, home: Explorer | None = None
    ) -> tuple[Tensor, Tensor, str]:
        """x, y and words; y is the test image's own label, and `label` for other pictures.

        Arguments:
            home: The run whose test images are meant. One on other data sees them as it sees files.
        """
        if self.index is not None:
            words = f"test image {self.index}"
            if home is not None and home.data != explorer.data:
                content = markup.png(home.shown(home.image(self.index)))
                return explorer.read(content, words), label, words
            return explorer.image(self.index), explorer.label_of(self.index), words
        if self.drawing:
            content = base64.b64decode(self.drawing.partition(",")[2])
            return explorer.read_drawing(content), label, "the drawing"
        path = Path(self.path)
        return explorer.read(path.read_bytes(), path.name), label, path.name


class TileInput:
    """Test images to click on, and a button for others; its value is the index of the chosen."""

    def __init__(self, explorer: Explorer, chosen: int = 0):
        self.explorer = explorer
        self.start = gr.State(0)
        self.chosen: Any = gr.HTML(
            chosen,
            html_template=style.TILES_TEMPLATE,
            js_on_load=style.TILES,
            tiles=self._drawn(0, chosen),
        )
        more = gr.Button("Others", size="sm", visible=len(explorer.indices) > SHOWN)
        on(more.click, self._turn, [self.start, self.chosen], [self.start, self.chosen])

    def _drawn(self, start: int, chosen: int) -> str:
        """The tiles from `start`, those of one class side by side."""
        labels = self.explorer.run.data.splits["test"].labels
        indices = list(self.explorer.indices[start : start + SHOWN])
        if labels.ndim == 1:
            indices.sort(key=lambda index: labels[index].item())
        words = {i: f", label {labels[i]}" if labels.ndim == 1 else "" for i in indices}
        return markup.tiles(
            [(i, self.explorer.shown(self.explorer.image(i)), f"{i}{words[i]}") for i in indices],
            chosen,
        )

    def _turn(self, start: int, chosen: int) -> list[Any]:
        start = start + SHOWN if start + SHOWN < len(self.explorer.indices) else 0
        return [start, gr.HTML(tiles=self._drawn(start, chosen))]


class ImageSources:
    """A tab for each way to an image, that of test images named TILES."""

    def __init__(self, explorer: Explorer):
        with gr.Tab("Test images", id=TILES):
            self.tiles = TileInput(explorer)
        with gr.Tab("Draw"):
            self.pad: Any = gr.HTML(html_template=style.PAD_TEMPLATE, js_on_load=style.PAD)
            mnist = explorer.run.data.shape == (1, 28, 28)
            fitted = "centred and scaled as the digits of MNIST were" if mnist else "resized"
            quiet(f"Draw with the mouse or a finger. What you draw is {fitted}.")
        with gr.Tab("Upload"):
            self.file = gr.File(label="A picture", type="filepath", height=170)
            height, width = explorer.run.data.shape[1:]
            quiet(f"Its middle is taken, and resized to {width}x{height} pixels.")

    def follow(
        self, act: Callable[..., Any], inputs: Sequence[Any], outputs: Sequence[Any]
    ) -> None:
        """Call act(source, *inputs) whenever there is a new one."""

        def picked(index: int, *values: Any) -> Any:
            return act(ImageSource(index=index), *values)

        def drawn(drawing: str, *values: Any) -> Any:
            return act(ImageSource(drawing=drawing), *values)

        def uploaded(path: str, *values: Any) -> Any:
            return [*act(ImageSource(path=path), *values), None]  # and is ready for the next one

        on(self.tiles.chosen.picked, picked, [self.tiles.chosen, *inputs], outputs)
        on(self.pad.drawn, drawn, [self.pad, *inputs], outputs)
        on(self.file.upload, uploaded, [self.file, *inputs], [*outputs, self.file])


class LabelInput:
    """The label that a conditional model is given; nothing is shown for another."""

    def __init__(self, explorer: Explorer, y: Tensor, info: str):
        self.explorer = explorer
        self.choice = gr.Dropdown(
            explorer.names,
            value=self.value(y),
            multiselect=explorer.attributes,
            label="Label",
            info=info,
            visible=bool(explorer.names),
        )

    def value(self, y: Tensor) -> Any:
        """What the choice shows for y."""
        if not self.explorer.names:
            return None
        true = [name for name, each in zip(self.explorer.names, y, strict=True) if each]
        return true if self.explorer.attributes else true[0]


def y_of(explorer: Explorer, value: Any) -> Tensor:
    """y of what the choice of a label shows."""
    return explorer.label([value] if isinstance(value, str) else value or [])


def quiet(words: str) -> None:
    gr.HTML(f"<p class='quiet'>{words}</p>")
