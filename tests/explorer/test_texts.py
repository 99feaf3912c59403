"""The texts of the page in each language."""

import string

import pytest

from vaelab.explorer.texts import ENGLISH, LANGUAGES


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_the_same_keys_and_fields(language):
    texts = LANGUAGES[language]
    assert list(texts) == list(ENGLISH)
    for key, text in texts.items():
        assert text.strip(), key
        assert find_fields(text) == find_fields(ENGLISH[key]), key


def find_fields(text: str) -> set[str]:
    return {field for _, field, _, _ in string.Formatter().parse(text) if field}
