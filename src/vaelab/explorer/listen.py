"""gradio, told to call no other host, and how this page listens to events."""

import functools
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

try:
    import gradio as gr
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("the explorer needs gradio: pip install -e '.[explore]'") from error

__all__ = ["gr", "on"]

one_at_a_time = threading.Lock()  # a model of several layers remembers its last pass


def on(
    event: Callable[..., Any],
    act: Callable[..., Any],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
) -> None:
    """At an event call `act`; while it is busy only the latest event waits."""

    @functools.wraps(act)
    def alone(*values: Any) -> Any:
        with one_at_a_time:
            return act(*values)

    event(
        alone,
        list(inputs),
        list(outputs),
        queue=False,
        show_progress="hidden",
        trigger_mode="always_last",
        api_visibility="private",
    )
