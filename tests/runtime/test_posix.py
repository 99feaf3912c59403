"""vaelab needs nothing that only POSIX systems have, and reads and writes text as UTF-8."""

import ast
import subprocess
import sys

import pytest
from conftest import ROOT

from vaelab.runtime.posix import is_process_running

SRC = ROOT / "src" / "vaelab"
POSIX_MODULES = ("fcntl", "resource", "termios", "pwd", "grp", "tty", "pty", "readline", "syslog")
POSIX_NAMES = {
    "os": [
        *("fork", "forkpty", "kill", "killpg", "getpgid", "setpgid", "setsid", "getuid", "geteuid"),
        *("getgid", "sysconf", "uname", "nice", "mkfifo", "statvfs", "getloadavg", "wait", "wait3"),
        *("sched_getaffinity", "sched_setaffinity", "O_DIRECTORY", "chown", "chroot", "link"),
    ],
    "signal": [
        *("SIGUSR1", "SIGUSR2", "SIGKILL", "SIGHUP", "SIGALRM", "SIGCHLD", "SIGCONT", "SIGSTOP"),
        *("SIGQUIT", "alarm", "setitimer", "pause", "sigwait", "pthread_kill", "pthread_sigmask"),
    ],
}
GUARDED = {"runtime/posix.py"}
TEXT_FUNCTIONS = {"read_text": 0, "write_text": 1}  # and the place of their argument encoding
# Imports everything twice: libraries are loaded the first time, when nothing is missing yet.
IMPORT_ALL = f"""
import importlib, os, pkgutil, signal, sys, types
def import_all():
    import vaelab
    for each in [*pkgutil.walk_packages(vaelab.__path__, "vaelab.")]:
        if ".__main__" not in each.name and ".cli.project" not in each.name:
            try:
                importlib.import_module(each.name)
            except ModuleNotFoundError as error:
                if str(error.name).partition(".")[0] in ("vaelab", *{POSIX_MODULES}):
                    raise
import_all()
for name in [name for name in sys.modules if name.partition(".")[0] == "vaelab"]:
    del sys.modules[name]
from pytorch_lightning.trainer.connectors import signal_connector
signal_connector.signal = types.SimpleNamespace(**vars(signal))  # Lightning asks sys.platform
for name in {POSIX_MODULES}:
    sys.modules[name] = None
for module, names in ((os, {POSIX_NAMES["os"]}), (signal, {POSIX_NAMES["signal"]})):
    for name in names:
        if hasattr(module, name) and name not in KEPT:
            delattr(module, name)
import_all()
"""
LIBRARIES_NEED = ["kill", "wait", "uname", "link", "getuid", "sched_getaffinity"]


def run_without_posix(code, folder):
    text = IMPORT_ALL.replace("KEPT", repr(LIBRARIES_NEED))
    command = [sys.executable, "-c", text + code]
    return subprocess.run(
        command, cwd=folder, capture_output=True, encoding="utf-8", timeout=300, check=False
    )


@pytest.mark.slow
def test_every_module_can_be_imported_and_a_model_trains_without_posix(tmp_path):
    words = ["trainer=smoke", "trainer.accelerator=cpu", "samples=1", "logger=csv"]
    words += ["model.hidden=[4]", "callbacks.pictures.only=[]", "hydra.run.dir=run"]
    code = f"sys.argv = ['train', *{words}]\nfrom vaelab.cli.commands import start\nstart('train')"
    done = run_without_posix(code, tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "run" / "metrics.json").is_file()


def posix_names(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.attr in POSIX_NAMES.get(node.value.id, ()):
                yield f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None)]
            yield from (name for name in names if name in (*POSIX_MODULES, "ctypes"))


def test_only_one_module_uses_what_only_posix_has():
    found = {
        path.relative_to(SRC).as_posix(): [*posix_names(ast.parse(path.read_text("utf-8")))]
        for path in SRC.rglob("*.py")
    }
    assert {path for path, names in found.items() if names} == GUARDED


# whose method open is of no text file
OTHER_OWNERS = ("cls", "self", "files", "os", "webbrowser", "tarfile", "archive")


def text_calls_without_encoding(tree):
    """Yield the calls that open text files in the encoding of the system, cp1252 on Windows."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or any(key.arg == "encoding" for key in node.keywords):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        place = TEXT_FUNCTIONS.get(name)
        if place is not None and len(node.args) <= place:
            yield node.lineno
        owner = getattr(getattr(node.func, "value", None), "id", "")
        is_class = owner[:1].isupper() or owner in OTHER_OWNERS
        if name == "open" and not is_class:
            modes = [each for each in node.args if isinstance(each, ast.Constant)]
            if not any("b" in str(mode.value) for mode in modes):
                yield node.lineno
        is_text = any(key.arg in ("text", "universal_newlines") for key in node.keywords)
        if is_text and name in ("run", "Popen", "check_output"):
            yield node.lineno


@pytest.mark.parametrize("folder", ["src/vaelab", "scripts"])
def test_every_text_file_names_its_encoding(folder):
    found = {
        f"{path.relative_to(ROOT / folder).as_posix()}:{line}"
        for path in (ROOT / folder).rglob("*.py")
        for line in text_calls_without_encoding(ast.parse(path.read_text("utf-8")))
    }
    assert found == set()


def test_default_names_of_folders_have_no_character_that_windows_refuses():
    text = (ROOT / "conf" / "train.yaml").read_text("utf-8")
    formats = [line.partition("${now:")[2] for line in text.splitlines() if "${now:" in line]
    assert len(formats) == 2
    assert not any(set(name) & set('<>:"|?*\\') for name in formats)


def test_a_process_that_has_ended_is_not_running():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert is_process_running(process.pid)
    assert not is_process_running(process.pid)
