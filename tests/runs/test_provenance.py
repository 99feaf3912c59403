"""provenance.json and uncommitted.diff."""

import hashlib
import json
import subprocess

import pytest
import torch

from vaelab.data.base import Split
from vaelab.runs import provenance
from vaelab.runtime import git

SMALL = ("model.hidden=[16]", "latent_dim=4")


def test_provenance_is_written_before_the_first_step(train, tmp_path):
    with pytest.raises(ValueError, match="NaN or infinity in "):
        train(*SMALL, "optimizer.lr=1e30", "trainer.limit_train_batches=9")
    recorded = json.loads((tmp_path / "run" / "provenance.json").read_text())
    assert recorded["threads"]["torch"] == torch.get_num_threads()
    assert recorded["versions"].keys() == {"python", *provenance.PACKAGES}
    assert {"cpu", "instructions", "gpus"} <= recorded["machine"].keys()
    assert recorded["data_sha256"].keys() == {"train", "val", "test"}
    assert recorded["git"] is None or len(recorded["git"]["commit"]) == 40


def run_git(folder, *words):
    done = subprocess.run(
        ["git", "-c", "user.name=me", "-c", "user.email=me@here", *words],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return done.stdout


@pytest.fixture
def repository(tmp_path):
    """A git repository with one commit and uncommitted changes; return its folder of code."""
    code = tmp_path / "repository" / "src"
    code.mkdir(parents=True)
    (code / "old.py").write_text("a = 1\n\nb = 2\n\n")
    (code / "words.txt").write_bytes("Größe\n".encode("latin-1"))
    run_git(code.parent, "init", "-q")
    run_git(code, "add", ".")
    run_git(code, "commit", "-qm", "first")
    (code / "old.py").write_text("a = 3\n\nb = 2\n\n")
    (code / "words.txt").write_bytes("Maß\n".encode("latin-1"))
    (code / "new.py").write_text("c = 4\n")
    (code.parent / "data.bin").write_bytes(bytes(range(256)))
    return code


def test_uncommitted_code_can_be_restored(repository, tmp_path):
    before = run_git(repository, "status", "--porcelain")
    (tmp_path / "uncommitted.diff").write_bytes(git.diff_uncommitted_code(repository))
    assert run_git(repository, "status", "--porcelain") == before
    run_git(tmp_path, "clone", "-q", "repository", "clone")
    run_git(tmp_path / "clone", "apply", tmp_path / "uncommitted.diff")
    restored = tmp_path / "clone" / "src"
    for name in ("old.py", "words.txt", "new.py"):
        assert (restored / name).read_bytes() == (repository / name).read_bytes()
    assert not (tmp_path / "clone" / "data.bin").exists()


def test_uncommitted_code_is_empty_outside_a_repository(tmp_path):
    assert git.diff_uncommitted_code(tmp_path) == b""


def test_uncommitted_code_is_saved_with_its_hash(train, monkeypatch):
    answers = {"rev-parse": "c" * 40, "status": " M a.py"}
    monkeypatch.setattr(git, "_run_git_for_text", lambda *words: answers[words[0]])
    monkeypatch.setattr(provenance, "diff_uncommitted_code", lambda: b"+x = 1\n")
    folder = train(*SMALL)["folder"]
    recorded = json.loads((folder / "provenance.json").read_text())
    assert (folder / "uncommitted.diff").read_text() == "+x = 1\n"
    assert recorded["diff_sha256"] == hashlib.sha256(b"+x = 1\n").hexdigest()
    assert recorded["git"] == {"commit": "c" * 40, "changed": True}


def test_hash_of_the_data_depends_on_every_pixel_label_and_shape():
    images, labels = torch.zeros(30, 1, 2, 2, dtype=torch.uint8), torch.arange(30)
    first = provenance._hash_split(Split(images, labels))
    assert provenance._hash_split(Split(images.clone(), labels.clone())) == first
    images[29, 0, 1, 1] = 1
    second = provenance._hash_split(Split(images, labels))
    assert second != first
    assert provenance._hash_split(Split(images, labels.flip(0))) != second
    assert provenance._hash_split(Split(images.view(30, 1, 4, 1), labels)) != second


def test_recorded_command_is_quoted_for_the_shell(monkeypatch, train):
    monkeypatch.setattr("sys.argv", ["train.py", "callbacks=[default,ema]", "seed=1"])
    assert train(*SMALL)["command"] == "train.py 'callbacks=[default,ema]' seed=1"
