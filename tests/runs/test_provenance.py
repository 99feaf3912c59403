"""What a run folder says of its beginning."""

import hashlib
import json
import subprocess

import pytest
import torch

from vaelab.data.base import Split
from vaelab.runs import metrics_file

SMALL = ("model.hidden=[16]", "latent_dim=4")


def test_the_beginning_of_a_run_is_on_file_before_its_first_step(train, tmp_path):
    with pytest.raises(ValueError, match="not finite"):
        train(*SMALL, "optimizer.lr=1e30", "trainer.limit_train_batches=9")
    begun = json.loads((tmp_path / "run" / "provenance.json").read_text())
    assert begun["threads"]["torch"] == torch.get_num_threads()
    assert begun["versions"].keys() == {"python", *metrics_file.PACKAGES}
    assert {"cpu", "instructions", "gpus"} <= begun["machine"].keys()
    assert begun["data_sha256"].keys() == {"train", "val", "test"}
    assert begun["git"] is None or len(begun["git"]["commit"]) == 40


def git(folder, *words):
    done = subprocess.run(
        ["git", "-c", "user.name=me", "-c", "user.email=me@here", *words],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return done.stdout


@pytest.fixture
def repository(tmp_path):
    """One commit, and changes of all kinds since: the folder of the code in it."""
    code = tmp_path / "repository" / "src"
    code.mkdir(parents=True)
    (code / "old.py").write_text("a = 1\n\nb = 2\n\n")
    (code / "words.txt").write_bytes("Größe\n".encode("latin-1"))
    git(code.parent, "init", "-q")
    git(code, "add", ".")
    git(code, "commit", "-qm", "first")
    (code / "old.py").write_text("a = 3\n\nb = 2\n\n")
    (code / "words.txt").write_bytes("Maß\n".encode("latin-1"))
    (code / "new.py").write_text("c = 4\n")
    (code.parent / "data.bin").write_bytes(bytes(range(256)))
    return code


def test_code_that_is_not_committed_can_be_put_back(repository, tmp_path):
    before = git(repository, "status", "--porcelain")
    (tmp_path / "uncommitted.diff").write_bytes(metrics_file._uncommitted(repository))
    assert git(repository, "status", "--porcelain") == before
    git(tmp_path, "clone", "-q", "repository", "again")
    git(tmp_path / "again", "apply", tmp_path / "uncommitted.diff")
    again = tmp_path / "again" / "src"
    for name in ("old.py", "words.txt", "new.py"):
        assert (again / name).read_bytes() == (repository / name).read_bytes()
    assert not (tmp_path / "again" / "data.bin").exists()


def test_outside_of_a_repository_there_is_nothing_to_put_back(tmp_path):
    assert metrics_file._uncommitted(tmp_path) == b""


def test_code_that_is_not_committed_is_kept_with_its_hash(train, monkeypatch):
    says = {"rev-parse": "c" * 40, "status": " M a.py"}
    monkeypatch.setattr(metrics_file, "_git_says", lambda *words: says[words[0]])
    monkeypatch.setattr(metrics_file, "_uncommitted", lambda: b"+x = 1\n")
    folder = train(*SMALL)["folder"]
    begun = json.loads((folder / "provenance.json").read_text())
    assert (folder / "uncommitted.diff").read_text() == "+x = 1\n"
    assert begun["diff_sha256"] == hashlib.sha256(b"+x = 1\n").hexdigest()
    assert begun["git"] == {"commit": "c" * 40, "changed": True}


def test_one_other_pixel_or_label_is_other_data():
    images, labels = torch.zeros(30, 1, 2, 2, dtype=torch.uint8), torch.arange(30)
    one = metrics_file._hash(Split(images, labels))
    assert metrics_file._hash(Split(images.clone(), labels.clone())) == one
    images[29, 0, 1, 1] = 1
    other = metrics_file._hash(Split(images, labels))
    assert other != one
    assert metrics_file._hash(Split(images, labels.flip(0))) != other
    assert metrics_file._hash(Split(images.view(30, 1, 4, 1), labels)) != other


def test_what_is_typed_can_be_typed_again(monkeypatch, train):
    monkeypatch.setattr("sys.argv", ["train.py", "callbacks=[default,ema]", "seed=1"])
    assert train(*SMALL)["command"] == "train.py 'callbacks=[default,ema]' seed=1"
