"""What a run folder says of its beginning."""

import hashlib
import json

import pytest
import torch

from vaelab import record
from vaelab.data.base import Split

SMALL = ("model.hidden=[16]", "latent_dim=4")


def test_the_beginning_of_a_run_is_on_file_before_its_first_step(train, tmp_path):
    with pytest.raises(ValueError, match="not finite"):
        train(*SMALL, "optimizer.lr=1e30", "trainer.limit_train_batches=9")
    begun = json.loads((tmp_path / "run" / "provenance.json").read_text())
    assert begun["threads"]["torch"] == torch.get_num_threads()
    assert begun["versions"].keys() == {"python", *record.PACKAGES}
    assert {"cpu", "instructions", "gpus"} <= begun["machine"].keys()
    assert begun["data_sha256"].keys() == {"train", "val", "test"}
    assert begun["git"] is None or len(begun["git"]["commit"]) == 40


def test_code_that_is_not_committed_is_kept_with_its_hash(train, monkeypatch):
    says = {"rev-parse": "c" * 40, "status": " M a.py", "diff": "+x = 1"}
    monkeypatch.setattr(record, "_git_says", lambda *words: says[words[0]])
    folder = train(*SMALL)["folder"]
    begun = json.loads((folder / "provenance.json").read_text())
    assert (folder / "uncommitted.diff").read_text() == "+x = 1\n"
    assert begun["diff_sha256"] == hashlib.sha256(b"+x = 1\n").hexdigest()
    assert begun["git"] == {"commit": "c" * 40, "changed": True}


def test_one_other_pixel_or_label_is_other_data():
    images, labels = torch.zeros(30, 1, 2, 2, dtype=torch.uint8), torch.arange(30)
    one = record._hash(Split(images, labels))
    assert record._hash(Split(images.clone(), labels.clone())) == one
    images[29, 0, 1, 1] = 1
    other = record._hash(Split(images, labels))
    assert other != one
    assert record._hash(Split(images, labels.flip(0))) != other
    assert record._hash(Split(images.view(30, 1, 4, 1), labels)) != other


def test_what_is_typed_can_be_typed_again(monkeypatch, train):
    monkeypatch.setattr("sys.argv", ["train.py", "callbacks=[default,ema]", "seed=1"])
    assert train(*SMALL)["command"] == "train.py 'callbacks=[default,ema]' seed=1"
