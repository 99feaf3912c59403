"""Test that the pages about choosing and migrating name what exists, with measured figures."""

import re
from importlib.util import find_spec

import pytest
from conftest import ROOT

from vaelab.cli.overrides import check_training_words
from vaelab.runtime.errors import UserError

DOCS = ROOT / "docs"
CHOOSE = sorted(DOCS.glob("choose-*.md"))
CHOOSE = [page for page in CHOOSE if ".zh-CN" not in page.name]  # test_chinese.py compares them
SOURCES = ["parts.md", "results.md", "evaluation.md", "notes/04-likelihoods.md"]
MEASURED = " ".join((DOCS / name).read_text() for name in SOURCES)
CODE = re.compile(r"`([^`]+)`")
OVERRIDE = re.compile(r"[a-z_]+(?:\.[a-z_]+)*=\S+")
DECIMAL = re.compile(r"(?<![\w.])-?\d*\.\d+")
PRIOR_AFTERWARDS = "objective=prior"  # needs start=
OF_OTHER_COMMANDS = ("sampler=", "resume=", "start=")


def table_rows(text: str) -> list[list[str]]:
    """Return the cells of the rows of all tables, without their titles."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    below_titles = [i + 1 for i, row in enumerate(rows) if set("".join(row)) <= set("-: ")]
    return [
        row for i, row in enumerate(rows) if i + 1 not in below_titles and i + 2 not in below_titles
    ]


def list_commands(text: str) -> list[str]:
    """Return the words of a training that the code of a text consists of.

    A Python argument such as loss="gaussian loss.scale=optimal" has the words in quotation marks.
    """
    codes = [code.replace('"', "").split() for code in CODE.findall(text)]
    return sorted(
        {
            " ".join(words)
            for words in codes
            if all(map(OVERRIDE.fullmatch, words))
            and not any("<" in word or word.startswith(OF_OTHER_COMMANDS) for word in words)
            and PRIOR_AFTERWARDS not in words
        }
    )


def list_equivalents(page) -> list[str]:
    """Return the words of a training in the second column, or the first if it is the same."""
    rows = table_rows(page.read_text())
    return list_commands(" ".join(row[0 if row[1].startswith("the same") else 1] for row in rows))


def test_choose_pages_are_complete():
    assert [page.stem for page in CHOOSE] == [
        "choose-likelihood",
        "choose-objective",
        "choose-prior",
    ]


@pytest.mark.parametrize("page", CHOOSE, ids=lambda page: page.stem)
def test_choose_pages_start_with_a_short_list(page):
    first, second = page.read_text().split("\n## ")[:2]
    assert len(first.splitlines()) < 10
    assert second.startswith("Decide\n")
    assert 4 <= len(re.findall(r"^\d\. \*\*", second, re.MULTILINE)) <= 8


@pytest.mark.parametrize("page", CHOOSE, ids=lambda page: page.stem)
def test_figures_of_choose_pages_are_measured_ones(page):
    rows = table_rows(page.read_text().partition("\n## A measurement")[0])
    figures = {figure for row in rows for cell in row for figure in DECIMAL.findall(cell)}
    assert len(figures) > 15
    assert not {figure for figure in figures if figure not in MEASURED}


@pytest.mark.slow
@pytest.mark.parametrize("page", CHOOSE, ids=lambda page: page.stem)
def test_settings_of_choose_pages_compose(page):
    commands = list_commands(page.read_text())
    assert len(commands) > 8
    for command in commands:
        check_training_words(command.split())


@pytest.mark.slow
def test_settings_of_the_migration_page_compose():
    commands = list_equivalents(DOCS / "migration.md")
    assert len(commands) > 40
    for command in commands:
        is_missing = "optuna" in command and not find_spec("optuna")
        if not command.startswith("logger.wandb.tags") and not is_missing:
            check_training_words(command.split())


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("ckpt_path=last.ckpt", "resume=runs/<run>"),
        ("ckpt_path=last.ckpt", "start=runs/<run>"),
        ("hparams_search=mnist_optuna", "sweep=optuna"),
        ("tags=[mnist]", "logger.wandb.tags="),
        ("task_name=first", "hydra.run.dir=runs/"),
        ("learning_rate=1e-3", "optimizer.lr="),
        ("num_epochs=3", "trainer.max_epochs="),
        ("per_device_train_batch_size=8", "data.batch_size="),
        ("no_cuda=true", "trainer=cpu"),
        ("batch_size=8", "did you mean data.batch_size?"),
    ],
)
def test_words_of_other_tools_are_answered_with_the_equivalent(word, hint):
    with pytest.raises(UserError, match="there is no such key") as error:
        check_training_words([word])
    assert hint in str(error.value)
    page = (DOCS / "migration.md").read_text()
    assert word.partition("=")[0] in page


def test_debug_options_leave_the_choices_of_a_run_as_they_are():
    from vaelab.runs.compose import compose_config

    plain = compose_config("train", ["model=conv"])
    for option in ("default", "limit", "overfit", "profiler"):
        cfg = compose_config("train", ["model=conv", f"debug={option}"])
        assert cfg.module == plain.module
        assert cfg.data == plain.data
        assert cfg.trainer != plain.trainer


@pytest.mark.slow
def test_names_of_pythae_on_the_migration_page_exist():
    models = pytest.importorskip("pythae.models", reason="needs the extra peers")
    from pythae import samplers

    section = (DOCS / "migration.md").read_text().split("## From pythae")[1].split("\n## ")[0]
    named = {name for row in table_rows(section) for name in re.findall(r"`([A-Z]\w+)`", row[0])}
    own = {"BaseEncoder", "BaseDecoder", "ModelOutput"}
    assert len(named) > 25
    assert not {
        name for name in named - own if not hasattr(models, name) and not hasattr(samplers, name)
    }
