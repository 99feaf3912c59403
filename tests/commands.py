"""Find the commands in the documentation, and shorten them for a test."""

import re
from collections.abc import Iterable
from pathlib import Path

from conftest import GRIDS, ROOT

SMOKE = {
    "trainer.max_epochs=1": "trainer.max_epochs",
    "trainer.limit_train_batches=1": "trainer.limit_train_batches",
    "trainer.limit_val_batches=1": "trainer.limit_val_batches",
    "samples=1": "samples",
    "logger=csv": "logger",
    GRIDS: "pictures",
}
NOTES = ROOT / "docs" / "notes"
FENCE = re.compile(r"^```(.*)\n((?:.*\n)*?)```$", re.MULTILINE)
INLINE = re.compile(r"(?<!`)`((?:python|torchrun|pip|make|benchmark\.py) [^`]*)`(?!`)")


def list_pages() -> list[Path]:
    """Return every documentation page, in both languages."""
    return [*sorted(ROOT.glob("[A-Z]*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def list_english_notes() -> list[Path]:
    """Return the thirteen notes in English, without their index."""
    return [path for path in sorted(NOTES.glob("[01]*.md")) if ".zh-CN" not in path.name]


def page_name(page: Path) -> str:
    """Return the path of a page relative to the repository, as a test id."""
    return str(page.relative_to(ROOT))


def block_commands(page: Path) -> list[str]:
    """Return the commands in the bash blocks of a page."""
    blocks = [code for info, code in FENCE.findall(page.read_text()) if info == "bash"]
    return [line.partition("  #")[0].strip() for code in blocks for line in code.splitlines()]


def all_commands(page: Path) -> list[str]:
    """Return the commands in the bash blocks and in the sentences of a page."""
    text = FENCE.sub("", page.read_text())
    return [*block_commands(page), *(" ".join(code.split()) for code in INLINE.findall(text))]


def shorten_training(words: Iterable[str]) -> list[str]:
    """Return the words of a training command with the settings of SMOKE that it does not set."""
    words = list(words)
    return words + [word for word, key in SMOKE.items() if f"{key}=" not in " ".join(words)]


def needs_mnist(command: str) -> bool:
    """Return True if a command reads the MNIST or FashionMNIST files."""
    return re.search(r"data=(fashion_)?mnist\b|experiment=parts\b", command) is not None
