"""Bad input ends in one clear line and a status that is not 0, and leaves nothing behind."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def celeba(root):
    """An official layout whose partition file names a picture that is not there."""
    (root / "celeba" / "img_align_celeba").mkdir(parents=True)
    Image.new("RGB", (178, 218)).save(root / "celeba" / "img_align_celeba" / "000001.jpg")
    (root / "celeba" / "list_eval_partition.txt").write_text("000001.jpg 0\n000002.jpg 1\n")
    attributes = "2\nSmiling Young\n000001.jpg 1 -1\n000002.jpg -1 1\n"
    (root / "celeba" / "list_attr_celeba.txt").write_text(attributes)


def damage(idx, name, content):
    path = Path(idx.root, "MNIST", "raw", name)
    path.write_bytes(content(path.read_bytes()))


@pytest.fixture
def place(tmp_path, idx):
    """The folders that the cases below speak of."""
    root = tmp_path / "place"
    for name in ("empty", "words", "celeba"):
        (root / name).mkdir(parents=True)
    (root / "words" / "readme.txt").write_text("no picture")
    celeba(root / "celeba")
    np.savez(root / "standardised.npz", x=np.random.default_rng(0).normal(size=(50, 1, 8, 8)))
    for name in ("truncated", "altered"):
        shutil.copytree(idx.root, root / name)
    for name, change in (("truncated", lambda b: b[:-9]), ("altered", lambda b: b[:-1] + b"?")):
        path = root / name / "MNIST" / "raw" / "t10k-images-idx3-ubyte"
        path.write_bytes(change(path.read_bytes()))
    return root


CASES = {
    "unknown option": (
        "model=transformer",
        "choose from bottom_up, conditional, ",
    ),
    "unknown option of a list": ("callbacks=[default,emma]", "callbacks=emma: there is no such"),
    "no option": ("kl=null", "a group is one of its options, not null"),
    "group of another command": ("sampler=gmm", "sampler: there is no such key"),
    "key of a part without any": ("loss.scale=1", "loss has no keys"),
    "folder": ("folder=elsewhere", "folder=elsewhere: set hydra.run.dir"),
    "averages that are not kept": ("callbacks=ema", "write callbacks=[default,ema]"),
    "figure without a source": ("published=84", "published=84: give a number and its source"),
    "unknown key": ("kl.bta=4", "kl.bta: there is no such key; kl has beta"),
    "unknown group": (
        "modle=conv",
        "there is no such key; the config has callbacks, ",
    ),
    "unknown argument": ("+kl.bta=4", "kl.bta: Constant takes beta"),
    "wrong type": ("latent_dim=many", "latent_dim=many: it should be a valid integer"),
    "wrong type for the class above": (
        "model=conditional latent_dim=many",
        "latent_dim=many: it should be a valid integer",
    ),
    "wrong type inside": ("model.hidden=[a]", "model.hidden"),
    "wrong word": ("data.binarize=often", "data.binarize=often: it should be 'none', 'dynamic'"),
    "missing": ("data=arrays", "data.path is missing: set it, as in data.path="),
    "bad syntax": ("model.hidden=[400", "model.hidden=[400"),
    "no latents": ("latent_dim=0", "latent_dim=0: it must be at least 1"),
    "size that cannot be halved": (
        "model=conv model.channels=[8,8,8,8,8,8]",
        "model.channels=[8, 8, 8, 8, 8, 8] halves the image 6 times, but an image of 28x28 pixels "
        "can be halved at most 4 times: use at most 4 numbers",
    ),
    "bce on real pixels": (
        "data=arrays data.path={place}/standardised.npz",
        "Bernoulli takes pixels in [0, 1]",
    ),
    "binarize real pixels": (
        "data=arrays data.path={place}/standardised.npz data.binarize=dynamic",
        "set data.binarize=none",
    ),
    "absent array file": ("data=arrays data.path={place}/no.npz", "there is no such file"),
    "absent folder": ("data=image_folder data.root={place}/nowhere", "nowhere"),
    "empty folder": ("data=celeba data.root={place}/empty", "list_eval_partition"),
    "truncated idx": ("data=mnist data.root={place}/truncated", "is truncated or altered"),
    "altered idx": ("data=mnist data.root={place}/altered", "is truncated or altered"),
    "folder without pictures": ("data=image_folder data.root={place}/words", "words"),
    "missing pictures": ("data=celeba data.root={place}/celeba", "000002.jpg"),
    "more processes than cores": ("trainer.accelerator=cpu trainer.devices=4096", "cores"),
    "more gpus": ("trainer.accelerator=gpu trainer.devices=4096", "trainer.devices=4096"),
    "prior on another support": ("prior._target_=cube.Cube", "choose a prior= on the posterior's"),
    "impossible scale": ("loss=mse loss.scale=-1", "loss.scale=-1"),
    "impossible learning rate": ("optimizer.lr=-1", "optimizer: Invalid learning rate"),
    "whole number as a float": ("latent_dim=20.0", "latent_dim=20.0: write latent_dim=20"),
    "no whole number": ("samples=0", "samples=0: it must be a whole number, at least 1"),
    "processes without ddp": ("trainer.devices=2", "trainer.devices=2 processes need trainer=ddp"),
    "devices that are no number": ("trainer.devices=abc", "trainer.devices=abc"),
    "precision": ("trainer.precision=bf16-true", "choose from"),
    "unbounded posterior": ("posterior.bound=0", "posterior.bound=0"),
    "infinite beta": ("kl.beta=inf", "kl.beta=inf"),
    "no such class": ("prior._target_=nowhere.Prior", "there is no such class"),
    "activation": ("model.activation=Threshold", "choose from ReLU"),
    "batch that ddp cannot share": ("trainer=ddp data.batch_size=33", "data.batch_size=33"),
    "learning rate under ddp": ("trainer=ddp optimizer.lr=-1", "learning rate"),
    "learning rate with wandb": ("logger=default optimizer.lr=-1", "learning rate"),
    "start of no run": ("start=nowhere", "start=nowhere: there is no such run folder"),
    "prior without a start": ("objective=prior prior=mixture", "as in start=runs/..."),
    "codes without vq": ("prior=codes", "choose a prior= on the posterior's support"),
    "batch that cannot be": ("data.batch_size=0", "data.batch_size=0: it must be at least 1"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_command_says_what_to_change(command, place, tmp_path, case):
    words, message = CASES[case]
    before = sorted(tmp_path.rglob("*"))
    words = words.format(place=place).split()
    status, output = command("train.py", "logger=none", "trainer=smoke", *words)
    assert isinstance(status, str), "the exit status is 0"
    assert status.startswith("error: ")
    assert message in status
    assert "\n" not in status
    assert "Traceback" not in output
    assert sorted(tmp_path.rglob("*")) == before


def test_an_absent_data_set_says_which_files_to_put_where(command, tmp_path, monkeypatch):
    def offline(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", offline)
    status, _ = command("train.py", "logger=none", "data=mnist", f"data.root={tmp_path}/nowhere")
    assert "train-images-idx3-ubyte" in status
    assert "VAELAB_DATA" in status
    assert "\n" not in status


def broken_runs(folder):
    """Copies of a run that are damaged each in its way."""

    def copy(name):
        shutil.copytree(folder, folder.parent / name)
        return folder.parent / name

    best = copy("truncated") / "checkpoints" / "best.ckpt"
    best.write_bytes(best.read_bytes()[:-1000])
    config = copy("other") / ".hydra" / "config.yaml"
    config.write_text(config.read_text().replace("latent_dim: 4", "latent_dim: 5"))
    (copy("without") / "checkpoints" / "best.ckpt").unlink()
    text = copy("text") / "checkpoints" / "best.ckpt"
    text.write_text("no checkpoint")
    (folder.parent / "none").mkdir()
    (copy("yaml") / ".hydra" / "config.yaml").write_text("data: [")


def test_a_run_folder_from_elsewhere_cannot_start_a_program(command, train, tmp_path):
    folder = train("model.hidden=[8]", "latent_dim=4")["folder"]
    path = folder / ".hydra" / "config.yaml"
    bomb = f"_target_: torch.utils.collect_env.run\n  command: touch {tmp_path}/started"
    path.write_text(
        path.read_text().replace("_target_: vaelab.kl.constant.ConstantWeight", bomb, 1)
    )
    status, _ = command("scripts/evaluate.py", str(folder))
    assert "torch.utils.collect_env.run is no class of" in status
    assert not (tmp_path / "started").exists()


def test_a_bad_run_folder_says_what_is_wrong_with_it(command, train, tmp_path):
    broken_runs(train("model.hidden=[8]", "latent_dim=4")["folder"])
    for name, message in {
        "truncated": "best.ckpt is truncated or no checkpoint of vaelab",
        "text": "best.ckpt is truncated or no checkpoint of vaelab",
        "other": "best.ckpt is of another architecture than its config",
        "without": "best.ckpt: there is no such checkpoint",
        "yaml": "is damaged",
        "none": "is no run folder: it holds no .hydra/config.yaml",
        "nowhere": "is no run folder: it holds no .hydra/config.yaml",
    }.items():
        before = (tmp_path / name).exists() and sorted((tmp_path / name).rglob("*"))
        status, output = command("scripts/evaluate.py", str(tmp_path / name))
        assert message in status
        assert "\n" not in status
        assert "Traceback" not in output
        assert before == ((tmp_path / name).exists() and sorted((tmp_path / name).rglob("*")))
