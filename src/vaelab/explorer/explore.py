"""The tab with sliders, which decodes an image or a latent vector and lets the user change it."""

import random
from typing import Any, NamedTuple

from torch import Tensor

from vaelab.explorer import style
from vaelab.explorer.controls import LatentControl
from vaelab.explorer.drawing import decoded_map_svg, scatter_map_svg
from vaelab.explorer.events import connect_event, gr
from vaelab.explorer.explorer import Explorer
from vaelab.explorer.markup import position_table, terms_table, values_table
from vaelab.explorer.sources import (
    TILES_TAB,
    ImageSource,
    ImageSources,
    LabelInput,
    add_hint,
    add_picture,
    make_picture,
    selected_label,
)
from vaelab.explorer.texts import Texts
from vaelab.report.numbers import format_rounded

MAX_SLIDERS = 12
MAP_TAB = "map"
LATENTS_VIEW, DECODED_VIEW = "map_of_images", "map_of_decoded"
RING_OUTPUT = 5  # position of the ring among the outputs of `_render_all`


class ExplorerState(NamedTuple):
    """The starting point of the sliders.

    Attributes:
        z: Latent vector (D,).
        y: Label (labels,).
        x: Image (C, H, W) from which z was encoded; None if there is none.
        caption: Caption of the image.
    """

    z: Tensor
    y: Tensor
    x: Tensor | None = None
    caption: str = ""


