"""Let the user choose an image: a test image, a drawing, or a file."""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from torch import Tensor
from torchvision.transforms.functional import to_pil_image

from vaelab.explorer import style
from vaelab.explorer.drawing import encode_png
from vaelab.explorer.events import connect_event, gr
from vaelab.explorer.explorer import TILES_PER_PAGE, Explorer
from vaelab.explorer.texts import Texts
from vaelab.report.numbers import format_shape

TILES_TAB = "tiles"
MAX_TILES = 4 * TILES_PER_PAGE  # each is a file that the page loads


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
        self, explorer: Explorer, label: Tensor, texts: Texts, home: Explorer | None = None
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
            caption = name_test_image(home or explorer, self.index, texts)
            if home is not None and home.data_identity != explorer.data_identity:
                content = encode_png(home.to_display(home.test_image(self.index)))
                return explorer.read_image(content, caption), label, caption
            return explorer.test_image(self.index), explorer.test_label(self.index), caption
        if self.drawing:
            content = base64.b64decode(self.drawing.partition(",")[2])
            return explorer.read_drawing(content), label, texts["drawing"]
        path = Path(self.path)
        return explorer.read_image(path.read_bytes(), path.name), label, path.name


def name_test_image(explorer: Explorer, index: int, texts: Texts) -> str:
    """Return the number of a test image, and its class if it has one."""
    if explorer.test_classes is None:
        return texts["test_image"].format(index=index)
    label = int(explorer.run.data.splits["test"].labels[index])
    return texts["test_image_of_class"].format(index=index, name=explorer.name_class(label))


class TileInput:
    """Pages of test images to click on."""

    def __init__(self, explorer: Explorer):
        self.indices = explorer.tiles[:MAX_TILES].tolist()
        images = [explorer.to_display(explorer.test_image(index)) for index in self.indices]
        self.tiles = gr.Dataset(
            components=[gr.Image(format="png", render=False)],
            samples=[[to_pil_image(image)] for image in images],
            samples_per_page=TILES_PER_PAGE,
            type="index",
            layout="gallery",
            show_label=False,
            elem_classes="tiles" if explorer.is_image else "tiles wide",
        )

    def connect(
        self, callback: Callable[..., Any], inputs: Sequence[Any], outputs: Sequence[Any]
    ) -> None:
        """Call `callback(index, *inputs)` with the index of each test image that is clicked."""

        def use_tile(position: int, *values: Any) -> Any:
            return callback(self.indices[position], *values)

        connect_event(self.tiles.click, use_tile, [self.tiles, *inputs], outputs)


class ImageSources:
    """Tabs with test images, a sketchpad and a file upload."""

    def __init__(self, explorer: Explorer, texts: Texts):
        self.texts = texts
        with gr.Tab(texts["test_images"], id=TILES_TAB):
            self.tiles = TileInput(explorer)
        with gr.Tab(texts["draw"], visible=explorer.is_image):
            self.pad: Any = gr.HTML(html_template=style.PAD_TEMPLATE, js_on_load=style.PAD_JS)
            clear = gr.Button(texts["clear"], size="sm")
            connect_event(clear.click, lambda: "", [], [self.pad])
            is_mnist = explorer.run.data.shape == (1, 28, 28)
            add_hint(texts["draw_as_mnist" if is_mnist else "draw_resized"])
        with gr.Tab(texts["upload"], visible=explorer.is_image):
            self.file = gr.File(label=texts["image_file"], type="filepath", height=170)
            size = format_shape(explorer.run.data.shape[1:])
            add_hint(texts["upload_resized"].format(size=size))

    def connect(
        self, callback: Callable[..., Any], inputs: Sequence[Any], outputs: Sequence[Any]
    ) -> None:
        """Call `callback(source, *inputs)` whenever the user chooses an image.

        A file that is not an image shows a warning and changes nothing.
        """

        def use_tile(index: int, *values: Any) -> Any:
            return callback(ImageSource(index=index), *values)

        def use_drawing(drawing: str, *values: Any) -> Any:
            return callback(ImageSource(drawing=drawing), *values)

        def use_file(path: str, *values: Any) -> Any:
            try:
                results = callback(ImageSource(path=path), *values)
            except (ValueError, OSError) as error:
                gr.Warning(self.texts["image_error"].format(error=escape(str(error))), title="")
                results = [gr.skip() for _ in outputs]
            return [*results, None]  # clears the upload field

        self.tiles.connect(use_tile, inputs, outputs)
        connect_event(self.pad.drawn, use_drawing, [self.pad, *inputs], outputs)
        upload = self.file.upload
        connect_event(upload, use_file, [self.file, *inputs], [*outputs, self.file], queue=True)


class LabelInput:
    """A choice of the label for a conditional model; hidden for other models."""

    def __init__(self, explorer: Explorer, y: Tensor, texts: Texts, info: str):
        self.explorer = explorer
        self.choice = gr.Dropdown(
            explorer.label_names,
            value=self.selection_of(y),
            multiselect=explorer.has_attributes,
            label=texts["label"],
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
    gr.Markdown(text, elem_classes="quiet")


def add_picture(x: Tensor | None, caption: str) -> Any:
    """Add an image (C, H, W) in [0, 1] with a caption to the open gradio block."""
    settings: Any = {"interactive": False, "buttons": [], "min_width": 120}
    return make_picture(x, caption, elem_classes="picture", **settings)


def make_picture(x: Tensor | None, caption: str, **settings: Any) -> Any:
    """Return a gradio image of x (C, H, W) in [0, 1]; None is an empty place."""
    image = None if x is None else to_pil_image(x)
    return gr.Image(image, label=caption, format="png", **settings)
