"""The command line of scripts/explore.py, without serving a page."""

import socket
import sys

import numpy as np
import pytest

SCRIPT = "scripts/explore.py"


@pytest.fixture
def served_pages(monkeypatch):
    """Replace the server and return the list of the arguments of its calls."""
    pytest.importorskip("gradio", reason="the page needs gradio")
    from vaelab.explorer import page

    calls = []
    monkeypatch.setattr(page, "serve_page", lambda *arguments: calls.append(arguments))
    return calls


def test_page_is_served_on_loopback_by_default(command, save_run, tmp_path, served_pages):
    run = save_run(tmp_path / "run", "model.hidden=[8]")
    status, output = command(SCRIPT, str(run))
    assert status == 0
    assert "warning" not in output
    assert served_pages[0][1:] == ("127.0.0.1", 7860, "en")
    _, output = command(SCRIPT, str(run), "--host", "0.0.0.0", "--port", "1234", "--language", "zh")
    assert "warning: with --host 0.0.0.0, every machine" in output
    assert served_pages[1][1:] == ("0.0.0.0", 1234, "zh")


def test_runs_with_equal_names_are_numbered(command, save_run, tmp_path, served_pages):
    runs = [save_run(tmp_path / parent / "run", "model.hidden=[8]") for parent in "ab"]
    command(SCRIPT, *map(str, runs))
    assert [explorer.name for explorer in served_pages[0][0]] == ["run (1)", "run (2)"]


def test_run_on_a_table_is_served(command, save_run, tmp_path, served_pages):
    np.savez(tmp_path / "x.npz", x=np.eye(20, 6, dtype="f"))
    data = ("data=arrays", f"data.path={tmp_path / 'x.npz'}", "data.shape=[6]", "loss=mse")
    status, _ = command(SCRIPT, str(save_run(tmp_path / "run", *data, "model.hidden=[8]")))
    assert status == 0
    assert [explorer.name for explorer in served_pages[0][0]] == ["run"]


def test_occupied_port_is_rejected(command, free_port):
    with socket.create_server(("127.0.0.1", free_port)):
        status, _ = command(SCRIPT, "run", "--port", str(free_port))
    assert status.startswith(f"error: port {free_port} of 127.0.0.1 cannot be used")
    assert status.endswith("choose another with --port")


def test_missing_gradio_names_the_command_to_install_it(command, save_run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    for name in [name for name in sys.modules if name.startswith("vaelab.explorer.")]:
        monkeypatch.delitem(sys.modules, name)
    status, _ = command(SCRIPT, str(save_run(tmp_path / "run", "model.hidden=[8]")))
    assert status == "error: the explorer needs gradio: run pip install 'vaelab[explore]'"
