"""W&B keys are in no file of a run, and commands that contain one are refused."""

import stat

import pytest
from conftest import QUICK

from vaelab.cli.secrets import find_secret

KEY = "0123456789abcdef" * 2 + "01234567"
NEW_KEY = "wandb_v1_" + "aB3" * 25


@pytest.mark.parametrize(
    "word",
    [
        f"logger.api_key={KEY}",
        f"+logger.wandb.api_key={NEW_KEY}",
        "+wandb.key=short",
        "--key",
        "--api-key=x",
        "+token=x",
        "++a.password=x",
        f"logger.wandb.name={KEY}",
        f"+note='{NEW_KEY}'",
        f"published.source=local-{KEY}",
        KEY,
        "+note=${oc.env:WANDB_API_KEY}",
        "logger.wandb.name=key-of-the-environment-2",
    ],
)
def test_command_with_a_key_is_refused_without_repeating_it(command, tmp_path, monkeypatch, word):
    monkeypatch.setenv("WANDB_API_KEY", "key-of-the-environment")
    for script in ("train.py", "scripts/evaluate.py", "scripts/sample.py"):
        for words in ([word], ["-m", "seed=0,1", word]):
            status, output = command(script, *words)
            assert status.startswith("error: ")
            assert "WANDB_API_KEY" in status
            assert "\n" not in status
            for key in (KEY, NEW_KEY, "key-of-the-environment"):
                assert key not in status + output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ["model=conv", "loss=bce", "kl.beta=4", "-m", "model.hidden=[400,200]"],
        ["data.path=/data/0123456789abcdef0123456789abcdef01234567/x.npz", "data.crop=140"],
        ["published={value: 84.78, source: IWAE}", "callbacks=[default,ema]", "start=runs/monkey"],
        ["runs/2026-11-24_10-00-00", "--samples", "5000", "--parts", "likelihood"],
    ],
)
def test_other_commands_are_accepted(words, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    assert find_secret(words) is None


@pytest.mark.slow
def test_no_file_of_a_run_contains_the_key(shell, tmp_path):
    """Neither the key of the environment nor that of netrc, also after an evaluation."""
    netrc_key = KEY[::-1]
    (tmp_path / "netrc").write_text(f"machine api.wandb.ai login user password {netrc_key}\n")
    (tmp_path / "netrc").chmod(stat.S_IRUSR | stat.S_IWUSR)
    secrets = {"WANDB_API_KEY": KEY, "NETRC": str(tmp_path / "netrc"), "WANDB_MODE": "offline"}
    words = [word for word in QUICK if not word.startswith("logger")]
    output = shell(
        "train.py", *words, "hydra.run.dir=run", "logger=[wandb,csv]", "model.hidden=[8]", **secrets
    )
    evaluation_words = [
        "run",
        "--samples",
        "2",
        "--parts",
        "likelihood",
        "--results",
        "run/results",
    ]
    output += shell("scripts/evaluate.py", *evaluation_words, **secrets)
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert {"report.html", "metrics.json", "config.yaml"} <= {path.name for path in files}
    assert any(path.suffix == ".wandb" for path in files)
    for secret in (KEY, netrc_key):
        assert secret not in output
        for path in files:
            assert secret.encode() not in path.read_bytes(), path
