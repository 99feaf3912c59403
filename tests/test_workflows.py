"""Workflows, hooks and community files agree with the Makefile, pyproject.toml and the versions."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from commands import all_commands
from conftest import ROOT
from test_constraints import read_pins

from vaelab import __version__

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def name(path: Path) -> str:
    return path.name


def read_jobs(path: Path) -> dict[str, dict]:
    """Return the jobs of a workflow by name."""
    return yaml.safe_load(path.read_text())["jobs"]


def read_commands(path: Path) -> list[str]:
    """Return the lines of shell code of a workflow."""
    steps = [step for job in read_jobs(path).values() for step in job["steps"]]
    return [line for step in steps for line in step.get("run", "").splitlines()]


def list_targets() -> set[str]:
    """Return the targets that the Makefile describes at its top."""
    return set(re.findall(r"^# make ([\w-]+)", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("path", WORKFLOWS, ids=name)
def test_workflow_runs_steps(path):
    workflow = yaml.safe_load(path.read_text())
    assert workflow["name"] == path.stem
    assert workflow["permissions"]
    assert workflow[True]  # YAML 1.1 reads the key `on` as a boolean
    for job in workflow["jobs"].values():
        assert job["runs-on"]
        assert all(("run" in step) != ("uses" in step) for step in job["steps"])


@pytest.mark.parametrize("path", WORKFLOWS, ids=name)
def test_make_targets_of_a_workflow_exist(path):
    used = {line.split()[1] for line in read_commands(path) if line.startswith("make ")}
    assert used <= list_targets()


@pytest.mark.parametrize("path", WORKFLOWS, ids=name)
def test_files_of_a_workflow_exist(path):
    words = [word for line in read_commands(path) for word in line.split()]
    files = {word for word in words if re.fullmatch(r"[\w./-]+\.(txt|py|toml)|\.ci/\w+", word)}
    assert [file for file in files if not (ROOT / file).is_file()] == []


def test_workflows_run_the_checks_of_this_repository():
    commands = {path.stem: read_commands(path) for path in WORKFLOWS}
    assert {"make check", "bash .ci/run"} <= {*commands["test"]}
    assert "make test-slow" in commands["nightly"]
    assert "make docs" in commands["docs"]
    assert any("constraints.txt" in line for line in commands["release"])


def test_tests_run_on_every_python_that_the_project_accepts():
    classifiers = "\n".join(PROJECT["classifiers"])
    versions = re.findall(r":: (3\.\d+)$", classifiers, re.MULTILINE)
    matrix = read_jobs(ROOT / ".github" / "workflows" / "test.yml")["linux"]["strategy"]["matrix"]
    assert matrix["python"] == versions
    lowest, after = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", PROJECT["requires-python"]).groups()
    assert versions == [f"3.{minor}" for minor in range(int(lowest), int(after))]


def test_quick_tests_of_other_systems_are_those_of_the_makefile():
    job = read_jobs(ROOT / ".github" / "workflows" / "test.yml")["other-systems"]
    done = subprocess.run(
        ["make", "--no-print-directory", "-n", "test"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert job["steps"][-1]["run"] == done.stdout.splitlines()[-1].removeprefix(".venv/bin/")


@pytest.mark.skipif(os.name != "posix", reason="it runs a shell")
@pytest.mark.parametrize(
    ("tag", "is_right"), [(f"v{__version__}", True), (__version__, False), ("v9.9.9", False)]
)
def test_release_needs_a_tag_with_the_version(tag, is_right, tmp_path):
    steps = read_jobs(ROOT / ".github" / "workflows" / "release.yml")["build"]["steps"]
    (step,) = (step for step in steps if step.get("name", "").startswith("Compare the tag"))
    environment = os.environ | {
        "GITHUB_REF_NAME": tag,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(ROOT / "src"),
    }
    done = subprocess.run(["bash", "-c", step["run"]], cwd=tmp_path, env=environment, check=False)
    assert (done.returncode == 0) == is_right


def test_release_is_published_only_after_the_wheel_worked():
    jobs = read_jobs(ROOT / ".github" / "workflows" / "release.yml")
    assert jobs["publish"]["needs"] == "build"
    assert jobs["publish"]["environment"] == "pypi"
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    commands = read_commands(ROOT / ".github" / "workflows" / "release.yml")
    assert any(line.startswith("vaelab train ") for line in commands)


def test_hooks_need_no_environment_and_have_the_tested_versions():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = [hook for repository in config["repos"] for hook in repository["hooks"]]
    versions, _ = read_pins("constraints.txt")
    assert [hook["id"] for hook in hooks] == ["ruff", "ruff-format", "pyright"]
    for hook in hooks:
        assert hook["language"] == "python"
        (pin,) = hook["additional_dependencies"]
        package, version = pin.split("==")
        assert package in hook["entry"]
        assert version == versions[package]


@pytest.mark.parametrize("path", FORMS, ids=name)
def test_issue_form_has_what_github_needs(path):
    form = yaml.safe_load(path.read_text())
    assert {"name", "description", "body"} <= form.keys()
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert len({field["id"] for field in fields}) == len(fields) > 1
    assert all(field["attributes"]["label"] for field in fields)
    assert any(field.get("validations", {}).get("required") for field in fields)


def test_contributing_page_names_make_targets_that_exist():
    commands = all_commands(ROOT / "CONTRIBUTING.md")
    targets = {line.split()[1] for line in commands if line.startswith("make ")}
    assert {"install", "test", "test-slow", "check"} <= targets
    makefile = (ROOT / "Makefile").read_text()
    assert [target for target in targets if f"\n{target}:" not in makefile] == []


def test_changelog_and_citation_have_the_version_of_the_package():
    headings = re.findall(r"^## \[([\w.]+)\] - (\S+)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert headings[0][0] == __version__
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == __version__
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["license"] == PROJECT["license"]
