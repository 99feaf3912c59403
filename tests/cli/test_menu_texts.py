"""The menu in Chinese: every option has its line, and no line is wider than 80 columns."""

import re
from unicodedata import east_asian_width

import pytest

from vaelab.cli import menu, menu_texts
from vaelab.runtime.errors import UserError
from vaelab.runtime.installation import CONF

RECIPES = ("train", "sample")
GROUPS = {group: recipe for recipe in RECIPES for group in menu.find_groups(recipe)}


@pytest.fixture(autouse=True)
def chinese(monkeypatch):
    monkeypatch.setenv("VAELAB_LANGUAGE", "zh")


def measure_width(line: str) -> int:
    """Return the columns of a line, of which a Chinese character has two."""
    return sum(1 + (east_asian_width(letter) in "WF") for letter in line)


def test_every_option_has_a_chinese_text():
    options = {
        group: {
            name for name, file in menu.find_options(group).items() if file.is_relative_to(CONF)
        }
        for group in GROUPS
    }
    assert {group: {*texts} for group, texts in menu_texts.OPTIONS.items()} == options


def test_every_comment_of_a_key_has_a_chinese_text():
    own = "\n".join(menu._read_own_keys(recipe) for recipe in RECIPES)
    assert {*re.findall(r"^( *\w+):.* # ", own, re.MULTILINE)} == {*menu_texts.KEYS}


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_overview_is_in_chinese_and_fits(recipe):
    lines = menu.render_help(recipe).splitlines()
    assert menu_texts.USAGE[recipe].splitlines()[-1] in lines
    assert max(map(measure_width, lines)) <= menu.WIDTH


@pytest.mark.parametrize("group", [*GROUPS, menu.KEYS])
def test_the_options_of_a_group_fit(group):
    lines = menu.render_help(GROUPS.get(group, "train"), [group]).splitlines()
    assert max(map(measure_width, lines)) <= menu.WIDTH
    for option, text in menu_texts.OPTIONS.get(group, {}).items():
        assert any(f" {option} " in line and line.endswith(text) for line in lines)


def test_own_options_and_missing_texts_stay_english(monkeypatch):
    monkeypatch.setattr(menu_texts, "OPTIONS", {"prior": {"vamp": "伪输入"}})
    lines = menu.render_help("train", ["prior"]).splitlines()
    assert any(line.endswith("伪输入") for line in lines)
    assert any(line.endswith("Standard normal N(0, I)") for line in lines)


@pytest.mark.parametrize("group", [[], ["prior"], ["keys"]])
def test_an_unknown_language_is_an_error_of_the_user(monkeypatch, group):
    monkeypatch.setenv("VAELAB_LANGUAGE", "french")
    with pytest.raises(UserError, match="VAELAB_LANGUAGE=french is not a known language"):
        menu.render_help("train", group)
    monkeypatch.delenv("VAELAB_LANGUAGE")
    assert menu.render_help("train", group).isascii()
