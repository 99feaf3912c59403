"""Keeps W&B keys out of commands, because a run folder records its command."""

import os
import re
from collections.abc import Iterable

SECRET_NAME = re.compile(r"(?:^|[+._-])(?:api_?key|key|token|password|secret)$", re.IGNORECASE)
WANDB_KEY = re.compile(r"(?:\w+-)?[0-9a-f]{40}|wandb_v\d+_\w{20,}")  # the old and the new form
ADVICE = "log in with `wandb login` or set WANDB_API_KEY instead"


def find_secret(words: Iterable[str]) -> str | None:
    """Return why a command must not be run because of a secret in it, or None.

    The returned reason does not repeat the secret.
    """
    environment_key = os.environ.get("WANDB_API_KEY")
    for word in words:
        name, _, value = word.partition("=")
        if SECRET_NAME.search(name):
            return f"{name.lstrip('+')}: the run folder records the command, secrets too: {ADVICE}"
        if WANDB_KEY.fullmatch(value.strip("'\"")) or WANDB_KEY.fullmatch(word):
            return f"a word looks like a W&B key, which the run folder would record: {ADVICE}"
        if (environment_key and environment_key in word) or "WANDB_API_KEY" in word:
            return f"the command contains your W&B key, which the run folder would record: {ADVICE}"
    return None
