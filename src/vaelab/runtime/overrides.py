"""Words of the command line, which are overrides as Hydra reads them."""

import re
from collections.abc import Iterable
from pathlib import Path

RESUME = "resume="  # with the folder of a run, or of a multirun


def is_resume_command(words: Iterable[str]) -> bool:
    """Whether a command line goes on with what was stopped."""
    return any(word.startswith(RESUME) for word in words)


def quote_override(path: Path | str) -> str:
    """A path as a value of the command line, where Hydra gives some characters a meaning."""
    escaped = re.sub(r"(\\+)(?='|$)", r"\1\1", str(path)).replace("'", "\\'")
    return f"'{escaped}'"
