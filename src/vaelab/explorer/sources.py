"""Let the user choose an image: a test image, a drawing, or a file."""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from vaelab.explorer import markup, style
from vaelab.explorer.events import connect_event, gr
from vaelab.explorer.explorer import Explorer

TILES_PER_PAGE = 30  # test images that are shown at once
TILES_TAB = "tiles"


@dataclass(frozen=True)
class ImageSource:
    """The origin of an image; exactly one attribute is set.

    Attributes:
        index: Index of a test image.
        drawing: Drawing as a data URL.
        path: Path of an uploaded file.
    """

    index: int | None = None
    drawing: str = ""
    path: str = ""

    def load(
        self, explorer: Explorer, label: Tensor, home: Explorer | None = None
    ) -> tuple[Tensor, Tensor, str]:
        """Load the image for a run.

        Arguments:
            explorer: The run.
            label: Label (labels,) of drawings and files; test images have their own.
            home: The run to whose test images `index` refers; None for `explorer`. A run on other
                data reads such an image as if it were a file.

        Returns:
            The image x (C, H, W), the label y (labels,), and a caption.

        Raises:
            UserError: If a drawing or a file cannot be decoded.
            OSError: If a file cannot be read.
        """
        if self.index is not None:
            caption = f"test image {self.index}"
            if home is not None and home.data_identity != explorer.data_identity:
                content = markup.encode_png(home.to_display(home.test_image(self.index)))
                return explorer.read_image(content, caption), label, caption
            return explorer.test_image(self.index), explorer.test_label(self.index), caption
        if self.drawing:
            content = base64.b64decode(self.drawing.partition(",")[2])
            return explorer.read_drawing(content), label, "the drawing"
        path = Path(self.path)
        return explorer.read_image(path.read_bytes(), path.name), label, path.name


class TileInput:
    """Test images to click on, and a button that shows others.

    The value of `selected` is the index of the selected image.
    """

    def __init__(self, explorer: Explorer, selected: int):
        self.explorer = explorer
        self.start = gr.State(0)
        self.selected: Any = gr.HTML(
            selected,
            html_template=style.TILES_TEMPLATE,
            js_on_load=style.TILES_JS,
            tiles=self._render_tiles(0, selected),
        )
        has_more = len(explorer.test_indices) > TILES_PER_PAGE
        more = gr.Button("Others", size="sm", visible=has_more)
        state = [self.start, self.selected]
        connect_event(more.click, self._next_page, state, state)

    def _render_tiles(self, start: int, selected: int) -> str:
        """Render the tiles from index `start`, sorted by class."""
        labels = self.explorer.run.data.splits["test"].labels
        indices = self.explorer.test_indices[start : start + TILES_PER_PAGE].tolist()
        if labels.ndim == 1:
            indices.sort(key=lambda index: labels[index].item())
        suffixes = {i: f", label {labels[i]}" if labels.ndim == 1 else "" for i in indices}
        tiles = [
            (i, self.explorer.to_display(self.explorer.test_image(i)), f"{i}{suffixes[i]}")
            for i in indices
        ]
        return markup.tiles_html(tiles, selected)

    def _next_page(self, start: int, selected: int) -> list[Any]:
        following = start + TILES_PER_PAGE
        start = following if following < len(self.explorer.test_indices) else 0
        return [start, gr.HTML(tiles=self._render_tiles(start, selected))]


class ImageSources:
    """Tabs with test images, a sketchpad and a file upload."""

    def __init__(self, explorer: Explorer):
        with gr.Tab("Test images", id=TILES_TAB):
            self.tiles = TileInput(explorer, explorer.first_test_index)
        with gr.Tab("Draw"):
            self.pad: Any = gr.HTML(html_template=style.PAD_TEMPLATE, js_on_load=style.PAD_JS)
            is_mnist = explorer.run.data.shape == (1, 28, 28)
            fitted = "centred and scaled like the digits of MNIST" if is_mnist else "resized"
            add_hint(f"Draw with the mouse or a finger. The drawing is {fitted}.")
        with gr.Tab("Upload"):
            self.file = gr.File(label="Image", type="filepath", height=170)
            height, width = explorer.run.data.shape[1:]
            add_hint(f"The image is cropped at its centre and resized to {width}x{height} pixels.")

    def connect(
        self, callback: Callable[..., Any], inputs: Sequence[Any], outputs: Sequence[Any]
    ) -> None:
        """Call `callback(source, *inputs)` whenever the user chooses an image."""

        def use_tile(index: int, *values: Any) -> Any:
            return callback(ImageSource(index=index), *values)

        def use_drawing(drawing: str, *values: Any) -> Any:
            return callback(ImageSource(drawing=drawing), *values)

        def use_file(path: str, *values: Any) -> Any:
            return [*callback(ImageSource(path=path), *values), None]  # clears the upload field

        selected, upload = self.tiles.selected, self.file.upload
        connect_event(selected.picked, use_tile, [selected, *inputs], outputs)
        connect_event(self.pad.drawn, use_drawing, [self.pad, *inputs], outputs)
        connect_event(upload, use_file, [self.file, *inputs], [*outputs, self.file])


class LabelInput:
    """A choice of the label for a conditional model; hidden for other models."""

    def __init__(self, explorer: Explorer, y: Tensor, info: str):
        self.explorer = explorer
        self.choice = gr.Dropdown(
            explorer.label_names,
            value=self.selection_of(y),
            multiselect=explorer.has_attributes,
            label="Label",
            info=info,
            visible=bool(explorer.label_names),
        )

    def selection_of(self, y: Tensor) -> Any:
        """Return the selection that represents a label y (labels,)."""
        names = self.explorer.label_names
        if not names:
            return None
        selected = [name for name, is_set in zip(names, y, strict=True) if is_set]
        return selected if self.explorer.has_attributes else selected[0]


def selected_label(explorer: Explorer, selection: Any) -> Tensor:
    """Return the label y (labels,) of a selection: a name, a list of names, or None."""
    return explorer.make_label([selection] if isinstance(selection, str) else selection or [])


def add_hint(text: str) -> None:
    """Add a line of explanation to the open gradio block."""
    gr.HTML(f"<p class='quiet'>{text}</p>")
