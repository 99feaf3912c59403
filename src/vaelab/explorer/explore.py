"""The tab with sliders, which decodes an image or a latent vector and lets the user change it."""

import random
from typing import Any, NamedTuple

from torch import Tensor

from vaelab.explorer import markup, style
from vaelab.explorer.controls import LatentControl
from vaelab.explorer.events import connect_event, gr
from vaelab.explorer.explorer import Explorer
from vaelab.explorer.sources import (
    TILES_TAB,
    ImageSource,
    ImageSources,
    LabelInput,
    add_hint,
    selected_label,
)

MAX_SLIDERS = 12
LATENTS_VIEW, DECODED_VIEW = "test images", "decoded images"
MAP_TAB = "map"
MAP_OUTPUT, MESSAGE_OUTPUT = 3, 4  # positions among the outputs of `_render_all`
MAX_CLASSES = 10  # the number of colours of the map


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

    def __init__(self, explorer: Explorer):
        self.explorer, self.controls = explorer, explorer.controls[:MAX_SLIDERS]
        index = explorer.first_test_index
        state = self._encode(ImageSource(index=index), explorer.test_label(index))
        self.state = gr.State(state)
        with gr.Row():
            with gr.Column(scale=4, min_width=300):
                self._build_source(state)
            with gr.Column(scale=4, min_width=300):
                self._build_images(state)
            with gr.Column(scale=4, min_width=300, elem_classes="dials"):
                self._build_sliders(state)
        self._connect()

    def _build_source(self, state: ExplorerState) -> None:
        gr.HTML("<h3>Source</h3>")
        plane = self.explorer.plane
        with gr.Tabs(selected=TILES_TAB if plane is None else MAP_TAB):
            with gr.Tab("Map", id=MAP_TAB, visible=plane is not None):
                self.map: Any = gr.HTML(
                    self._map_position(state.z),
                    html_template=style.MAP_TEMPLATE,
                    js_on_load=style.MAP_JS,
                    drawing=self._render_map(LATENTS_VIEW, state.y),
                )
                self.view = gr.Radio(
                    [LATENTS_VIEW, DECODED_VIEW],
                    value=LATENTS_VIEW,
                    show_label=False,
                    container=False,
                )
                add_hint(self._map_hint())
            self.sources = ImageSources(self.explorer)
        with gr.Row():
            self.centre = gr.Button("Centre of the latents", size="sm")
            self.sample = gr.Button("Sample from p(z)", size="sm", visible=self.explorer.has_prior)
        self.message = gr.HTML()

    def _build_images(self, state: ExplorerState) -> None:
        gr.HTML("<h3>Input and decoded image</h3>")
        self.figures = gr.HTML(self._render_figures(state, state.z), elem_classes="decoded")
        self.label = LabelInput(self.explorer, state.y, "condition of q(z|x, y) and p(x|z, y)")
        self.terms = gr.HTML(self._render_terms(state))

    def _build_sliders(self, state: ExplorerState) -> None:
        gr.HTML("<h3>Latents</h3>")
        self.sliders = [
            gr.Slider(
                label=f"{control.name} · {control.activity}",
                buttons=[],
                **self._slider_settings(control, state.z),
            )
            for control in self.controls
        ]
        add_hint(self._slider_hint())

    def _connect(self) -> None:
        label = self.label.choice
        outputs = [self.state, self.figures, self.terms, self.map, self.message, label]
        outputs += self.sliders
        self.sources.connect(self._use_image, [label], outputs)
        connect_event(self.map.pointed, self._use_map_position, [self.map, label], outputs)
        connect_event(self.centre.click, self._use_centre, [label], outputs)
        connect_event(self.sample.click, self._use_prior_sample, [label], outputs)
        connect_event(self.view.change, self._change_view, [self.view, label], [self.map])
        inputs = [self.state, *self.sliders]
        for slider in self.sliders:
            connect_event(slider.input, self._move_slider, inputs, [self.figures, self.map])
        inputs = [label, self.view, *inputs]
        connect_event(label.input, self._change_label, inputs, [self.state, self.figures, self.map])

    def _use_image(self, source: ImageSource, label: Any) -> list[Any]:
        try:
            state = self._encode(source, selected_label(self.explorer, label))
        except (ValueError, OSError) as error:
            return self._reject(str(error))
        return self._render_all(state)

    def _encode(self, source: ImageSource, label: Tensor) -> ExplorerState:
        x, y, caption = source.load(self.explorer, label)
        return ExplorerState(self.explorer.encode(x, y), y, x, caption)

    def _use_map_position(self, position: list[float], label: Any) -> list[Any]:
        plane: Any = self.explorer.plane
        z = plane.to_latent(*plane.point_at(*position))
        outputs = self._render_all(ExplorerState(z, selected_label(self.explorer, label)))
        outputs[MAP_OUTPUT] = gr.skip()  # the user may have moved the ring already
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
        return [self._render_figures(state, z), self._map_position(z)]

    def _change_label(
        self, label: Any, view: str, state: ExplorerState, *values: float
    ) -> list[Any]:
        state = state._replace(y=selected_label(self.explorer, label))
        figures = self._render_figures(state, self._apply_sliders(state, values))
        return [state, figures, gr.HTML(drawing=self._render_map(view, state.y))]

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
            self._render_figures(state, state.z),
            self._render_terms(state),
            self._map_position(state.z),
            "",
            self.label.selection_of(state.y),
            *(gr.Slider(**self._slider_settings(control, state.z)) for control in self.controls),
        ]

    def _reject(self, text: str) -> list[Any]:
        """Return outputs that show a message and change nothing else."""
        outputs: list[Any] = [gr.skip() for _ in range(6 + len(self.controls))]
        outputs[MESSAGE_OUTPUT] = markup.message_html(text)
        return outputs

    def _render_figures(self, state: ExplorerState, z: Tensor) -> str:
        x = None if state.x is None else self.explorer.to_display(state.x)
        decoded = self.explorer.decode(z, state.y)
        return markup.figures_html((x, state.caption or "no image"), (decoded, "mean of p(x|z)"))

    def _render_terms(self, state: ExplorerState) -> str:
        if state.x is None:
            return "<p class='quiet'>The ELBO needs an image: choose one on the left.</p>"
        return markup.terms_html(self.explorer.compute_terms(state.x, state.y))

    def _render_map(self, view: str, y: Tensor) -> str:
        plane, labels = self.explorer.plane, self.explorer.run.data.splits["test"].labels
        if plane is None:
            return ""
        if view == DECODED_VIEW:
            return markup.decoded_map_svg(plane, self.explorer, y)
        labels = labels[self.explorer.test_indices]
        has_colours = labels.ndim == 1 and len(labels.unique()) <= MAX_CLASSES
        return markup.scatter_map_svg(plane, labels if has_colours else None)

    def _map_position(self, z: Tensor) -> list[float]:
        """Return the position of z on the map in fractions of its edges, limited to the map."""
        plane = self.explorer.plane
        position = plane.position_of(*plane.project(z)) if plane else (0.0, 0.0)
        return [min(max(fraction, 0.0), 1.0) for fraction in position]

    def _map_hint(self) -> str:
        plane = self.explorer.plane
        if plane is None:
            return ""
        hint = f"The first principal components ({plane.explained_variance:.0%} of the variance)."
        if self.explorer.vae.latent_dim == 2:
            hint = "The two latents: z1 to the right, z2 upwards."
        return f"{hint} Click, or drag the ring."

    def _slider_hint(self) -> str:
        if not self.controls:
            return "The latents of this model are vectors of a codebook, which have no sliders."
        has_kl = "nats" in self.controls[0].activity
        statistic = "Mean KL over test images" if has_kl else "Variance over test images"
        total = len(self.explorer.controls)
        limit = f"; the {MAX_SLIDERS} most active of {total}" if total > MAX_SLIDERS else ""
        return f"{statistic}{limit}. Latents without a slider keep their values."

    def _slider_settings(self, control: LatentControl, z: Tensor) -> dict[str, Any]:
        """Return range, step and value of a slider; the range includes the value of z."""
        value = round(control.get_value(z), control.digits)
        low, high = min(control.low, value), max(control.high, value)
        return {"minimum": low, "maximum": high, "step": control.step, "value": value}
