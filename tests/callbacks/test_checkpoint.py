"""Checkpoints are whole or not there; the last whole one is found."""

import errno
import io
import subprocess

import pytest
import torch

from vaelab.callbacks.checkpoint import Checkpoint
from vaelab.runs.checkpoints import AtomicCheckpointIO, find_latest_checkpoint, read_checkpoint


def checkpoint(step):
    return {"state_dict": {"x": torch.arange(500.0)}, "global_step": step}


@pytest.fixture
def folder(tmp_path):
    for name, step in (("best", 3), ("last", 5)):
        AtomicCheckpointIO().save_checkpoint(checkpoint(step), tmp_path / f"{name}.ckpt")
    return tmp_path


def test_the_one_that_has_gone_furthest_is_the_last(folder):
    assert find_latest_checkpoint(folder) == folder / "last.ckpt"
    (folder / "last.ckpt").unlink()
    assert find_latest_checkpoint(folder) == folder / "best.ckpt"


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9, 0.999])
def test_of_a_torn_one_there_is_no_word(folder, share):
    content = (folder / "last.ckpt").read_bytes()
    (folder / "last.ckpt").write_bytes(content[: int(share * len(content))])
    assert find_latest_checkpoint(folder) == folder / "best.ckpt"
    with pytest.raises(ValueError, match=r"last.ckpt is truncated or no checkpoint"):
        read_checkpoint(folder / "last.ckpt")


def test_a_changed_bit_of_a_weight_is_noticed(folder):
    path = folder / "last.ckpt"
    content = bytearray(path.read_bytes())
    content[content.index(torch.tensor(321.0).numpy().tobytes())] ^= 1
    path.write_bytes(content)
    assert torch.load(path, weights_only=True)  # which does not notice
    with pytest.raises(ValueError, match="truncated"):
        read_checkpoint(path)


def test_where_none_is_whole_there_is_none(folder, tmp_path):
    for path in folder.iterdir():
        path.write_bytes(b"PK")
    assert find_latest_checkpoint(folder) is None
    assert find_latest_checkpoint(tmp_path / "nothing") is None


def test_a_write_that_fails_leaves_the_old_one_and_nothing_else(folder, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        AtomicCheckpointIO().save_checkpoint(checkpoint(9), folder / "last.ckpt")
    assert read_checkpoint(folder / "last.ckpt")["global_step"] == 5
    assert {path.name for path in folder.iterdir()} == {"best.ckpt", "last.ckpt"}


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 300 kB, where this user may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(place)]
    try:
        done = subprocess.run(words, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount")
    if done.returncode:
        pytest.skip("a small file system cannot be mounted by this user")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_full_disk_leaves_the_last_good_checkpoint(small_disk):
    path = small_disk / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(checkpoint(5), path)
    large = checkpoint(6) | {"state_dict": {"x": torch.zeros(100_000)}}
    with pytest.raises(OSError, match="No space left"):
        AtomicCheckpointIO().save_checkpoint(large, path)
    assert read_checkpoint(path)["global_step"] == 5
    assert [each.name for each in small_disk.iterdir()] == ["last.ckpt"]


def test_what_is_no_state_of_a_training_is_refused(tmp_path):
    content = io.BytesIO()
    torch.save({"x": 1}, content)
    (tmp_path / "x.ckpt").write_bytes(content.getvalue())
    with pytest.raises(ValueError, match="no checkpoint of vaelab"):
        read_checkpoint(tmp_path / "x.ckpt")


@pytest.mark.parametrize("minutes", [0, -1, float("nan")])
def test_minutes_are_above_zero(minutes):
    with pytest.raises(ValueError, match=r"callbacks.checkpoint.minutes="):
        Checkpoint("x", minutes)


def test_a_bit_that_goes_wrong_after_the_best_epoch_leaves_the_other_copy(train):
    folder = train("model.hidden=[4]", "trainer.limit_train_batches=2")["folder"] / "checkpoints"
    best, last = folder / "best.ckpt", folder / "last.ckpt"
    assert best.read_bytes() == last.read_bytes()
    with last.open("r+b") as file:
        file.seek(last.stat().st_size // 2)
        file.write(bytes([last.read_bytes()[last.stat().st_size // 2] ^ 1]))
    assert find_latest_checkpoint(folder) == best
