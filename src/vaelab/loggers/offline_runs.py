"""Offline W&B runs: the command that uploads them."""

from pathlib import Path

from vaelab.runtime.overrides import quote_for_shell

FIXED_PARTS = ("wandb", "evaluation")  # names of folders that all runs have


def find_upload_command(folder: Path) -> str | None:
    """Return the command that uploads all offline W&B runs in a folder; None if there are none.

    Arguments:
        folder: A run folder, or that of a multirun, whose jobs become `*`.
    """
    files = folder.resolve().rglob("wandb/offline-run-*/run-*.wandb")
    places = {
        file.parents[1].relative_to(folder.resolve())
        for file in files
        if not file.with_suffix(".wandb.synced").exists()
    }
    if not places:
        return None
    patterns = {
        "/".join(part if part in FIXED_PARTS else "*" for part in place.parts) for place in places
    }
    if len(patterns) < len(places):
        root = quote_for_shell(str(folder.resolve()))
        words = [f"{root}/{pattern}" for pattern in sorted(patterns)]
    else:
        words = [quote_for_shell(str(folder.resolve() / place)) for place in sorted(places)]
    return f"wandb sync {' '.join(words)}"
