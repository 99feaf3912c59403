"""A key stays where W&B keeps it: commands are written down, so that none may hold one."""

import os
import re
from collections.abc import Iterable

NAMED = re.compile(r"(?:^|[+._-])(?:api_?key|key|token|password|secret)$", re.IGNORECASE)
LOOKS = re.compile(r"(?:\w+-)?[0-9a-f]{40}|wandb_v\d+_\w{20,}")  # like a key of W&B, old or new
INSTEAD = "`wandb login` or WANDB_API_KEY gives it to W&B alone"


def find_secret(words: Iterable[str]) -> str | None:
    """Why these words of a command must not be taken; the reason does not repeat them."""
    own = os.environ.get("WANDB_API_KEY")
    for word in words:
        name, _, value = word.partition("=")
        if NAMED.search(name):
            name = name.lstrip("+")
            return f"{name}: the run folder keeps the command, so leave out keys: {INSTEAD}"
        if LOOKS.fullmatch(value.strip("'\"")) or LOOKS.fullmatch(word):
            return f"a word of the command looks like a key, which the run folder keeps: {INSTEAD}"
        if (own and own in word) or "WANDB_API_KEY" in word:
            return f"the command holds the key of W&B, which the run folder keeps: {INSTEAD}"
    return None
