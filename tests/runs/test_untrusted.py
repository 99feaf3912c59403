"""Opening an untrusted run folder or file of weights runs no code and reveals no secret."""

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
from safetensors.torch import load_file, save_file

from vaelab.report.write import write_report
from vaelab.reproduction import records
from vaelab.runs import jobs, untrusted, weights
from vaelab.runs.provenance import read_provenance
from vaelab.runs.run import RunParts
from vaelab.runtime import trusted_config
from vaelab.runtime.errors import UserError

SECRET = "secret-of-the-environment"
SCRIPTS = ("evaluate", "sample", "figures", "explore", "export", "encode")


@pytest.fixture
def folder(finished_run):
    """The folder of a finished run with a tiny model."""
    return finished_run("model.hidden=[8]", "latent_dim=3", "logger=csv")["folder"]


def change_config(folder, /, **keys):
    """Change values in the config of a run, without resolving interpolations; return its folder."""
    path = folder / ".hydra" / "config.yaml"
    cfg = OmegaConf.load(path)
    for key, value in keys.items():
        OmegaConf.update(cfg, key, value, merge=False, force_add=True)
    OmegaConf.save(cfg, path)
    return folder


def test_every_file_of_conf_is_accepted():
    for path in [CONF / "train.yaml", *CONF.rglob("*/*.yaml")]:
        cfg = OmegaConf.load(path)
        cfg.pop("hydra", None)
        is_whole_config = path.parent == CONF or "_global_" in path.read_text()
        trusted_config.check_config(
            cfg if is_whole_config else OmegaConf.create({path.parent.name: cfg})
        )


HOSTILE_NODES = {
    "a function": {"_target_": "torch.utils.collect_env.run", "command": "touch started"},
    "a function of vaelab": {"_target_": "vaelab.runtime.build.build_from_config"},
    "a method of vaelab": {"_target_": "vaelab.runs.run.RunParts.open", "path": "."},
    "a class that vaelab imports": {"_target_": "vaelab.runs.run.Path", "args": "started"},
    "a function of Hydra": {"_target_": "hydra.utils.call"},
    "a method of Lightning": {"_target_": "pytorch_lightning.LightningModule.load_from_checkpoint"},
    "another class of Lightning": {"_target_": "pytorch_lightning.LightningDataModule"},
    "the command line of Lightning": {"_target_": "pytorch_lightning.cli.LightningCLI"},
    "a package whose name starts with vaelab": {"_target_": "vaelabs.Evil"},
    "an interpolation": {"_target_": "${command}"},
    "an environment variable": {"_target_": "${oc.env:SECRET}"},
    "an interpolation in a name": {"_target_": "vaelab.${command}"},
    "a nested node": {"_target_": {"_target_": "os.system"}},
    "a number": {"_target_": 5},
    "a missing module": {"_target_": "vaelab.nowhere.Class"},
    "an invalid name": {"_target_": "vaelab..kl"},
    "in a list": [[{"_target_": "os.system"}]],
    "a partial function": {"_target_": "subprocess.Popen", "_partial_": True},
    "positional arguments": {"_target_": "vaelab.kl.constant.ConstantWeight", "_args_": [1]},
    "a node that is not built": {
        "_target_": "vaelab.kl.constant.ConstantWeight",
        "_recursive_": False,
    },
}


@pytest.mark.parametrize("name", HOSTILE_NODES)
def test_config_may_only_build_parts_of_experiments(name):
    node = OmegaConf.create(
        {"data": {}, "module": {"deep": {"x": HOSTILE_NODES[name]}}, "command": "os"}
    )
    with pytest.raises(ValueError, match=r"^module\.deep\.x"):
        trusted_config.check_config(node)


