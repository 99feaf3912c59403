"""A run folder or a file of weights from anybody starts no program and tells no secret."""

import json
import os
import pickle
import re
import shutil
import zipfile

import pytest
import torch
from conftest import CONF
from omegaconf import OmegaConf
from safetensors.torch import load_file
from safetensors.torch import save_file as write

from vaelab.report.write import write_report as report
from vaelab.reproduction import records
from vaelab.runs import jobs, untrusted, weights
from vaelab.runs.run import Run

SECRET = "the-secret-of-this-machine"
OPENERS = ("evaluate", "sample", "figures", "explore", "export", "encode")


KEPT = []  # a run that all tests take a copy of


@pytest.fixture
def folder(train, tmp_path, tmp_path_factory):
    """A run with a tiny model."""
    if not KEPT:
        made = train("model.hidden=[8]", "latent_dim=3", "logger=csv")["folder"]
        KEPT.append(shutil.move(made, tmp_path_factory.mktemp("kept") / "run"))
    return shutil.copytree(KEPT[0], tmp_path / "run")


def changed(folder, /, **keys):
    """The run with other values in its config, as they are written there."""
    path = folder / ".hydra" / "config.yaml"
    cfg = OmegaConf.load(path)
    for key, value in keys.items():
        OmegaConf.update(cfg, key, value, merge=False, force_add=True)
    OmegaConf.save(cfg, path)
    return folder


def test_all_that_conf_offers_may_come_from_elsewhere():
    for path in [CONF / "train.yaml", *CONF.rglob("*/*.yaml")]:
        cfg = OmegaConf.load(path)
        cfg.pop("hydra", None)
        alone = path.parent == CONF or "_global_" in path.read_text()
        untrusted.check_config(cfg if alone else OmegaConf.create({path.parent.name: cfg}))


