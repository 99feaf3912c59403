"""The commands of the docs, and how little of each will do in a test."""

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
FENCE = re.compile(r"^```(.*)\n((?:.*\n)*?)```$", re.MULTILINE)
INLINE = re.compile(r"(?<!`)`((?:python|torchrun|pip|make|benchmark\.py) [^`]*)`(?!`)")


def pages() -> list[Path]:
    """Every page for a reader, in any language."""
    return [*sorted(ROOT.glob("README*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def lines(page: Path) -> list[str]:
    """The commands of its bash blocks."""
    blocks = [code for info, code in FENCE.findall(page.read_text()) if info == "bash"]
    return [line.partition("  #")[0].strip() for code in blocks for line in code.splitlines()]


def commands(page: Path) -> list[str]:
    """Those, and the commands within its sentences."""
    text = FENCE.sub("", page.read_text())
    return [*lines(page), *(" ".join(each.split()) for each in INLINE.findall(text))]


def smoked(words: Iterable[str]) -> list[str]:
    """The words of a training with those that make it short, where it does not say otherwise."""
    words = list(words)
    return words + [word for word, key in SMOKE.items() if f"{key}=" not in " ".join(words)]


def needs_mnist(line: str) -> bool:
    return re.search(r"data=(fashion_)?mnist\b|experiment=parts\b", line) is not None
