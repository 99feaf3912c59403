"""Run one of the study notes: `python scripts/notes.py 10`.

Writes its figures 10-*.png and its numbers 10.json to --out, and the runs that it trains to
runs/notes. Its page is docs/notes/10-*.md.
"""

import argparse
from pathlib import Path

from vaelab.cli.menu import ROOT


def main() -> None:
    """Run the note of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("note", type=int, help="its number, 1 to 13")
    parser.add_argument("--out", type=Path, default=Path("runs/notes"), help="a folder")
    parser.add_argument("--smoke", action="store_true", help="two steps of each run, as a test")
    arguments = parser.parse_args()
    pages = list((ROOT / "docs" / "notes").glob(f"{arguments.note:02}-*.md"))
    if not pages:
        raise ValueError(f"{arguments.note}: the notes are numbered 1 to 13")

    from vaelab.notes.base import NoteConfig, run_note

    name = pages[0].name.split(".")[0]
    runs = Path("runs", "notes", name).resolve()
    run_note(name, NoteConfig(ROOT / "train.py", runs, arguments.smoke), arguments.out)