BOMBS = {
    "a function": {"_target_": "torch.utils.collect_env.run", "command": "touch started"},
    "a function of ours": {"_target_": "vaelab.runs.run.instantiate"},
    "a method": {"_target_": "vaelab.runs.run.Run.open", "path": "."},
    "a class that is only imported": {"_target_": "vaelab.runs.run.Path", "args": "started"},
    "Hydra's": {"_target_": "hydra.utils.call"},
    "a loader of Lightning": {"_target_": "pytorch_lightning.LightningModule.load_from_checkpoint"},
    "a class of Lightning": {"_target_": "pytorch_lightning.LightningDataModule"},
    "the command line of Lightning": {"_target_": "pytorch_lightning.cli.LightningCLI"},
    "a name that begins like ours": {"_target_": "vaelabs.Evil"},
    "a link": {"_target_": "${command}"},
    "the environment": {"_target_": "${oc.env:BOMB}"},
    "half a link": {"_target_": "vaelab.${command}"},
    "a table": {"_target_": {"_target_": "os.system"}},
    "a number": {"_target_": 5},
    "no class at all": {"_target_": "vaelab.nowhere.Class"},
    "a name no module has": {"_target_": "vaelab..kl"},
    "in a list": [[{"_target_": "os.system"}]],
    "called later": {"_target_": "subprocess.Popen", "_partial_": True},
    "with arguments by place": {"_target_": "vaelab.kl.constant.ConstantWeight", "_args_": [1]},
    "not opened": {"_target_": "vaelab.kl.constant.ConstantWeight", "_recursive_": False},
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_config_may_build_parts_of_experiments_only(bomb):
    node = OmegaConf.create({"data": {}, "module": {"deep": {"x": BOMBS[bomb]}}, "command": "os"})
    with pytest.raises(ValueError, match=r"^module\.deep\.x"):
        untrusted.check_config(node)


EVALUATED = [
    "${oc.env:SECRET}",
    "${oc.env:SECRET,none}",
    "${oc.env:VAELAB_DATA,data}",
    "${oc.decode:'${oc.env:SECRET}'}",
    "${oc.create:'${oc.env:SECRET}'}",
    "${oc.select:${oc.env:SECRET},1}",
    "${oc.dict.keys:data}",
    "${oc.deprecated:data}",
    "${hydra:job.env_set}",
    "${hydra:runtime.cwd}",
    "${now:%Y}",
    "${ oc.env:SECRET}",
    "$${seed}{oc.env:SECRET}",
    "${${seed}}",
    "${a.${seed}}",
    "${own:x}",
    "\\${oc.env:SECRET}",
    "runs/${oc.env:SECRET}/x",
]


@pytest.mark.parametrize("text", EVALUATED)
def test_a_config_reads_no_environment_and_calls_no_resolver(text):
    for node in ({"name": text}, {"data": {"root": [text]}}, {"list": [{"x": text}]}):
        with pytest.raises(ValueError, match="evaluate nothing else"):
            untrusted.check_config(OmegaConf.create({"seed": 1} | node))


def test_the_one_line_of_data_root_is_taken_where_it_belongs():
    for text in ("${oc.env:VAELAB_DATA,data}", "here", "${seed}/x"):
        untrusted.check_config(OmegaConf.create({"data": {"root": text}}))
    for text in (
        "${oc.env:VAELAB_DATA}",
        "${oc.env:VAELAB_DATA,/etc}",
        "x${oc.env:VAELAB_DATA,data}",
    ):
        with pytest.raises(ValueError, match=r"^data\.root: "):
            untrusted.check_config(OmegaConf.create({"data": {"root": text}}))
    with pytest.raises(ValueError, match=r"^data\.cache: "):
        untrusted.check_config(OmegaConf.create({"data": {"cache": untrusted.ROOT}}))


@pytest.mark.slow
@pytest.mark.parametrize("script", OPENERS)
def test_every_script_refuses_what_a_config_may_not_say(command, folder, script, monkeypatch):
    monkeypatch.setenv("SECRET", SECRET)
    for key, value, message in (
        ("kl", BOMBS["a function"], "kl._target_: torch.utils.collect_env.run is no class of"),
        ("kl._target_", "${oc.env:SECRET}", "kl._target_"),
        ("logger.csv.folder", "x/${oc.env:SECRET}", "logger.csv.folder: x/${oc.env:SECRET}: "),
    ):
        shutil.copytree(folder, folder.parent / "copy")
        changed(folder.parent / "copy", **{key: value})
        status, output = command(f"scripts/{script}.py", str(folder.parent / "copy"))
        assert str(status).startswith("error: "), output
        assert message in status
        assert "\n" not in status
        assert SECRET not in status + output
        shutil.rmtree(folder.parent / "copy")
    assert not (folder.parent / "started").exists()


def test_weights_in_one_file_are_no_other_door(folder, command, monkeypatch):
    monkeypatch.setenv("SECRET", SECRET)
    path = folder.parent / "alone" / weights.FILE_NAME
    Run.open(folder, with_data=False).save(path)
    cfg = OmegaConf.load(folder / ".hydra" / "config.yaml")
    for key, value in (("kl.beta", "${oc.env:SECRET}"), ("kl", BOMBS["a method"])):
        bad = OmegaConf.merge(cfg)
        OmegaConf.update(bad, key, value, force_add=True)
        said = {"config": OmegaConf.to_yaml(bad), "choices": {}, "overrides": [], "step": 1}
        write(load_file(path), path, {weights.KEY: json.dumps(said)})
        status, output = command("scripts/sample.py", str(path.parent))
        assert str(status).startswith("error: kl.")
        assert SECRET not in status + output


def test_what_hydra_wrote_beside_the_config_is_not_evaluated(folder, monkeypatch):
    monkeypatch.setenv("SECRET", SECRET)
    runtime = {"cwd": "${oc.env:SECRET}", "choices": {"data": "${oc.env:SECRET}"}}
    words = {"task": ["${oc.env:SECRET}"]}
    hydra = {"hydra": {"runtime": runtime, "overrides": words}}
    OmegaConf.save(OmegaConf.create(hydra), folder / ".hydra" / "hydra.yaml")
    OmegaConf.save(OmegaConf.create(words["task"]), folder / ".hydra" / "overrides.yaml")
    run = Run.open(folder, with_data=False)
    assert SECRET not in f"{run.choices} {run.overrides} {jobs.read_overrides(folder)} {run.cfg}"
    assert SECRET not in report(folder).read_text()


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system [touch started]",
        "data: !!python/object/apply:subprocess.check_output [[touch, started]]",
        "a: &a [x,x]\nb: &b [*a,*a]\ndata: {x: *b}\nmodule: {}",
        "[" * 100_000,
        "data: [",
        "- a\n- b",
        "5",
        "",
        "data: 5\nmodule: 5",
        "data: {}\nmodule: {}",
        "data: {_target_: vaelab.kl.constant.ConstantWeight}\nmodule: {_target_: vaelab.vae.VAE}",
        "\x00",
    ],
)
def test_a_config_that_is_none_is_one_line(folder, text, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / ".hydra" / "config.yaml").write_text(text)
    with pytest.raises((ValueError, OSError)) as refused:
        Run.open(folder)
    assert str(folder) in str(refused.value)
    assert len(str(refused.value)) < 600
    assert not (folder / "started").exists()
    report(folder)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("kl.beta", "many", "kl.beta=many"),
        ("model.hidden", [10**30], "hidden"),
        ("kl.gamma", 1, "kl.gamma: Constant takes beta"),
        ("latent_dim", 10**12, "larger than the memory"),
        ("module.vae", {"_target_": "vaelab.kl.constant.ConstantWeight"}, "cannot be built"),
        ("module.vae.encoder", 5, "module.vae.encoder=5: it should be callable"),
        ("data.shape", ["x"], r"data\.shape"),
    ],
)
def test_a_config_that_cannot_be_built_is_one_line(folder, key, value, message):
    with pytest.raises(ValueError, match=message):
        Run.open(changed(folder, **{key: value}))


