"""A mistake of the user ends in a one-line error and a non-zero status, and leaves no files."""

import shutil

import numpy as np
import pytest
from PIL import Image


def write_incomplete_celeba(root):
    """Write the official layout with a partition file that names a missing image."""
    (root / "celeba" / "img_align_celeba").mkdir(parents=True)
    Image.new("RGB", (178, 218)).save(root / "celeba" / "img_align_celeba" / "000001.jpg")
    (root / "celeba" / "list_eval_partition.txt").write_text("000001.jpg 0\n000002.jpg 1\n")
    attributes = "2\nSmiling Young\n000001.jpg 1 -1\n000002.jpg -1 1\n"
    (root / "celeba" / "list_attr_celeba.txt").write_text(attributes)


@pytest.fixture
def bad_data(tmp_path, idx):
    """Folders with the damaged or missing data of the cases below."""
    root = tmp_path / "bad_data"
    for name in ("empty", "words", "celeba"):
        (root / name).mkdir(parents=True)
    (root / "words" / "readme.txt").write_text("no image")
    write_incomplete_celeba(root / "celeba")
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
        "choose from autoencoder, bottom_up, conditional, ",
    ),
    "misspelt option": ("loss=bec", "loss=bec: there is no such option; did you mean loss=bce?"),
    "misspelt option of a list": ("logger=[csv,wand]", "did you mean logger=wandb?"),
    "misspelt group": ("los=bce", "los: there is no such key; did you mean loss?"),
    "group with a plus": ("+model=conv", "write model=<option> once, without a +"),
    "key of another tool": ("ckpt_path=a.ckpt", "resume=runs/<run> to resume a run, or start="),
    "group of another tool": ("hparams_search=mnist_optuna", "type sweep=optuna"),
    "tags of another tool": ("tags=[mnist]", "type logger.wandb.tags=[<tag>]"),
    "setting of pythae": ("num_epochs=5", "num_epochs: there is no such key; type trainer.max"),
    "key of a part without its group": ("lr=1e-3", "lr: there is no such key; did you mean optim"),
    "key of a part that is a dict": ("beta=4", "beta: there is no such key; did you mean kl.beta?"),
    "misspelt way of debugging": ("debug=overfitt", "did you mean debug=overfit?"),
    "number as an option": ("trainer=1e30", "trainer=1e+30: there is no such option; choose"),
    "no option": ("data=[]", "data=[]: there is no such option; choose from arrays"),
    "misspelt key in a dict": ("optimizer={{lrr:1}}", "did you mean optimizer.lr?"),
    "misspelt key in the dict of a part without keys": ("loss={{a:1}}", "loss has no keys"),
    "optimizer built without parameters": (
        "optimizer={{_target_:torch.optim.SGD,_partial_:false}}",
        "optimizer needs the key _partial_: true",
    ),
    "key that nothing reads": ("+foo=1", "foo: there is no such key; no value of the config"),
    "misspelt key with a plus": ("+see=1", "see: there is no such key; did you mean seed?"),
    "misspelt key with two": ("++seeed=1", "seeed: there is no such key; did you mean seed?"),
    "key of the model that nothing reads": ("+model.hiden=[4]", "did you mean model.hidden?"),
    "value in place of a callback": ("+callbacks.foo=1", "callbacks.foo: there is no such key"),
    "unknown group with a plus": ("+x/y=z", "x/y: there is no such key"),
    "part in another place": ("+model@modl=mlp", "modl: there is no such key; did you mean model?"),
    "deleted group": ("~kl", "~kl: every run needs kl; write kl=<value>"),
    "deleted callbacks": (
        "~callbacks",
        "~callbacks: every run needs callbacks; write callbacks=[]",
    ),
    "deleted key": ("~seed", "~seed: every run needs seed; write seed=<value>"),
    "misspelt deletion": ("~kl.bta", "kl.bta: there is no such key; did you mean kl.beta?"),
    "path with a blank": ("data.root=/a b", "b: this word sets nothing; type 'data.root=/a b'"),
    "word without a value": ("sed", "sed: this word sets nothing; type <key>=<value>"),
    "text with a bracket": (
        "logger=wandb logger.wandb.name=a(b",
        "if its value is a text, type \"logger.wandb.name='a(b'\"",
    ),
    "misspelt option in a sweep": ("-m loss=mse,bec", "did you mean loss=bce?"),
    "misspelt key in a sweep": ("-m loss=mse,bce latent_dm=2,3", "did you mean latent_dim?"),
    "misspelt key of Hydra": ("hydra.rum.dir=x", "--hydra-help lists those of Hydra"),
    "unset variable": (
        "optimizer.lr=${{oc.env:NO_SUCH_VARIABLE}}",
        "optimizer.lr=${oc.env:NO_SUCH_VARIABLE} cannot be computed: Environment variable",
    ),
    "unknown option of a list": ("callbacks=[default,emma]", "callbacks=emma: there is no such"),
    "null as an option": ("kl=null", "null is not an option of a config group"),
    "group of another command": (
        "sampler=gmm",
        "sampler: there is no such key; it belongs to vaelab sample",
    ),
    "key of a part without keys": ("loss.scale=1", "loss has no keys"),
    "folder": ("folder=other", "folder=other: set hydra.run.dir"),
    "averaged weights without checkpoints": ("callbacks=ema", "set callbacks=[default,ema]"),
    "published value without a source": (
        "published=84",
        "published=84: give a number and its source",
    ),
    "unknown key": ("kl.bta=4", "kl.bta: there is no such key; did you mean kl.beta?"),
    "unknown group": (
        "zzz=conv",
        "there is no such key; the config has callbacks, ",
    ),
    "unknown argument": ("+kl.bta=4", "kl.bta: there is no such key; did you mean kl.beta?"),
    "wrong type": ("latent_dim=many", "latent_dim=many: it should be a valid integer"),
    "wrong type of a base class argument": (
        "model=conditional latent_dim=many",
        "latent_dim=many: it should be a valid integer",
    ),
    "wrong type in a list": ("model.hidden=[a]", "model.hidden"),
    "wrong value of a choice": (
        "data.binarize=often",
        "data.binarize=often: it should be 'none', 'dynamic'",
    ),
    "missing required value": ("data=arrays", "data.path is missing: set it, as in data.path="),
    "bad syntax": ("model.hidden=[400", "model.hidden=[400"),
    "no latent dimensions": ("latent_dim=0", "latent_dim=0: it must be at least 1"),
    "too many halvings of the image": (
        "model=conv model.channels=[8,8,8,8,8,8]",
        "model.channels=[8, 8, 8, 8, 8, 8] halves an image 6 times, but an image of 28x28 "
        "can be halved at most 4 times: use at most 4 numbers",
    ),
    "bce on real pixels": (
        "data=arrays data.path={bad_data}/standardised.npz",
        "Bernoulli takes pixels in [0, 1]",
    ),
    "binarize real pixels": (
        "data=arrays data.path={bad_data}/standardised.npz data.binarize=dynamic",
        "set data.binarize=none",
    ),
    "missing array file": ("data=arrays data.path={bad_data}/no.npz", "there is no such file"),
    "missing folder": ("data=image_folder data.root={bad_data}/nowhere", "nowhere"),
    "empty folder": ("data=celeba data.root={bad_data}/empty", "list_eval_partition"),
    "truncated idx": ("data=mnist data.root={bad_data}/truncated", "is truncated or altered"),
    "altered idx": ("data=mnist data.root={bad_data}/altered", "is truncated or altered"),
    "folder without images": ("data=image_folder data.root={bad_data}/words", "words"),
    "missing images": ("data=celeba data.root={bad_data}/celeba", "000002.jpg"),
    "more processes than cores": ("trainer.accelerator=cpu trainer.devices=4096", "cores"),
    "more processes than gpus": (
        "trainer.accelerator=gpu trainer.devices=4096",
        "trainer.devices=4096",
    ),
    "prior on another support": (
        "--trust cube prior._target_=cube.Cube",
        "choose a prior= with the posterior's",
    ),
    "negative scale": ("loss=mse loss.scale=-1", "loss.scale=-1"),
    "negative learning rate": ("optimizer.lr=-1", "optimizer: Invalid learning rate"),
    "integer as a float": ("latent_dim=20.0", "latent_dim=20.0: write latent_dim=20"),
    "no importance samples": ("samples=0", "samples=0: it must be an integer of at least 1"),
    "processes without ddp": (
        "trainer.devices=2",
        "trainer.devices=2: several processes need trainer=ddp",
    ),
    "devices that are not a number": ("trainer.devices=abc", "trainer.devices=abc"),
    "unknown precision": ("trainer.precision=bf16-true", "choose from"),
    "posterior bound of zero": ("posterior.bound=0", "posterior.bound=0"),
    "infinite beta": ("kl.beta=inf", "kl.beta=inf"),
    "no such class": ("prior._target_=vaelab.priors.Prior", "there is no such class"),
    "class that is not trusted": (
        "prior._target_=nowhere.Prior",
        "prior: nowhere.Prior is not trusted: if you trust the package, add --trust nowhere",
    ),
    "unknown activation": ("model.activation=Threshold", "choose from ReLU"),
    "batch size that ddp cannot divide": ("trainer=ddp data.batch_size=33", "data.batch_size=33"),
    "learning rate under ddp": ("trainer=ddp optimizer.lr=-1", "learning rate"),
    "learning rate with wandb": ("logger=default optimizer.lr=-1", "learning rate"),
    "start from a missing run": ("start=nowhere", "start=nowhere: there is no such run folder"),
    "prior without a start": ("objective=prior prior=mixture", "as in start=runs/..."),
    "codes without vq": ("prior=codes", "choose a prior= with the posterior's support"),
    "batch size of zero": ("data.batch_size=0", "data.batch_size=0: it must be at least 1"),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_command_says_what_to_change(command, bad_data, tmp_path, case):
    words, message = CASES[case]
    before = sorted(tmp_path.rglob("*"))
    words = words.format(bad_data=bad_data).split()
    status, output = command("train.py", "logger=none", "trainer=smoke", *words)
    assert isinstance(status, str), "the exit status is 0"
    assert status.startswith("error: ")
    assert message in status
    assert "\n" not in status
    assert "Traceback" not in output
    assert sorted(tmp_path.rglob("*")) == before


