"""The project's texts use the words of the field, not the private words of its first version."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from conftest import ROOT

PATTERNS = (
    r"\b(goes|go|gone|going|went) on\b",
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
    r"\bwhat is not finite\b",
    r"\bpassed over\b",
    r"\bis as good as\b",
    r"\bhow_to_go_on\b",
    r"\bAsked\b",
    r"\b(LeftOut|Coded|Drawn|Shown|Continuation)\b",
    r"\bWhole\b",
)
ALLOWED = {  # file: pattern that may stand there
    "tests/test_vocabulary.py": ".*",
    "src/vaelab/runs/old_names.py": "Continuation",
    "tests/runs/test_old_runs.py": "Continuation",
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


def private_words(path: Path) -> Iterator[str]:
    """The places of a file where a pattern stands that is not allowed there."""
    name = str(path.relative_to(ROOT))
    text = path.read_text()
    for pattern in PATTERNS:
        for match in re.finditer(pattern, text):
            if not re.fullmatch(ALLOWED.get(name, r"(?!)"), match[0]):
                yield f"{name}:{text[: match.start()].count(chr(10)) + 1}: {match[0]}"


def test_texts_use_the_words_of_the_field():
    assert [words for path in texts() for words in private_words(path)] == []


def test_a_private_word_would_be_found(tmp_path, monkeypatch):
    monkeypatch.setitem(private_words.__globals__, "ROOT", tmp_path)
    (tmp_path / "page.md").write_text("A run resumes.\nIt goes on to the same bits.\n")
    assert "page.md:2: goes on" in [*private_words(tmp_path / "page.md")]