class Bomb:
    def __reduce__(self):
        return os.system, ("touch started",)


def checkpoints(folder):
    """Put one file after another in the place of best.ckpt, each hostile in the way it is named."""
    best = folder / "checkpoints" / "best.ckpt"
    state = torch.load(best, weights_only=True)
    weight = next(iter(state["state_dict"]))
    wide = torch.empty(1).expand(10**15)
    for name, found in {
        "pickle": Bomb(),
        "pickle inside": {"state_dict": {weight: Bomb()}, "global_step": 1},
        "step": {"state_dict": state["state_dict"], "global_step": Bomb()},
        "words": {"state_dict": "abc", "global_step": 1},
        "no tensors": {"state_dict": {"a": 1}, "global_step": 1},
        "no names": {"state_dict": {1: torch.zeros(1)}, "global_step": 1},
        "no step": {"state_dict": state["state_dict"], "global_step": "x"},
        "list": [1],
        "wide": {"state_dict": {weight: wide}, "global_step": 1},
    }.items():
        torch.save(found, best)
        yield name
    best.write_bytes(pickle.dumps(Bomb()))
    yield "bare pickle"
    torch.save(Bomb(), best, _use_new_zipfile_serialization=False)
    yield "old pickle"
    torch.save(state, best)
    whole = best.read_bytes()
    with zipfile.ZipFile(best) as file:
        members = {name: file.read(name) for name in file.namelist()}
    with zipfile.ZipFile(best, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    yield "packed"
    middle = len(whole) // 2
    best.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    yield "one bit"


def test_a_checkpoint_starts_no_program_and_fills_no_memory(folder, monkeypatch, train):
    monkeypatch.chdir(folder)
    for name in checkpoints(folder):
        for use in (
            lambda: Run.open(folder, with_data=False),
            lambda: train("model.hidden=[8]", "latent_dim=3", f"start={folder}", folder="next"),
        ):
            with pytest.raises(ValueError, match=r"best\.ckpt|architecture"):
                use()
            shutil.rmtree(folder.parent / "next", ignore_errors=True)
        assert not (folder / "started").exists(), name


@pytest.mark.parametrize(
    "name", ["figures/x.png", "metrics.part", "evaluation", "report.part", "checkpoints/last.ckpt"]
)
def test_a_link_out_of_the_folder_is_refused_before_anything_is_written(folder, name, tmp_path):
    (tmp_path / "mine").write_text("mine")
    shutil.rmtree(folder / name, ignore_errors=True)
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(tmp_path / "mine")
    for use in (Run.open, report):
        with pytest.raises(ValueError, match=rf"^{folder / name} is a link that leads out of "):
            use(folder)
    assert (tmp_path / "mine").read_text() == "mine"


def test_links_inside_the_folder_and_the_folder_as_a_link_are_taken(folder, tmp_path):
    (folder / "checkpoints" / "again.ckpt").symlink_to("best.ckpt")
    (folder / "wandb").mkdir()
    (folder / "wandb" / "latest").symlink_to(tmp_path)
    (tmp_path / "alias").symlink_to(folder)
    assert Run.open(tmp_path / "alias").step == 2


SAVES = {"_target_": "pytorch_lightning.callbacks.ModelCheckpoint"}
CURVES = {"_target_": "pytorch_lightning.loggers.CSVLogger"}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("kl", BOMBS["a function"], "is no class of"),
        ("kl.beta", "${oc.env:SECRET}", "evaluate nothing else"),
        ("folder", "/elsewhere", "folder: /elsewhere is not in "),
        ("logger.csv.folder", "${folder}/../..", "logger.csv.folder: "),
        ("callbacks.checkpoint.folder", "/elsewhere", "callbacks.checkpoint.folder: "),
        ("callbacks.x", {**SAVES, "dirpath": "elsewhere"}, "callbacks.x.dirpath: elsewhere is not"),
        (
            "callbacks.x",
            {**SAVES, "dirpath": "${folder}", "filename": "../a"},
            "callbacks.x.filename",
        ),
        ("logger.x", {**CURVES, "save_dir": "${folder}/../other"}, "logger.x.save_dir: "),
        ("logger.x", {**CURVES, "save_dir": "${folder}", "name": "/elsewhere"}, "logger.x.name: "),
    ],
)
def test_to_go_on_with_a_run_takes_the_same_door(command, folder, key, value, message):
    changed(folder, **{key: value})
    (folder / "metrics.json").unlink()
    before = sorted(folder.rglob("*"))
    status, output = command("train.py", f"resume={folder}")
    assert str(status).startswith("error: "), output
    assert message in status
    assert sorted(folder.rglob("*")) == before


