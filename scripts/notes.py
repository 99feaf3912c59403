"""One of the study notes, shown: `python scripts/notes.py 10`.

Its figures 10-*.png and its numbers 10.json go to --out, what it trains to runs/notes; the page is
docs/notes/10-*.md.
"""

import argparse
from pathlib import Path

from vaelab.cli import entry_point

ROOT = Path(__file__).parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("note", type=int, help="its number, 1 to 13")
    parser.add_argument("--out", type=Path, default=Path("runs/notes"), help="a folder")
    parser.add_argument("--smoke", action="store_true", help="two steps of each run, to see it run")
    asked = parser.parse_args()
    pages = list((ROOT / "docs" / "notes").glob(f"{asked.note:02}-*.md"))
    if not pages:
        raise ValueError(f"{asked.note}: the notes are 1 to 13")

    from vaelab.notes.base import NoteConfig, show_note

    name = pages[0].name.split(".")[0]
    what = NoteConfig(ROOT / "train.py", Path("runs", "notes", name).resolve(), asked.smoke)
    show_note(name, what, asked.out)


if __name__ == "__main__":
    entry_point.run_command(main)
