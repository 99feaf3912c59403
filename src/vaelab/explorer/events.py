"""Import gradio with its analytics disabled, and connect its events to functions."""

import os
from collections.abc import Callable, Sequence
from typing import Any

from vaelab.runtime.errors import MissingExtraError, install_hint

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

try:
    import gradio as gr
except ModuleNotFoundError as error:
    message = f"the explorer needs gradio: run {install_hint('explore')}"
    raise MissingExtraError(message) from error

__all__ = ["connect_event", "gr"]


def connect_event(
    event: Callable[..., Any],
    callback: Callable[..., Any],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    queue: bool = False,
) -> None:
    """Call `callback(*inputs)` at each event and write its results to the outputs.

    While a call is running, only the latest event of the same kind waits. Calls for different
    events can run concurrently, in threads of the server.

    Arguments:
        event: Event method of a gradio component, such as `button.click`.
        callback: Function of the values of the inputs.
        inputs, outputs: gradio components.
        queue: Run the calls in gradio's queue, which is slower, but can show warnings.
    """
    event(
        callback,
        list(inputs),
        list(outputs),
        queue=queue,
        show_progress="hidden",
        trigger_mode="always_last",
        api_visibility="private",
    )
