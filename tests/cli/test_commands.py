"""The command `vaelab`: every command answers --help, and a wrong name gets the nearest one."""

import ast
import subprocess
import sys

import pytest
from conftest import ROOT

import vaelab
from vaelab.cli import commands
from vaelab.cli.commands import COMMANDS, main
from vaelab.runtime import installation
from vaelab.runtime.errors import UserError


@pytest.fixture
def vaelab_command(monkeypatch, capfd, tmp_path):
    """Run `vaelab ...` in this process, in tmp_path; return exit status and standard output."""

    def run_words(*words):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
        monkeypatch.setattr("sys.argv", ["/somewhere/vaelab", *words])
        try:
            main()
            status = 0
        except SystemExit as error:
            status = error.code
        return status, capfd.readouterr().out

    return run_words


def test_every_command_has_a_module_and_a_script():
    for name in COMMANDS.keys() - {"resume", "train"}:
        source = (ROOT / "src" / "vaelab" / "cli" / f"{name}.py").read_text()
        functions = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
        assert "main" in [function.name for function in functions]
        if name != "new":  # for projects outside the clone
            assert f'start("{name}")' in (ROOT / "scripts" / f"{name}.py").read_text()


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command(vaelab_command, name):
    status, output = vaelab_command(name, "--help")
    assert status == 0
    assert f"vaelab {name}" in output


def test_help_lists_the_commands(vaelab_command):
    status, output = vaelab_command("--help")
    assert status == 0
    assert all(f"  {name} " in output for name in COMMANDS)
    assert vaelab_command() == (0, output)


def test_version(vaelab_command):
    assert vaelab_command("--version") == (0, f"vaelab {vaelab.__version__}\n")


@pytest.mark.parametrize(
    ("word", "hint"), [("evalute", "did you mean evaluate?"), ("xyz", "see vaelab --help")]
)
def test_wrong_command_gets_the_nearest_one(vaelab_command, word, hint):
    status, _ = vaelab_command(word)
    assert status == f"error: vaelab {word}: there is no such command; {hint}"


def test_resume_is_a_training_with_resume(vaelab_command, tmp_path):
    status, _ = vaelab_command("resume", "nowhere")
    assert "nowhere is not a run folder" in status


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("vaelab ", "evaluate"),
        ("vaelab ev", "evaluate"),
        ("vaelab train loss=", "loss=bce"),
        ("vaelab train loss=mse model=co", "model=conv"),
        ("vaelab train loss=mse kl.b", "kl.beta="),
    ],
)
def test_completion(line, found, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "vaelab", "-sc", "query=bash"],
        env={"COMP_LINE": line, "PATH": "", "PYTHONPATH": str(ROOT / "src")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found in done.stdout.split()


def test_completion_code_for_a_shell(tmp_path):
    done = subprocess.run(
        ["bash", "-c", 'vaelab() { :; }; eval "$(cat)" && complete -p vaelab'],
        input=subprocess.run(
            [sys.executable, "-m", "vaelab", "-sc", "install=bash"],
            env={"PATH": "", "PYTHONPATH": str(ROOT / "src")},
            capture_output=True,
            check=True,
        ).stdout,
        capture_output=True,
        check=True,
    )
    assert b"hydra_bash_completion" in done.stdout


def test_reproduce_needs_the_repository(monkeypatch):
    monkeypatch.setattr(installation, "CLONE", None)
    with pytest.raises(UserError, match="vaelab reproduce needs the repository"):
        installation.find_clone("vaelab reproduce")


def test_hints_name_train_py_only_in_the_clone(monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    assert installation.train_command() == "python train.py"
    monkeypatch.chdir(tmp_path)
    assert installation.train_command() == "vaelab train"


def test_another_process_imports_from_the_same_folders_only(monkeypatch, tmp_path):
    """A module in the working folder, which may be an untrusted run folder, is not imported."""
    (tmp_path / "wandb.py").write_text("raise SystemExit('the working folder is imported')")
    words = installation.subprocess_command("--version")
    subprocess.run(words, cwd=tmp_path, check=True)
    assert commands.main.__name__ in words[2]


def test_output_may_end_early():
    words = [sys.executable, "-m", "vaelab", "train", "--help"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline()
    process.stdout.close()
    assert process.wait(60) in (0, 1)
    assert process.stderr.read() == ""
    process.stderr.close()
