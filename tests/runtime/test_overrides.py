"""Paths on the command line are taken literally."""

import os
import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vaelab.runtime.errors import one_line_message
from vaelab.runtime.overrides import (
    PATH_KEYS,
    quote_for_shell,
    quote_override,
    quote_paths,
    sets_literal_path,
)

PATHS = [
    *(
        "/p/a b=1",
        "/p/née",
        "图片 (新)",
        "#",
        "[1]",
        "{a}",
        "$HOME",
        "%",
        ":",
        "it's",
        'a"b',
        "x ",
        " x",
    ),
    *(
        "a,b",
        "C:\\x",
        "C:\\x\\",
        "\\\\server\\share",
        "a\\",
        "'",
        '"',
        "!",
        "*",
        "?",
        "a;b",
        "a|b",
        "a&b",
    ),
    *(
        "<a>",
        "`a`",
        "a=b",
        "=",
        "-",
        "--x",
        "a\tb",
        "a\nb",
        "5",
        "1e3",
        "true",
        "nan",
        "choice(a,b)",
    ),
    *(
        "range(3)",
        "glob(*)",
        "a@b",
        "a:b",
        "+a",
        "~~",
        "\\'",
        "é\\",
        "\u200b",
        "🙂",
        "a" * 200,
        "[",
        "(",
        "{",
    ),
]
SWEEPS = ("choice(a,b)", "range(3)", "glob(*)")  # in a multirun
ANY_PATH = st.text(min_size=1).filter(lambda text: "${" not in text and "\0" not in text)


def parse(word):
    return OverridesParser.create().parse_override(word)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("multirun", [[], ["-m"]])
def test_hydra_reads_every_path_as_it_was_typed(path, multirun):
    is_sweep = multirun and path in SWEEPS
    for key in PATH_KEYS if not is_sweep else ("hydra.run.dir", "hydra.sweep.dir"):
        words = [*multirun, f"{key}={path}"]
        quoted = quote_paths(words)
        override = parse(quoted[-1])
        assert (override.key_or_group, override.value()) == (key, path)
        assert not override.is_sweep_override()
        assert quote_paths(quoted) == quoted


@settings(max_examples=500, deadline=None)
@example("\\\n")
@example("\\'")
@given(ANY_PATH)
def test_quoted_text_is_read_as_it_was_written(text):
    assert parse(f"data.root={quote_override(text)}").value() == text


@settings(max_examples=500, deadline=None)
@given(ANY_PATH.filter(lambda text: text[0] not in "~'\"" and text != "null"))
def test_any_path_is_read_as_it_was_typed(text):
    assert parse(quote_paths([f"data.root={text}"])[0]).value() == text


@settings(deadline=None)
@given(ANY_PATH)
def test_a_shell_reads_a_quoted_word_as_it_was_written(text):
    assert shlex.split(quote_for_shell(f"resume={text}")) == [f"resume={text}"]


@pytest.mark.parametrize(
    "word",
    [
        *(
            "data.root=/data",
            "data.root='/p/a b'",
            'data.root="/p/a b"',
            "data.cache=null",
            "start=",
        ),
        *("data.root=${oc.env:X}", "data.root=${oc.env:X}/y", "hydra.run.dir=runs/${seed}"),
        *("model.hidden=[8,8]", "loss=bce,mse", "latent_dim=2", "-m", "~kl", "data.name=a,b"),
    ],
)
def test_what_hydra_reads_well_stays(word):
    assert quote_paths([word]) == [word]


def test_nested_interpolation_is_quoted():
    word = "optimizer.lr=${oc.decode:${oc.env:MY_LR}}"
    assert parse(quote_paths([word])[0]).value() == "${oc.decode:${oc.env:MY_LR}}"


@pytest.mark.parametrize("key", [*PATH_KEYS, "resume"])
def test_tilde_is_the_home_folder(key):
    home = os.path.expanduser("~")
    for typed in ("~/my pics", "'~/my pics'"):
        word = quote_paths([f"{key}={typed}"])[0]
        assert (
            word if key == "resume" else f"{key}={parse(word).value()}"
        ) == f"{key}={home}/my pics"
    assert quote_paths([f"{key}=~nobody-here/x"])[0].endswith(
        ("=~nobody-here/x", "='~nobody-here/x'")
    )


def test_multirun_sweeps_over_paths_that_exist(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a b", "née", "x,y", "x"):
        (tmp_path / name).mkdir()

    def values(word, *flags):
        override = parse(quote_paths([*flags, word])[-1])
        if not override.is_sweep_override():
            return override.value()
        return [parse(f"x={value}").value() for value in override.sweep_string_iterator()]

    assert values("data.root=a b,née", "-m") == ["a b", "née"]
    assert values("data.root=a b,missing", "--multirun") == ["a b", "missing"]
    assert values("data.root=x,y", "-m") == "x,y"  # this folder exists
    assert values("data.root=a b,née") == "a b,née"  # no multirun
    assert values("data.root=u,v", "-m") == "u,v"  # neither exists
    assert values("data.root='u','v w'", "-m") == ["u", "v w"]
    assert values("data.root=choice(u,v)", "hydra.mode=MULTIRUN") == ["u", "v"]
    assert values("hydra.sweep.dir=a b,née", "-m") == "a b,née"


@pytest.mark.parametrize("path", PATHS)
def test_recorded_word_of_a_path_is_plain_text(path):
    assert sets_literal_path(quote_paths([f"data.root={path}"])[0])
    assert not sets_literal_path(f"hydra.run.dir={quote_override(path)}")
    assert not sets_literal_path(f"kl={quote_override(path)}")


@pytest.mark.parametrize(
    "word", ["data.root=${x}", "data.root={a:1}", "data.root=[a]", "start=1", "start=a(", "x=a"]
)
def test_other_recorded_words_are_checked(word):
    assert not sets_literal_path(word)


@pytest.mark.parametrize("value", ["a (b", "née", "a b, c = d", "it's", "50%)", "(é) $x"])
def test_a_text_that_hydra_cannot_read_is_answered_with_the_word_to_type(value):
    with pytest.raises(OverrideParseException) as raised:
        OverridesParser.create().parse_overrides([f"logger.wandb.name={value}"])
    typed = shlex.split(one_line_message(raised.value).partition(" type ")[2])
    assert typed == [f"logger.wandb.name={quote_override(value)}"]
    assert parse(typed[0]).value() == value