class ExploreTab:
    """Build the tab inside the open gradio block and connect its events."""

    def __init__(self, explorer: Explorer, texts: Texts):
        self.explorer, self.texts = explorer, texts
        self.controls = explorer.controls[:MAX_SLIDERS]
        index = explorer.first_test_index
        state = self._encode(ImageSource(index=index), explorer.test_label(index))
        self.state = gr.State(state)
        with gr.Row(elem_classes="explore"):
            with gr.Column(scale=4, min_width=300):
                self._build_source(state)
            with gr.Column(scale=4, min_width=300):
                self._build_images(state)
            with gr.Column(scale=4, min_width=300):
                self._build_sliders(state)
        self._connect()

    def _build_source(self, state: ExplorerState) -> None:
        texts, plane = self.texts, self.explorer.plane
        gr.Markdown(f"### {texts['source']}")
        with gr.Tabs(selected=TILES_TAB if plane is None else MAP_TAB):
            with gr.Tab(texts["map"], id=MAP_TAB, visible=plane is not None):
                self.map: Any = gr.HTML(
                    self._map_position(state.z),
                    html_template=style.MAP_TEMPLATE,
                    js_on_load=style.MAP_JS,
                    drawing=self._render_map(LATENTS_VIEW, state.y),
                    label=texts["map_label"],
                )
                self.view = gr.Radio(
                    [(texts[view], view) for view in (LATENTS_VIEW, DECODED_VIEW)],
                    value=LATENTS_VIEW,
                    show_label=False,
                    container=False,
                )
                add_hint(self._map_hint())
            self.sources = ImageSources(self.explorer, texts)
        with gr.Row():
            self.centre = gr.Button(texts["centre"], size="sm", min_width=120)
            self.sample = gr.Button(
                texts["sample"], size="sm", min_width=120, visible=self.explorer.has_prior
            )

    def _build_images(self, state: ExplorerState) -> None:
        texts = self.texts
        gr.Markdown(f"### {texts['images']}")
        with gr.Row(elem_classes="pictures"):
            self.input = add_picture(*self._show_input(state))
            self.decoded = add_picture(*self._show_decoded(state, state.z))
        if len(self.explorer.run.data.shape) == 2:
            low, high = (f"{value:.3g}" for value in self.explorer.range)
            add_hint(texts["series_range"].format(low=low, high=high))
        self.label = LabelInput(self.explorer, state.y, texts, texts["label_of_tab"])
        self.numbers = gr.Markdown(self._measure(state, state.z), elem_classes="numbers")
        with gr.Accordion(texts["terms_title"], open=False):
            self.terms = gr.Markdown(self._render_terms(state), elem_classes="numbers")

    def _build_sliders(self, state: ExplorerState) -> None:
        gr.Markdown(f"### {self.texts['latents']}")
        self.sliders = [
            gr.Slider(
                label=self._describe_control(control),
                buttons=[],
                elem_classes="dial",
                **self._slider_settings(control, state.z),
            )
            for control in self.controls
        ]
        add_hint(self._slider_hint())

    def _connect(self) -> None:
        label, view = self.label.choice, self.view
        shown = [self.decoded, self.numbers]
        outputs = [self.state, self.input, *shown, self.terms, self.map, label, *self.sliders]
        self.sources.connect(self._use_image, [label], outputs)
        connect_event(self.map.pointed, self._use_map_position, [self.map, label], outputs)
        connect_event(self.centre.click, self._use_centre, [label], outputs)
        connect_event(self.sample.click, self._use_prior_sample, [label], outputs)
        connect_event(view.change, self._change_view, [view, label], [self.map])
        inputs = [self.state, *self.sliders]
        for slider in self.sliders:
            connect_event(slider.input, self._move_slider, inputs, [*shown, self.map])
        outputs = [self.state, *shown, self.map]
        connect_event(label.input, self._change_label, [label, view, *inputs], outputs)

    def _use_image(self, source: ImageSource, label: Any) -> list[Any]:
        return self._render_all(self._encode(source, selected_label(self.explorer, label)))

    def _encode(self, source: ImageSource, label: Tensor) -> ExplorerState:
        x, y, caption = source.load(self.explorer, label, self.texts)
        return ExplorerState(self.explorer.encode(x, y), y, x, caption)

    def _use_map_position(self, position: list[float], label: Any) -> list[Any]:
        plane: Any = self.explorer.plane
        z = plane.to_latent(*plane.point_at(*position))
        outputs = self._render_all(ExplorerState(z, selected_label(self.explorer, label)))
        outputs[RING_OUTPUT] = gr.skip()  # the user may have moved the ring already
        return outputs

    def _use_centre(self, label: Any) -> list[Any]:
        y = selected_label(self.explorer, label)
        return self._render_all(ExplorerState(self.explorer.central_latent, y))

    def _use_prior_sample(self, label: Any) -> list[Any]:
        y = selected_label(self.explorer, label)
        z = self.explorer.sample_latent(y, random.randrange(2**31))
        return self._render_all(ExplorerState(z, y))

    def _move_slider(self, state: ExplorerState, *values: float) -> list[Any]:
        z = self._apply_sliders(state, values)
        return [*self._render_position(state, z), self._map_position(z)]

    def _change_label(
        self, label: Any, view: str, state: ExplorerState, *values: float
    ) -> list[Any]:
        state = state._replace(y=selected_label(self.explorer, label))
        shown = self._render_position(state, self._apply_sliders(state, values))
        return [state, *shown, gr.HTML(drawing=self._render_map(view, state.y))]

    def _change_view(self, view: str, label: Any) -> Any:
        return gr.HTML(drawing=self._render_map(view, selected_label(self.explorer, label)))

    def _apply_sliders(self, state: ExplorerState, values: tuple[float, ...]) -> Tensor:
        """Return z (D,) with the values of the sliders; other dimensions keep their values."""
        z = state.z.clone()
        for control, value in zip(self.controls, values, strict=True):
            control.set_value(z, value)
        return z

    def _render_all(self, state: ExplorerState) -> list[Any]:
        """Return the values of all outputs for a new state."""
        return [
            state,
            make_picture(*self._show_input(state)),
            *self._render_position(state, state.z),
            self._render_terms(state),
            self._map_position(state.z),
            self.label.selection_of(state.y),
            *(gr.Slider(**self._slider_settings(control, state.z)) for control in self.controls),
        ]

    def _render_position(self, state: ExplorerState, z: Tensor) -> list[Any]:
        """Return the image that is decoded at the position z of the sliders, and its numbers."""
        return [make_picture(*self._show_decoded(state, z)), self._measure(state, z)]

    def _show_input(self, state: ExplorerState) -> tuple[Tensor | None, str]:
        if state.x is None:
            return None, self.texts["no_image"]
        return self.explorer.to_display(state.x), state.caption

    def _show_decoded(self, state: ExplorerState, z: Tensor) -> tuple[Tensor, str]:
        return self.explorer.decode(z, state.y, state.x), self.texts["decoded"]

    def _measure(self, state: ExplorerState, z: Tensor) -> str:
        numbers = self.explorer.measure_latents(z, state.y, state.x)
        tables = [position_table(numbers, self.texts)]
        if self.explorer.variables:
            mean = self.explorer.decode_mean(z, state.y, state.x)
            tables.append(values_table(self.explorer, state.x, mean, self.texts))
        return "\n\n".join(tables)

    def _render_terms(self, state: ExplorerState) -> str:
        x = state.x
        terms = None if x is None else self.explorer.compute_terms(x, state.y)
        return terms_table(terms, self.texts)

    def _render_map(self, view: str, y: Tensor) -> str:
        plane = self.explorer.plane
        if plane is not None and view == DECODED_VIEW:
            return decoded_map_svg(plane, self.explorer, y)
        return scatter_map_svg(self.explorer)

    def _map_position(self, z: Tensor) -> list[float]:
        """Return the position of z on the map in fractions of its edges, limited to the map."""
        plane = self.explorer.plane
        position = plane.position_of(*plane.project(z)) if plane else (0.0, 0.0)
        return [min(max(fraction, 0.0), 1.0) for fraction in position]

    def _map_hint(self) -> str:
        plane = self.explorer.plane
        if plane is None or self.explorer.vae.latent_dim == 2:
            return self.texts["map_plane"]
        return self.texts["map_components"].format(variance=f"{plane.explained_variance:.0%}")

    def _describe_control(self, control: LatentControl) -> str:
        key = "kl_of_latent" if control.has_kl else "variance_of_latent"
        value = format_rounded(control.activity, 2)
        return self.texts[key].format(name=control.name, value=value)

    def _slider_hint(self) -> str:
        texts, total = self.texts, len(self.explorer.controls)
        if not total:
            return texts["codebook"]
        hint = texts["kl_hint" if self.controls[0].has_kl else "variance_hint"]
        if total <= MAX_SLIDERS:
            return hint
        limit = texts["slider_limit"].format(shown=MAX_SLIDERS, total=total)
        return f"{hint}{limit}. {texts['other_latents']}"

    def _slider_settings(self, control: LatentControl, z: Tensor) -> dict[str, Any]:
        """Return range, step and value of a slider; the range includes the value of z."""
        value = round(control.get_value(z), control.digits)
        low, high = min(control.low, value), max(control.high, value)
        return {"minimum": low, "maximum": high, "step": control.step, "value": value}
