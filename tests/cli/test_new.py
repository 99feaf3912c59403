"""`vaelab new` writes a project whose own test passes."""

import os
import subprocess
import sys

import pytest
from conftest import ROOT

from vaelab.cli.new import NAME, write_project
from vaelab.runtime.errors import UserError


def test_project_has_the_new_name_everywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_project("waves")
    files = [path for path in (tmp_path / "waves").rglob("*") if path.is_file()]
    assert {path.parent.name for path in files} >= {"waves", "tests", "loss", "data", "experiment"}
    assert not any(NAME in path.read_text() or NAME in str(path) for path in files)
    readme = (tmp_path / "waves" / "README.md").read_text()
    for path in files:
        name = path.relative_to(tmp_path / "waves").as_posix()
        assert f"`{name}`" in readme or path.name in ("README.md", "__init__.py")


@pytest.mark.parametrize("name", ["a-b", "class", "conf", "tests", "_x", "x.y", "../x", "é", "1a"])
def test_name_that_cannot_be_imported_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="choose a name that Python can import"):
        write_project(name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["os", "torch", "numpy", "vaelab", "pytest"])
def test_name_of_an_installed_package_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="is the name of an installed package"):
        write_project(name)


def test_existing_folder_is_not_changed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "waves").mkdir()
    with pytest.raises(UserError, match="waves exists already"):
        write_project("waves")
    assert list((tmp_path / "waves").iterdir()) == []


@pytest.mark.slow
def test_test_of_a_new_project_passes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_project("waves")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path / "waves",
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert "1 passed" in done.stdout
