"""The project's texts use the words of the field, not the private words of its first version."""

import re
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT

PATTERNS = (
    r"\b(goes|go|gone|going|went) on (?!to (the|a) )",
    r"\bgoes on\b",
    r"\bto go on\b",
    r"from elsewhere",
    r"\btaken apart\b",
    r"\btold apart\b",
    r"\bthe same bits\b",
    r"\bto the bits\b",
    r"how it came about",
    r"\b(is|are|was|were) not finite\b",
    r"\bof a stranger\b",
    r"\bstrangers?\b",
    r"\bas ever\b",
    r"\bcomes? to nothing\b",
    r"\bhelps\(",
    r"\bgoes_on\b",
    r"\btold_apart\b",
    r"\bAsked\b",
    r"\bWhole\b",
)
ALLOWED = {  # file: pattern that may stand there
    "tests/test_vocabulary.py": ".*",
}


def texts() -> list[Path]:
    """The files that are searched: sources, docs, configs and scripts, without Chinese pages."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    paths = [ROOT / line for line in listed.stdout.splitlines()]
    suffixes = (".py", ".md", ".yaml", ".yml", ".toml", ".html", ".js")
    folders = ("src", "docs", "conf", "scripts", "tests")
    return [
        path
        for path in paths
        if path.suffix in suffixes
        and (path.parent == ROOT or path.relative_to(ROOT).parts[0] in folders)
        and "fixtures" not in path.parts
        and not path.name.endswith(".zh-CN.md")
        and path.is_file()
    ]


@pytest.mark.parametrize("path", texts(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_text_uses_the_words_of_the_field(path):
    allowed = ALLOWED.get(str(path.relative_to(ROOT)), r"(?!)")
    text = path.read_text()
    found = [
        f"{text[: match.start()].count(chr(10)) + 1}: {match[0]}"
        for pattern in PATTERNS
        for match in re.finditer(pattern, text)
        if not re.fullmatch(allowed, match[0])
    ]
    assert found == []
