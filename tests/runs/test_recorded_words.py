"""Words of an untrusted record are repeated only if they choose among the parts of the menu."""

import json

import pytest
from omegaconf import OmegaConf

from vaelab.runs.recorded_words import MAX_WORD, describe_word, is_safe_word
from vaelab.runtime.errors import UserError
from vaelab.sweeps.multirun import expand_resume_command

FLAGS = [
    "--experimental-rerun=here/job.pickle",
    "--config-dir=here/evil",
    "--config-dir",
    "-cd=here/evil",
    "-cn=evil",
    "--config-path=/evil",
    "--trust=evil",
    "--info",
    "--cfg=job",
    "-m",
    "--",
    "word",
    "@here/words.txt",
]
SETTINGS_OF_HYDRA = [
    "hydra.run.dir=/elsewhere",
    "hydra.sweep.dir=/elsewhere",
    "hydra.sweep.subdir=../../elsewhere",
    "hydra.output_subdir=/elsewhere",
    "+hydra.callbacks.x._target_=os.abort",
    "++hydra.callbacks.jobs._target_=os.abort",
    "~hydra.callbacks",
    "hydra/job_logging=evil",
    "hydra={callbacks:{x:{_target_:os.abort}}}",
    "override",
    "kl@hydra.callbacks=evil",
    "kl@_global_=evil",
    "kl@hydra:kl=evil",
    "+loss@data=bce",
]
CLASSES = [
    "+kl._target_=os.abort",
    "++kl={_target_:os.abort}",
    "kl={beta: {_target_: os.abort}}",
    "optimizer=[{_target_: os.abort}]",
    "optimizer=choice({_target_:os.abort},adam)",
    "+optimizer._args_=[1]",
    "+kl._recursive_=false",
    "~kl._target_",
]
INTERPOLATIONS = [
    "start=${oc.env:HOME}",
    r"start=$\{oc.env:HOME\}",
    r"start=$\{oc.env\:HOME\}",
    "start='${oc.env:HOME}'",
    'start="${oc.env:HOME}"',
    "start='/a/${oc.env:HOME}'",
    "logger.wandb.project=${oc.env:WANDB_API_KEY}",
    r"logger.wandb.project=a,$\{oc.env:WANDB_API_KEY\}",
    "+published={source: ${oc.env:HOME}}",
    "+published={source: [1, '${oc.decode:x}']}",
    "seed=${now:%S}",
    "seed=choice(1,'${oc.env:HOME}')",
    r"start='$\{oc.env:HOME}'",
    "latent_dim=${hydra:runtime.cwd}",
]
OTHER_FOLDERS = [
    "folder=/elsewhere",
    "callbacks.checkpoint.folder=/elsewhere",
    "callbacks.checkpoint.folder=inside",
    "logger.csv.folder=/elsewhere,/other",
    "+callbacks.x.dirpath=/elsewhere",
    "+logger.x.save_dir=/elsewhere",
    "+logger.x.root_dir=/elsewhere",
    "+logger.x.log_dir=/elsewhere",
    "+trainer.default_root_dir=/elsewhere",
    "callbacks.checkpoint={folder: /elsewhere}",
    "callbacks={checkpoint: {folder: /elsewhere}}",
    "callbacks.checkpoint=choice({folder: /elsewhere},{folder: /other})",
    "~callbacks.checkpoint.folder",
    "+logger.tensorboard.version=/elsewhere",
    "+logger.tensorboard.name=../../elsewhere",
    r"+logger.tensorboard.name='..\elsewhere'",
    r"+logger.tensorboard.name='C:\elsewhere'",
    "+logger.tensorboard.name='~/elsewhere'",
    "+callbacks.x.filename=[a,/elsewhere]",
    "+trainer.profiler={filename: ../../elsewhere}",
    "kl=../../here/evil",
    "kl=warmup,../../here/evil",
    "logger=[csv,../evil]",
    "data=../../here/evil",
    "experiment=/here/evil",
    "experiment=glob(../*)",
    "experiment/../../here/evil=x",
]
MALFORMED = [
    "kl=warmup\n--config-dir=here/evil",
    "kl='warmup\n'",
    "kl=\x1b]0;title\x07",
    "seed=1\x00",
    "seed=\u202e1",
    "\uff0d\uff0dconfig-dir=evil",
    "ke\u0301y=1",
    "=1",
    "",
    " seed=1",
    "+-m=1",
    "+++seed=1",
    "seed=[1",
    "seed=" + "[" * 2000,
    "seed=" + "str(" * 2000,
    "seed=" + "1" * (MAX_WORD + 1),
    "a" * MAX_WORD + "=1",
    ".folder=/elsewhere",
    "callbacks..folder=/elsewhere",
]
HOSTILE = [*FLAGS, *SETTINGS_OF_HYDRA, *CLASSES, *INTERPOLATIONS, *OTHER_FOLDERS, *MALFORMED]
PLAIN = [
    *("kl=warmup", "+a.b=[1,2]", "++a=x", "~callbacks.pictures", "optimizer.lr=1e-3,1e-2"),
    *(
        "start=../runs/a",
        "data.root='/data/my files'",
        "data.root=/data/hydra",
        "data.path=../x.npz",
    ),
    *("seed=range(0,5)", "optimizer.lr=interval(1e-4,1e-2)", "kl=glob(*)", "model.hidden=[64],[8]"),
    *("objective=elbo,iwae", "callbacks=[default,ema]", "experiment=sub/own", "start=null"),
    *("published={value: 84.78, source: 'IWAE, table 1'}", "logger.wandb.project=me/name"),
    *("data.root='/p/n\u00e9e'", "data.root='/p/\u56fe\u7247 (\u65b0)'", "trainer.max_epochs=1"),
]