INTERPOLATIONS = [
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


@pytest.mark.parametrize("text", INTERPOLATIONS)
def test_config_may_not_read_the_environment_or_call_resolvers(text):
    for node in ({"name": text}, {"data": {"root": [text]}}, {"list": [{"x": text}]}):
        with pytest.raises(ValueError, match="may only refer to its own keys"):
            trusted_config.check_config(OmegaConf.create({"seed": 1} | node))


def test_only_data_root_may_read_its_environment_variable():
    for text in ("${oc.env:VAELAB_DATA,data}", "here", "${seed}/x"):
        trusted_config.check_config(OmegaConf.create({"data": {"root": text}}))
    for text in (
        "${oc.env:VAELAB_DATA}",
        "${oc.env:VAELAB_DATA,/etc}",
        "x${oc.env:VAELAB_DATA,data}",
    ):
        with pytest.raises(ValueError, match=r"^data\.root: "):
            trusted_config.check_config(OmegaConf.create({"data": {"root": text}}))
    with pytest.raises(ValueError, match=r"^data\.cache: "):
        trusted_config.check_config(OmegaConf.create({"data": {"cache": trusted_config.DATA_ROOT}}))


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_refuses_a_hostile_config(command, folder, script, monkeypatch):
    monkeypatch.setenv("SECRET", SECRET)
    for key, value, message in (
        (
            "kl",
            HOSTILE_NODES["a function"],
            "kl._target_: torch.utils.collect_env.run is not a class of",
        ),
        ("kl._target_", "${oc.env:SECRET}", "kl._target_"),
        ("logger.csv.folder", "x/${oc.env:SECRET}", "logger.csv.folder: x/${oc.env:SECRET}: "),
    ):
        shutil.copytree(folder, folder.parent / "copy")
        change_config(folder.parent / "copy", **{key: value})
        words = ["--port", "0"] if script == "explore" else []
        status, output = command(f"scripts/{script}.py", str(folder.parent / "copy"), *words)
        assert str(status).startswith("error: "), output
        assert message in status
        assert "\n" not in status
        assert SECRET not in status + output
        shutil.rmtree(folder.parent / "copy")
    assert not (folder.parent / "started").exists()


def test_config_in_a_weights_file_is_checked_too(folder, command, monkeypatch):
    monkeypatch.setenv("SECRET", SECRET)
    path = folder.parent / "alone" / weights.FILE_NAME
    RunParts.open(folder, with_data=False).save(path)
    cfg = OmegaConf.load(folder / ".hydra" / "config.yaml")
    for key, value in (
        ("kl.beta", "${oc.env:SECRET}"),
        ("kl", HOSTILE_NODES["a method of vaelab"]),
    ):
        hostile = OmegaConf.merge(cfg)
        OmegaConf.update(hostile, key, value, force_add=True)
        metadata = {"config": OmegaConf.to_yaml(hostile), "choices": {}, "overrides": [], "step": 1}
        save_file(load_file(path), path, {weights.METADATA_KEY: json.dumps(metadata)})
        status, output = command("scripts/sample.py", str(path.parent))
        assert str(status).startswith("error: kl.")
        assert SECRET not in status + output


def test_other_files_of_hydra_are_not_resolved(folder, monkeypatch):
    monkeypatch.setenv("SECRET", SECRET)
    runtime = {"cwd": "${oc.env:SECRET}", "choices": {"data": "${oc.env:SECRET}"}}
    words = {"task": ["${oc.env:SECRET}"]}
    hydra = {"hydra": {"runtime": runtime, "overrides": words}}
    OmegaConf.save(OmegaConf.create(hydra), folder / ".hydra" / "hydra.yaml")
    OmegaConf.save(OmegaConf.create(words["task"]), folder / ".hydra" / "overrides.yaml")
    run = RunParts.open(folder, with_data=False)
    assert SECRET not in f"{run.choices} {run.overrides} {jobs.read_overrides(folder)} {run.cfg}"
    assert SECRET not in write_report(folder).read_text()


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
def test_damaged_config_is_refused_in_one_line(folder, text, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / ".hydra" / "config.yaml").write_text(text)
    with pytest.raises((ValueError, OSError)) as raised:
        RunParts.open(folder)
    assert str(folder) in str(raised.value)
    assert len(str(raised.value)) < 600
    assert not (folder / "started").exists()
    write_report(folder)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("kl.beta", "many", "kl.beta=many"),
        ("model.hidden", [10**30], "hidden"),
        ("kl.gamma", 1, "kl.gamma: there is no such key; ConstantWeight takes beta"),
        ("latent_dim", 10**12, "does not fit into memory"),
        ("module.vae", {"_target_": "vaelab.kl.constant.ConstantWeight"}, "cannot be built"),
        ("module.vae.encoder", 5, "module.vae.encoder=5: it should be callable"),
        ("data.shape", ["x"], r"data\.shape"),
    ],
)
def test_config_that_cannot_be_built_is_refused_in_one_line(folder, key, value, message):
    with pytest.raises(ValueError, match=message):
        RunParts.open(change_config(folder, **{key: value}))


