"""Durations as text."""


def format_duration(seconds: float) -> str:
    """Return a duration as in 40 s, 5 min or 2.5 h."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
