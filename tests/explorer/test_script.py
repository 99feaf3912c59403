"""scripts/explore.py and what it says before there is a page."""

import socket
import sys

import numpy as np
import pytest

SCRIPT = "scripts/explore.py"


@pytest.fixture
def serve(monkeypatch):
    """What the page would have been served with."""
    pytest.importorskip("gradio", reason="the page needs gradio")
    from vaelab.explorer import page

    calls = []
    monkeypatch.setattr(page, "serve", lambda *words: calls.append(words))
    return calls


def test_it_listens_on_loopback_unless_it_is_told_otherwise(command, saved, tmp_path, serve):
    run = saved(tmp_path / "run", "model.hidden=[8]")
    status, output = command(SCRIPT, str(run))
    assert status == 0
    assert "warning" not in output
    assert serve[0][1:] == ("127.0.0.1", 7860)
    _, output = command(SCRIPT, str(run), "--host", "0.0.0.0", "--port", "1234")
    assert "warning: --host 0.0.0.0 lets every machine" in output
    assert serve[1][1:] == ("0.0.0.0", 1234)


def test_runs_of_one_name_are_told_apart(command, saved, tmp_path, serve):
    runs = [saved(tmp_path / each / "run", "model.hidden=[8]") for each in "ab"]
    command(SCRIPT, *map(str, runs))
    assert [each.name for each in serve[0][0]] == ["run (1)", "run (2)"]


def test_a_run_on_tables_is_refused_in_one_line(command, saved, tmp_path, serve):
    np.savez(tmp_path / "x.npz", x=np.zeros((20, 6), "f"))
    data = ("data=arrays", f"data.path={tmp_path / 'x.npz'}", "data.shape=[6]", "loss=mse")
    status, _ = command(SCRIPT, str(saved(tmp_path / "run", *data, "model.hidden=[8]")))
    assert status.startswith("error: run is a run on tables")
    assert not serve


def test_a_port_that_is_taken_is_said_in_one_line(command, free_port):
    with socket.create_server(("127.0.0.1", free_port)):
        status, _ = command(SCRIPT, "run", "--port", str(free_port))
    assert status.startswith(f"error: port {free_port} of 127.0.0.1 cannot be used")
    assert status.endswith("choose another with --port")


def test_without_gradio_it_says_what_to_install(command, saved, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    for name in [name for name in sys.modules if name.startswith("vaelab.explorer.")]:
        monkeypatch.delitem(sys.modules, name)
    status, _ = command(SCRIPT, str(saved(tmp_path / "run", "model.hidden=[8]")))
    assert status == "error: the explorer needs gradio: pip install -e '.[explore]'"