class Command:
    """Runs a shell command when it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch started",)


def iterate_hostile_checkpoints(folder):
    """Replace best.ckpt by one hostile file after another, and yield the name of each."""
    best = folder / "checkpoints" / "best.ckpt"
    state = torch.load(best, weights_only=True)
    weight = next(iter(state["state_dict"]))
    expanded = torch.empty(1).expand(10**15)
    for name, content in {
        "object": Command(),
        "object as a weight": {"state_dict": {weight: Command()}, "global_step": 1},
        "object as the step": {"state_dict": state["state_dict"], "global_step": Command()},
        "text as weights": {"state_dict": "abc", "global_step": 1},
        "weight that is not a tensor": {"state_dict": {"a": 1}, "global_step": 1},
        "weight without a name": {"state_dict": {1: torch.zeros(1)}, "global_step": 1},
        "text as the step": {"state_dict": state["state_dict"], "global_step": "x"},
        "list": [1],
        "expanded tensor": {"state_dict": {weight: expanded}, "global_step": 1},
    }.items():
        torch.save(content, best)
        yield name
    best.write_bytes(pickle.dumps(Command()))
    yield "bare pickle"
    torch.save(Command(), best, _use_new_zipfile_serialization=False)
    yield "old pickle"
    torch.save(state, best)
    intact = best.read_bytes()
    with zipfile.ZipFile(best) as file:
        members = {name: file.read(name) for name in file.namelist()}
    with zipfile.ZipFile(best, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    yield "compressed"
    middle = len(intact) // 2
    best.write_bytes(intact[:middle] + bytes([intact[middle] ^ 1]) + intact[middle + 1 :])
    yield "flipped bit"


def test_checkpoint_runs_no_code_and_does_not_fill_the_memory(folder, monkeypatch, train):
    monkeypatch.chdir(folder)
    for name in iterate_hostile_checkpoints(folder):
        for open_checkpoint in (
            lambda: RunParts.open(folder, with_data=False),
            lambda: train("model.hidden=[8]", "latent_dim=3", f"start={folder}", folder="next"),
        ):
            with pytest.raises(ValueError, match=r"best\.ckpt|architecture"):
                open_checkpoint()
            shutil.rmtree(folder.parent / "next", ignore_errors=True)
        assert not (folder / "started").exists(), name


@pytest.mark.parametrize(
    "name", ["figures/x.png", "metrics.part", "evaluation", "report.part", "checkpoints/last.ckpt"]
)
def test_link_out_of_the_folder_is_refused_before_anything_is_written(folder, name, tmp_path):
    (tmp_path / "outside").write_text("outside")
    shutil.rmtree(folder / name, ignore_errors=True)
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(tmp_path / "outside")
    for open_folder in (RunParts.open, write_report):
        with pytest.raises(ValueError, match=rf"^{folder / name} is a link that leads out of "):
            open_folder(folder)
    assert (tmp_path / "outside").read_text() == "outside"


def test_links_inside_the_folder_and_a_link_to_it_are_accepted(folder, tmp_path):
    (folder / "checkpoints" / "copy.ckpt").symlink_to("best.ckpt")
    (folder / "wandb").mkdir()
    (folder / "wandb" / "latest").symlink_to(tmp_path)
    (tmp_path / "alias").symlink_to(folder)
    assert RunParts.open(tmp_path / "alias").step == 2


CHECKPOINT_CALLBACK = {"_target_": "pytorch_lightning.callbacks.ModelCheckpoint"}
CSV_LOGGER = {"_target_": "pytorch_lightning.loggers.CSVLogger"}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("kl", HOSTILE_NODES["a function"], "is not a class of"),
        ("kl.beta", "${oc.env:SECRET}", "may only refer to its own keys"),
        ("folder", "/outside", "folder: /outside is outside "),
        ("logger.csv.folder", "${folder}/../..", "logger.csv.folder: "),
        ("callbacks.checkpoint.folder", "/outside", "callbacks.checkpoint.folder: "),
        (
            "callbacks.x",
            {**CHECKPOINT_CALLBACK, "dirpath": "outside"},
            "callbacks.x.dirpath: outside is outside",
        ),
        (
            "callbacks.x",
            {**CHECKPOINT_CALLBACK, "dirpath": "${folder}", "filename": "../a"},
            "callbacks.x.filename",
        ),
        ("logger.x", {**CSV_LOGGER, "save_dir": "${folder}/../other"}, "logger.x.save_dir: "),
        (
            "logger.x",
            {**CSV_LOGGER, "save_dir": "${folder}", "name": "/outside"},
            "logger.x.name: ",
        ),
    ],
)
def test_resume_refuses_a_hostile_config(command, folder, key, value, message):
    change_config(folder, **{key: value})
    (folder / "metrics.json").unlink()
    before = sorted(folder.rglob("*"))
    status, output = command("train.py", f"resume={folder}")
    assert str(status).startswith("error: "), output
    assert message in status
    assert sorted(folder.rglob("*")) == before


NOT_NUMBERS = ["many", [1], {"a": 1}, True]


@pytest.mark.parametrize("value", [*NOT_NUMBERS, 10**400, 1e308, -1e200, None])
@pytest.mark.parametrize("key", ["elbo", "nll_se", "val_elbo", "kl_layer_1", "wall_s", "steps"])
def test_value_that_is_not_a_number_is_refused_by_name(tmp_path, key, value):
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps({"monitor": "val/elbo", key: value}))
    if value in NOT_NUMBERS:
        with pytest.raises(ValueError, match=rf"metrics\.json is damaged: {key} is not a number$"):
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
        ({"nll": "low"}, "nll is not a number"),
        ({"samples": None, "split": 5}, "split is not a text"),
        ({"published": 5}, "published is not a value"),
        ({"published": {"value": 1}}, "published is not a value"),
        ({"published": {"value": "84", "source": "x"}}, "published is not a value"),
        ({"elbo": [1]}, "elbo is not a number"),
    ],
)
def test_damaged_record_is_refused_by_key(tmp_path, change, message):
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


LARGE_FILES = {  # a file of a run folder, and the largest number of bytes that is read
    ".hydra/config.yaml": untrusted.MAX_YAML_BYTES,
    ".hydra/hydra.yaml": untrusted.MAX_YAML_BYTES,
    ".hydra/overrides.yaml": untrusted.MAX_YAML_BYTES,
    "metrics.json": untrusted.MAX_JSON_BYTES,
    "provenance.json": untrusted.MAX_JSON_BYTES,
    "metrics.csv": untrusted.MAX_CSV_BYTES,
}
READERS = {".yaml": untrusted.read_yaml, ".csv": untrusted.read_csv_rows}


@pytest.mark.parametrize("name", LARGE_FILES)
def test_file_that_is_too_large_is_refused_before_it_is_read(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as file:
        file.truncate(LARGE_FILES[name] + 1)
    read = READERS.get(path.suffix, untrusted.read_numbers)
    if name == "provenance.json":
        read = lambda path: read_provenance(path.parent)  # noqa: E731
    with pytest.raises(UserError, match=rf"{path.name} is damaged: it has \d+ bytes"):
        read(path)


def test_config_in_a_weights_file_that_is_too_large_is_refused(tmp_path):
    text = "a: " + "x" * untrusted.MAX_YAML_BYTES
    with pytest.raises(UserError, match="it is larger than any config that a run writes"):
        untrusted.parse_config(text, tmp_path)


@pytest.mark.parametrize("name", ["failed.txt", "value.txt", "unfinished.txt"])
def test_text_file_of_any_size_is_read_to_a_limit(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"1" * 2**20 + b"\xff")
    assert untrusted.read_message(path) == "1" * untrusted.MAX_MESSAGE
    path.unlink()
    os.mkfifo(path)  # reading it would block
    assert untrusted.read_message(path) == ""
