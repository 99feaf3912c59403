"""Words of the command line, in the syntax of Hydra's overrides."""

import re
from collections.abc import Iterable
from pathlib import Path

RESUME = "resume="  # followed by the folder of a run or of a multirun


def is_resume_command(words: Iterable[str]) -> bool:
    """True if the command line contains `resume=`."""
    return any(word.startswith(RESUME) for word in words)


def quote_override(path: Path | str) -> str:
    """Quote a path as the value of an override, escaping what Hydra's grammar would interpret."""
    escaped = re.sub(r"(\\+)(?='|$)", r"\1\1", str(path)).replace("'", "\\'")
    return f"'{escaped}'"
