"""Values that only this machine can compute are recorded; a run of them opens without it."""

import pytest
from omegaconf import OmegaConf

from vaelab.runs.config_types import check_types
from vaelab.runs.resolved import resolve_values
from vaelab.runs.run import RunParts
from vaelab.runtime import precision, trusted_config
from vaelab.runtime.errors import UserError

SHORT = ["trainer=smoke", "trainer.accelerator=cpu", "samples=1", "logger=none"]
SHORT += ["callbacks.pictures.only=[]", "model.hidden=[4]"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.01", 0.01),
        ("3", 3),
        ("true", True),
        ("null", None),
        ("[1,2]", [1, 2]),
        ("Tanh", "Tanh"),
        ("'3'", "3"),
        ("", ""),
        ("a=b", "a=b"),
        ("a,b", "a,b"),
        ("interval(1,2)", "interval(1,2)"),
        ("/data/né x", "/data/né x"),
        ("[1", "[1"),
    ],
)
def test_text_of_a_variable_is_read_as_on_the_command_line(monkeypatch, text, value):
    monkeypatch.setenv("MINE", text)
    cfg = OmegaConf.create({"a": {"b": "${oc.env:MINE}"}, "c": "${a.b}", "d": ["x${oc.env:MINE}"]})
    assert resolve_values(cfg) == {"a.b": value, "d.0": f"x{text}"}
    assert cfg == {"a": {"b": value}, "c": value, "d": [f"x{text}"]}
    assert OmegaConf.to_container(cfg, resolve=False)["c"] == "${a.b}"
    trusted_config.check_config(cfg)


def test_values_that_an_opened_run_can_compute_stay(config):
    cfg = config()
    before = OmegaConf.to_yaml(cfg)
    assert resolve_values(cfg) == {}
    assert OmegaConf.to_yaml(cfg) == before


def test_other_resolvers_are_replaced(monkeypatch):
    monkeypatch.setenv("MINE", "0.5")
    cfg = OmegaConf.create({"a": "${oc.decode:${oc.env:MINE}}", "b": "${oc.create:{x:1}}"})
    OmegaConf.set_struct(cfg, True)
    assert resolve_values(cfg) == {"a": 0.5, "b": {"x": 1}}
    assert OmegaConf.is_struct(cfg)


@pytest.mark.parametrize(("fast", "chosen"), [(True, "bf16-mixed"), (False, "32-true")])
def test_run_records_what_auto_precision_chose(train, monkeypatch, fast, chosen):
    monkeypatch.setattr(precision, "is_bf16_fast", lambda on_cpu: fast)
    words = ("trainer.precision=auto", "trainer.accelerator=cpu", "trainer.limit_train_batches=1")
    folder = train(*words, "model.hidden=[8]")["folder"]
    recorded = OmegaConf.load(folder / ".hydra" / "config.yaml")
    assert recorded.trainer.precision == chosen


@pytest.mark.parametrize("text", ["${seed}", "x${oc.env:HOME}", "[${seed}]"])
def test_value_that_is_an_interpolation_itself_is_refused(monkeypatch, text):
    monkeypatch.setenv("MINE", text)
    with pytest.raises(UserError, match="which no run can record"):
        resolve_values(OmegaConf.create({"a": "${oc.env:MINE}", "seed": 1}))


def test_variable_that_is_not_set_is_named():
    with pytest.raises(UserError, match=r"^a=\$\{oc\.env:NO_SUCH\} cannot be computed"):
        resolve_values(OmegaConf.create({"a": "${oc.env:NO_SUCH}"}))


def test_lists_are_checked_after_interpolation(config):
    check_types(config("logger=none", "model.hidden=[${latent_dim},32]"))
    with pytest.raises(UserError, match=r"model\.hidden"):
        check_types(config("logger=none", "model.hidden=[${optimizer.lr},32]"))


def test_run_records_the_value_of_a_variable(command, tmp_path, monkeypatch):
    monkeypatch.setenv("MY_LR", "0.003")
    words = ["optimizer.lr=${oc.env:MY_LR}", "optimizer.eps=${oc.decode:'1e-7'}"]
    words += ["model.hidden=[${latent_dim},4]", "hydra.run.dir=run"]
    status, _ = command("train.py", *SHORT, *words)
    assert status == 0
    monkeypatch.delenv("MY_LR")
    recorded = OmegaConf.load(tmp_path / "run" / ".hydra" / "config.yaml")
    assert (recorded.optimizer.lr, recorded.optimizer.eps) == (0.003, 1e-7)
    assert "hidden:\n- ${latent_dim}\n- 4" in OmegaConf.to_yaml(recorded.model)
    assert RunParts.open(tmp_path / "run").step == 2


def test_secret_in_a_variable_is_not_recorded(command, tmp_path, monkeypatch):
    key = "0123456789" * 4
    monkeypatch.setenv("MINE", key)
    status, output = command("train.py", *SHORT, "logger=wandb", "logger.wandb.name=${oc.env:MINE}")
    assert "looks like a W&B key" in status
    assert key not in status + output
    assert not any(key in path.read_text() for path in tmp_path.rglob("*.yaml"))