NOT_NUMBERS = ["many", [1], {"a": 1}, True]


@pytest.mark.parametrize("value", [*NOT_NUMBERS, 10**400, 1e308, -1e200, None])
@pytest.mark.parametrize("key", ["elbo", "nll_se", "val_elbo", "kl_layer_1", "wall_s", "steps"])
def test_a_number_that_is_none_is_named(tmp_path, key, value):
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps({"monitor": "val/elbo", key: value}))
    if value in NOT_NUMBERS:
        with pytest.raises(ValueError, match=rf"metrics\.json is damaged: {key} is no number$"):
            untrusted.read_numbers(path)
    else:
        assert untrusted.read_numbers(path)[key] is None


RECORD = {
    **dict.fromkeys(records.REQUIRED_KEYS),
    **{"split": "test", "images": 5, "all_images": 5, "samples": 5000, "nll": 1.0, "nll_se": 0.5},
    **{"elbo": -1.5, "seed": 0, "bits_sha256": "ab", "data": "a", "loss": "b", "train_images": 5},
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nll": "low"}, "nll is no number"),
        ({"samples": None, "split": 5}, "split is no word"),
        ({"published": 5}, "published is not a value"),
        ({"published": {"value": 1}}, "published is not a value"),
        ({"published": {"value": "84", "source": "x"}}, "published is not a value"),
        ({"elbo": [1]}, "elbo is no number"),
    ],
)
def test_a_record_that_is_none_is_named(tmp_path, change, message):
    (tmp_path / "x.json").write_text(json.dumps(RECORD))
    assert "1.00 +- 0.50" in records.render_record_table(tmp_path)
    (tmp_path / "x.json").write_text(json.dumps(RECORD | change))
    (tmp_path / "y.json").write_text(json.dumps(RECORD))
    with pytest.raises(ValueError, match=rf"x\.json is damaged: {message}"):
        records.read_record(tmp_path / "x.json")
    assert re.search(
        rf"Left out: \S*x\.json is damaged: {message}", records.render_record_table(tmp_path)
    )
    (tmp_path / "x.json").write_text("{}")
    table = records.render_record_table(tmp_path)
    assert re.search(r"Left out: \S*x\.json is not a record of an evaluation", table)
    assert "1.00 +- 0.50" in table
