"""The tab with sliders: where a code comes from, what it decodes to, and its latents."""

import random
from typing import Any, NamedTuple

from torch import Tensor

from vaelab.explorer import markup, style
from vaelab.explorer.explorer import Explorer
from vaelab.explorer.listen import gr, on
from vaelab.explorer.sources import TILES, ImageSource, ImageSources, LabelInput, quiet, y_of

SLIDERS = 12
CODES, PICTURES = "test images", "what places decode to"
MAPS = "map"
MAP, MESSAGE = 3, 4  # among what follows from a new code
CLASSES = 10  # that the map has colours for


class ExplorerState(NamedTuple):
    """Where the sliders start from: a code, its label, and its image if it has one."""

    z: Tensor
    y: Tensor
    x: Tensor | None = None
    words: str = ""


class ExploreTab:
    """Builds the tab inside what is open, and listens to it."""

    def __init__(self, explorer: Explorer):
        self.explorer, self.dials = explorer, explorer.dials[:SLIDERS]
        here = self._at(ImageSource(index=0), explorer.label_of(0))
        self.here = gr.State(here)
        with gr.Row():
            with gr.Column(scale=4, min_width=300):
                self._from(here)
            with gr.Column(scale=4, min_width=300):
                self._picture(here)
            with gr.Column(scale=4, min_width=300, elem_classes="dials"):
                self._turn(here)
        self._listen()

    def _from(self, here: ExplorerState) -> None:
        gr.HTML("<h3>Where the code comes from</h3>")
        plane = self.explorer.plane
        with gr.Tabs(selected=TILES if plane is None else MAPS):
            with gr.Tab("Map", id=MAPS, visible=plane is not None):
                self.map: Any = gr.HTML(
                    self._spot(here.z),
                    html_template=style.MAP_TEMPLATE,
                    js_on_load=style.MAP,
                    drawing=self._map(CODES, here.y),
                )
                self.view = gr.Radio(
                    [CODES, PICTURES], value=CODES, show_label=False, container=False
                )
                quiet(self._map_words())
            self.sources = ImageSources(self.explorer)
        with gr.Row():
            self.middle = gr.Button("Middle of the codes", size="sm")
            self.draw = gr.Button("Draw from p(z)", size="sm", visible=self.explorer.random)
        self.message = gr.HTML()

    def _picture(self, here: ExplorerState) -> None:
        gr.HTML("<h3>What it decodes to</h3>")
        self.figures = gr.HTML(self._figures(here, here.z), elem_classes="decoded")
        self.label = LabelInput(self.explorer, here.y, "given to q(z|x, y) and p(x|z, y)")
        self.terms = gr.HTML(self._terms(here))

    def _turn(self, here: ExplorerState) -> None:
        gr.HTML("<h3>Its latents</h3>")
        self.sliders = [
            gr.Slider(
                label=f"{dial.name} · {dial.activity}", buttons=[], **self._reach(dial, here.z)
            )
            for dial in self.dials
        ]
        quiet(self._slider_words())

    def _listen(self) -> None:
        label = self.label.choice
        arrival = [self.here, self.figures, self.terms, self.map, self.message, label]
        arrival += self.sliders
        self.sources.follow(self._arrive, [label], arrival)
        on(self.map.pointed, self._pointed, [self.map, label], arrival)
        on(self.middle.click, self._to_middle, [label], arrival)
        on(self.draw.click, self._from_prior, [label], arrival)
        on(self.view.change, self._viewed, [self.view, label], [self.map])
        state = [self.here, *self.sliders]
        for slider in self.sliders:
            on(slider.input, self._turned, state, [self.figures, self.map])
        named = [label, self.view, *state]
        on(label.input, self._named, named, [self.here, self.figures, self.map])

    def _arrive(self, source: ImageSource, label: Any) -> list[Any]:
        try:
            here = self._at(source, y_of(self.explorer, label))
        except (ValueError, OSError) as error:
            return self._refused(str(error))
        return self._all(here)

    def _at(self, source: ImageSource, label: Tensor) -> ExplorerState:
        x, y, words = source.seen_by(self.explorer, label)
        return ExplorerState(self.explorer.encode(x, y), y, x, words)

    def _pointed(self, spot: list[float], label: Any) -> list[Any]:
        plane: Any = self.explorer.plane
        z = plane.code(*plane.at(*spot))
        parts = self._all(ExplorerState(z, y_of(self.explorer, label)))
        parts[MAP] = gr.skip()  # its ring may be further on already
        return parts

    def _to_middle(self, label: Any) -> list[Any]:
        return self._all(ExplorerState(self.explorer.middle, y_of(self.explorer, label)))

    def _from_prior(self, label: Any) -> list[Any]:
        y = y_of(self.explorer, label)
        return self._all(ExplorerState(self.explorer.draw(y, random.randrange(2**31)), y))

    def _turned(self, here: ExplorerState, *values: float) -> list[Any]:
        z = self._code(here, values)
        return [self._figures(here, z), self._spot(z)]

    def _named(self, label: Any, view: str, here: ExplorerState, *values: float) -> list[Any]:
        here = here._replace(y=y_of(self.explorer, label))
        figures = self._figures(here, self._code(here, values))
        return [here, figures, gr.HTML(drawing=self._map(view, here.y))]

    def _viewed(self, view: str, label: Any) -> Any:
        return gr.HTML(drawing=self._map(view, y_of(self.explorer, label)))

    def _code(self, here: ExplorerState, values: tuple[float, ...]) -> Tensor:
        """The code of all sliders, and of what has none as it was."""
        z = here.z.clone()
        for dial, value in zip(self.dials, values, strict=True):
            dial.write(z, value)
        return z

    def _all(self, here: ExplorerState) -> list[Any]:
        """All that follows from a new code."""
        return [
            here,
            self._figures(here, here.z),
            self._terms(here),
            self._spot(here.z),
            "",
            self.label.value(here.y),
            *(gr.Slider(**self._reach(dial, here.z)) for dial in self.dials),
        ]

    def _refused(self, words: str) -> list[Any]:
        parts: list[Any] = [gr.skip() for _ in range(6 + len(self.dials))]
        parts[MESSAGE] = markup.message(words)
        return parts

    def _figures(self, here: ExplorerState, z: Tensor) -> str:
        x = None if here.x is None else self.explorer.shown(here.x)
        made = self.explorer.decode(z, here.y)
        return markup.figures((x, here.words or "no image"), (made, "mean of p(x|z)"))

    def _terms(self, here: ExplorerState) -> str:
        if here.x is None:
            return "<p class='quiet'>A code without an image has no terms.</p>"
        return markup.terms(self.explorer.terms(here.x, here.y))

    def _map(self, view: str, y: Tensor) -> str:
        plane, labels = self.explorer.plane, self.explorer.run.data.splits["test"].labels
        if plane is None:
            return ""
        if view == PICTURES:
            return markup.pictures(plane, self.explorer, y)
        labels = labels[: len(plane.places)]
        few = labels.ndim == 1 and len(labels.unique()) <= CLASSES
        return markup.points(plane, labels if few else None)

    def _spot(self, z: Tensor) -> list[float]:
        """Where the map has its ring, in shares of its edges."""
        plane = self.explorer.plane
        spot = plane.shares(*plane.place(z)) if plane else (0.0, 0.0)
        return [min(max(share, 0.0), 1.0) for share in spot]

    def _map_words(self) -> str:
        plane = self.explorer.plane
        if plane is None:
            return ""
        held = f"The plane in which codes vary most: {plane.share:.0%} of their variance."
        both = "Its two latents, z1 to the right and z2 up."
        return f"{both if self.explorer.vae.latent_dim == 2 else held} Click, or drag the ring."

    def _slider_words(self) -> str:
        if not self.dials:
            return "The codes of this model are vectors of a codebook: there is nothing to turn."
        words = "KL of each over test images" if "nats" in self.dials[0].activity else "Variance"
        total = len(self.explorer.dials)
        more = f"; the {SLIDERS} most active of {total}" if total > SLIDERS else ""
        return f"{words}{more}. What has no slider stays as the code had it."

    def _reach(self, dial: Any, z: Tensor) -> dict[str, Any]:
        """The settings of its slider, with room for the code."""
        value = round(dial.read(z), dial.digits)
        low, high = min(dial.low, value), max(dial.high, value)
        return {"minimum": low, "maximum": high, "step": dial.step, "value": value}
