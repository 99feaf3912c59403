"""scripts/dashboard.py: the workspace of a W&B project, without a server."""

import json

import pytest
from conftest import slow

from vaelab.loggers import wandb_workspace

# The package uses features that pydantic deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:.*Pydantic V1 style:DeprecationWarning")


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """Remove all keys from the environment."""
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def test_print_lists_every_panel(command, offline):
    status, output = command("scripts/dashboard.py", "--print")
    assert status == 0
    for section, panels in wandb_workspace.LAYOUT.items():
        assert f"\n{section}\n" in output
        for kind, title, keys in panels:
            (line,) = [
                line for line in output.splitlines() if _is_panel_line(line, kind, title, keys)
            ]
            assert line.startswith("  ")


def _is_panel_line(line, kind, title, keys):
    return line.split()[:1] == [kind] and title in line and line.endswith(", ".join(keys))


@pytest.mark.parametrize("group", ["choices.model", *slow(None, "Group")])
def test_workspace_is_built_offline_with_the_logged_keys(offline, group):
    view = wandb_workspace.build_workspace("me", "vaelab", group)
    spec = json.loads(view._to_model().spec.model_dump_json(by_alias=True, exclude_none=True))
    sections = {
        section["name"]: section for section in spec["section"]["panelBankConfig"]["sections"]
    }
    assert [*sections] == [*wandb_workspace.LAYOUT]
    for name, panels in wandb_workspace.LAYOUT.items():
        built_panels = sections[name]["panels"]
        assert len(built_panels) == len(panels)
        for panel, (kind, _, keys) in zip(built_panels, panels, strict=True):
            text = json.dumps(panel["config"])
            for key in keys:
                assert key.replace("choices.", "choices.value.") in text or kind == "parallel", key
    (runs,) = spec["section"]["runSets"]
    assert runs["sort"]["keys"][0]["key"] == {"section": "summary", "name": "val/elbo.max"}
    assert len(runs["grouping"]) == (group is not None)
    assert spec["section"]["settings"]["xAxis"] == "trainer/global_step"


def test_missing_key_is_a_one_line_error(command, offline):
    status, _ = command("scripts/dashboard.py", "--entity", "me")
    assert status == "error: W&B is offline or has no key: run `wandb login` first, or use --print"


@pytest.mark.slow
def test_missing_network_is_a_one_line_error_without_the_key(command, offline, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    status, output = command("scripts/dashboard.py", "--entity", "me")
    assert status.startswith("error: W&B rejected the workspace: ")
    assert "\n" not in status
    assert "a" * 40 not in status + output


def test_missing_extra_is_named(command, offline, monkeypatch):
    monkeypatch.setattr("vaelab.runtime.errors.find_spec", lambda name: None)
    status, _ = command("scripts/dashboard.py")
    assert status.endswith("is not installed: run pip install 'vaelab[dashboard]'")
