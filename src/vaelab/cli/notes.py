"""Run one of the study notes: `vaelab notes 10`.

Writes its figures 10-*.png and its numbers 10.json to --out, and the runs that it trains to
runs/notes. Its page is docs/notes/10-*.md.
"""

import argparse
from pathlib import Path

from vaelab.runtime.errors import UserError
from vaelab.runtime.files import expand_home

NOTES = (  # in the order of their numbers; docs/notes has a page of each
    *("autoencoder", "score-function", "collapse", "likelihoods", "samples", "toys", "classes"),
    *("gap", "latent-map", "two-bumps", "critics", "overflow", "kl-field"),
)


def main() -> None:
    """Run the note of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("note", type=int, help=f"its number, 1 to {len(NOTES)}")
    parser.add_argument("--out", type=expand_home, default=Path("runs/notes"), help="a folder")
    parser.add_argument("--smoke", action="store_true", help="two steps of each run, as a test")
    arguments = parser.parse_args()
    if not 1 <= arguments.note <= len(NOTES):
        raise UserError(f"{arguments.note}: the notes are numbered 1 to {len(NOTES)}")

    from vaelab.notes.base import NoteConfig, run_note

    name = f"{arguments.note:02}-{NOTES[arguments.note - 1]}"
    runs = Path("runs", "notes", name).resolve()
    run_note(name, NoteConfig(runs, arguments.smoke), arguments.out)
