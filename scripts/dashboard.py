"""Lay out a W&B project: `python scripts/dashboard.py --project vaelab`.

Saves a view named vaelab, with the runs, their curves, pictures, latents and test images. --print
shows what would be in it. It needs the extra `dashboard` and a key, as of `wandb login`.
"""

import argparse
import os

from vaelab.cli import entry_point
from vaelab.runtime import errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entity", help="the user or team; by default your own")
    parser.add_argument("--project", default="vaelab")
    parser.add_argument("--group", help="of runs: Group, by multirun, or a choice as choices.model")
    parser.add_argument("--print", action="store_true", help="say what is in it and save nothing")
    asked = parser.parse_args()

    from vaelab.loggers import wandb_workspace
    from vaelab.loggers.wandb import wandb_mode

    if asked.print:
        print(wandb_workspace.describe_layout())
        return
    errors.check_extra_installed("dashboard", "wandb_workspaces")
    if (os.environ.get("WANDB_MODE") or wandb_mode()) == "offline":
        raise ValueError("W&B is offline or has no key: `wandb login` first, or use --print")

    import wandb

    try:
        entity = asked.entity or wandb.Api().default_entity or ""
        print(wandb_workspace.build_workspace(entity, asked.project, asked.group).save().url)
    except wandb.Error as error:
        raise ValueError(f"W&B did not take the view: {error}") from error


if __name__ == "__main__":
    entry_point.run_command(main)