def record_words(folder, *words, hydra=()):
    record = {"hydra": {"overrides": {"task": [*words], "hydra": [*hydra]}}}
    OmegaConf.save(OmegaConf.create(record), folder / "multirun.yaml")


@pytest.mark.parametrize("word", HOSTILE, ids=lambda word: ascii(word)[1:40])
def test_hostile_word_is_refused_in_one_line(tmp_path, word):
    assert not is_safe_word(word)
    (tmp_path / "multirun.yaml").write_text(
        json.dumps({"hydra": {"overrides": {"task": ["latent_dim=2,3", word], "hydra": []}}})
    )
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=r"which is not accepted|is damaged") as refusal:
        expand_resume_command([f"resume={tmp_path}"])
    message = str(refusal.value)
    assert message.isprintable()
    assert len(message) < 600 + 2 * len(str(tmp_path))
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "word",
    [
        *("hydra.run.dir=/elsewhere", "hydra.sweep.subdir=..", "hydra.launcher._target_=os.abort"),
        *("+hydra.callbacks.x._target_=os.abort", "hydra/launcher=../evil", "hydra.job.chdir=true"),
        *("hydra.searchpath=[file:///evil]", "hydra.job.env_set.PYTHONSTARTUP=/evil", "--info"),
        "hydra.launcher.partition=a\n--config-dir=x",
    ],
)
def test_hostile_setting_of_hydra_is_refused(tmp_path, word):
    record_words(tmp_path, "latent_dim=2,3", hydra=[word])
    with pytest.raises(UserError, match="which is not accepted"):
        expand_resume_command([f"resume={tmp_path}"])


@pytest.mark.parametrize("node", [1, None, ["a=1"], {"a": 1}, 1.5])
def test_recorded_word_that_is_no_text_is_refused(tmp_path, node):
    record_words(tmp_path, node)
    with pytest.raises(UserError, match="which is not accepted"):
        expand_resume_command([f"resume={tmp_path}"])


@pytest.mark.parametrize("word", PLAIN)
def test_plain_override_is_accepted(word):
    assert is_safe_word(word)


def test_recorded_overrides_are_repeated(tmp_path):
    record_words(tmp_path, *PLAIN, hydra=["hydra.mode=MULTIRUN", "hydra.sweep.dir=/elsewhere"])
    expanded = expand_resume_command([f"resume={tmp_path}"])
    assert expanded == ["-m", *PLAIN, "hydra.mode=MULTIRUN", f"hydra.sweep.dir='{tmp_path}'"]


def test_message_shows_no_control_characters():
    assert describe_word("a\x1b[31m=1") == r"'a\x1b[31m=1'"
    assert len(describe_word("a" * 10_000)) < 250
