"""The commit and the uncommitted changes of the code that runs."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

HERE = Path(__file__).parent
CODE_FOLDERS = ("src", "conf", "scripts")  # new files in these are code and never data


def describe_commit() -> dict[str, Any] | None:
    """Return the current commit and whether the checkout has changes, None outside of git."""
    commit = _run_git_for_text("rev-parse", "HEAD")
    changed = bool(_run_git_for_text("status", "--porcelain"))
    return {"commit": commit, "changed": changed} if commit else None


def diff_uncommitted_code(here: Path = HERE) -> bytes:
    """Return the diff that `git apply` turns the commit into the running code with.

    It includes new files in the folders of code. They are added to a copy of the index, so that
    the index of the checkout does not change.
    """
    root = _run_git_for_text("rev-parse", "--show-toplevel", here=here)
    git_folder = _run_git_for_text("rev-parse", "--absolute-git-dir", here=here)
    if root is None or git_folder is None:
        return b""
    with TemporaryDirectory() as folder:
        index = Path(folder, "index")
        if Path(git_folder, "index").is_file():
            shutil.copyfile(Path(git_folder, "index"), index)
        checkout, environment = Path(root), os.environ | {"GIT_INDEX_FILE": str(index)}
        folders = [name for name in CODE_FOLDERS if (checkout / name).is_dir()]
        _run_git("add", "--intent-to-add", "--", *folders, here=checkout, env=environment)
        return _run_git("diff", "HEAD", "--binary", here=checkout, env=environment) or b""


def _run_git_for_text(*words: str, here: Path = HERE) -> str | None:
    output = _run_git(*words, here=here)
    return None if output is None else os.fsdecode(output).strip()


def _run_git(*words: str, here: Path, env: Mapping[str, str] | None = None) -> bytes | None:
    try:
        return subprocess.run(
            ["git", *words], cwd=here, env=env, capture_output=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