def test_missing_data_set_error_names_the_files_and_their_folder(command, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", fail)
    status, _ = command("train.py", "logger=none", "data=mnist", f"data.root={tmp_path}/nowhere")
    assert "train-images-idx3-ubyte" in status
    assert "VAELAB_DATA" in status
    assert "\n" not in status


def make_damaged_runs(folder):
    """Copy a run several times, and damage each copy in a different way."""

    def copy(name):
        shutil.copytree(folder, folder.parent / name)
        return folder.parent / name

    best = copy("truncated") / "checkpoints" / "best.ckpt"
    best.write_bytes(best.read_bytes()[:-1000])
    config = copy("other architecture") / ".hydra" / "config.yaml"
    config.write_text(config.read_text().replace("latent_dim: 4", "latent_dim: 5"))
    (copy("no checkpoint") / "checkpoints" / "best.ckpt").unlink()
    text = copy("text") / "checkpoints" / "best.ckpt"
    text.write_text("not a checkpoint")
    (folder.parent / "empty").mkdir()
    (copy("yaml") / ".hydra" / "config.yaml").write_text("data: [")


def test_untrusted_run_folder_cannot_start_a_program(command, finished_run, tmp_path):
    folder = finished_run("model.hidden=[8]", "latent_dim=4")["folder"]
    path = folder / ".hydra" / "config.yaml"
    function = f"_target_: torch.utils.collect_env.run\n  command: touch {tmp_path}/started"
    path.write_text(
        path.read_text().replace("_target_: vaelab.kl.constant.ConstantWeight", function, 1)
    )
    status, _ = command("scripts/evaluate.py", str(folder))
    assert "torch.utils.collect_env.run is not a class of" in status
    assert not (tmp_path / "started").exists()


def test_damaged_run_folder_says_what_is_wrong_with_it(command, finished_run, tmp_path):
    make_damaged_runs(finished_run("model.hidden=[8]", "latent_dim=4")["folder"])
    for name, message in {
        "truncated": "best.ckpt is truncated, or not a checkpoint of vaelab",
        "text": "best.ckpt is truncated, or not a checkpoint of vaelab",
        "other architecture": "best.ckpt has another architecture than its config",
        "no checkpoint": "best.ckpt: there is no such checkpoint",
        "yaml": "is damaged",
        "empty": "is not a run folder: it has no .hydra/config.yaml",
        "missing": "is not a run folder: it has no .hydra/config.yaml",
    }.items():
        before = (tmp_path / name).exists() and sorted((tmp_path / name).rglob("*"))
        status, output = command("scripts/evaluate.py", str(tmp_path / name))
        assert message in status
        assert "\n" not in status
        assert "Traceback" not in output
        assert before == ((tmp_path / name).exists() and sorted((tmp_path / name).rglob("*")))
