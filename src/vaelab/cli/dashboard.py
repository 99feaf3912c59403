"""Create a W&B workspace: `vaelab dashboard --project vaelab`.

Saves a view named vaelab with the runs, their curves, images, latents and test images. --print
prints its layout instead. This needs the extra `dashboard` and a W&B key, as of `wandb login`.
"""

import argparse
import os

from vaelab.runtime.errors import UserError, check_extra_installed


def main() -> None:
    """Save or print the workspace that the command line describes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entity", help="the user or team; by default your own")
    parser.add_argument("--project", default="vaelab")
    parser.add_argument("--group", help="by Group (multirun), or by a choice as choices.model")
    parser.add_argument("--print", action="store_true", help="print the layout and save nothing")
    arguments = parser.parse_args()

    from vaelab.loggers.wandb import choose_wandb_mode
    from vaelab.loggers.wandb_workspace import build_workspace, describe_layout

    if arguments.print:
        print(describe_layout())
        return
    check_extra_installed("dashboard", "wandb_workspaces")
    if (os.environ.get("WANDB_MODE") or choose_wandb_mode()) == "offline":
        raise UserError("W&B is offline or has no key: run `wandb login` first, or use --print")

    import wandb

    try:
        entity = arguments.entity or wandb.Api().default_entity or ""
        print(build_workspace(entity, arguments.project, arguments.group).save().url)
    except wandb.Error as error:
        raise UserError(f"W&B rejected the workspace: {error}") from error
