"""The report in Chinese: every text has a translation, and all numbers are those of the English."""

import ast
import re
import string
from pathlib import Path

import pytest
from conftest import ROOT
from omegaconf import OmegaConf

from vaelab.report.drawing import LAYOUTS, TITLES
from vaelab.report.images import CAPTIONS, TABLE_CAPTIONS
from vaelab.report.numbers import MEASURES
from vaelab.report.texts import CHINESE
from vaelab.report.write import write_report
from vaelab.runtime.errors import UserError
from vaelab.runtime.metric_names import METRICS, OTHER_METRICS, get_metric

SOURCES = sorted((ROOT / "src/vaelab/report").glob("*.py"))
SOURCES += [ROOT / "src/vaelab/runtime/metric_names.py", ROOT / "src/vaelab/runs/metrics_file.py"]
SOURCES.append(ROOT / "src/vaelab/runs/verdicts.py")
TEMPLATES = sorted((ROOT / "src/vaelab/report/page").glob("*.html"))
WORDS_OF_DATA = {
    *(
        "train",
        "val",
        "test",
        "binary",
        "levels",
        "dequantized",
        "real",
        "count",
        "mixed",
        "grey",
        "the labels",
    ),
    *("training", "validation", "probability", "density"),
}
NUMBER = re.compile(r"\d+(?:[.,\N{NARROW NO-BREAK SPACE}]\d+)*")


def list_texts_of_code(path: Path) -> set[str]:
    """Return the literal texts that a module translates."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    first = [
        call.args[0]
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id in ("t", "translate")
    ]
    return {str(arg.value) for arg in first if isinstance(arg, ast.Constant)}


def list_texts_of_metrics() -> set[str]:
    metrics = [*METRICS.values(), *OTHER_METRICS.values(), get_metric("val/elbo")]
    metrics.append(get_metric("kl_layer_1"))
    texts = {text for metric in metrics for text in metric[:3] if text}
    return texts - {"validation ELBO", "KL of layer 1"}


def list_all_texts() -> set[str]:
    texts = set.union(*map(list_texts_of_code, SOURCES), list_texts_of_metrics(), WORDS_OF_DATA)
    for template in TEMPLATES:
        texts |= set(re.findall(r"\bt\('(.*?)'[,)]", template.read_text()))
    labels = {
        label.text for layout in LAYOUTS for label in layout.labels.values() if "(q" in label.text
    }
    counted = {"{count} parameter", "{count} parameters", "{images:,} {split} images"}
    counted |= {"{pixels} pixels of {shape}.", "{pixels} values in {shape} columns."}
    counted.add("{images:,} random images of {every:,} {split} images")
    titles = {*TITLES.values(), *CAPTIONS.values(), *TABLE_CAPTIONS.values(), *MEASURES.values()}
    return texts | labels | counted | titles


def find_fields(text: str) -> set[str]:
    return {field for _, field, _, _ in string.Formatter().parse(text) if field}


def test_every_text_has_a_translation_and_every_translation_a_text():
    assert list_all_texts() == {*CHINESE}


@pytest.mark.parametrize("text", CHINESE)
def test_a_translation_has_the_fields_of_the_text(text):
    assert CHINESE[text].strip()
    assert find_fields(CHINESE[text]) == find_fields(text)


def write_in_both_languages(folder, page):
    english, chinese = (page(write_report(folder, language)) for language in ("en", "zh"))
    return english, chinese


def make_multirun(make_run, folder):
    OmegaConf.save({"hydra": {"overrides": {"task": ["kl.beta=1,4"]}}}, folder / "multirun.yaml")
    for number, beta in enumerate((1, 4)):
        words = [f"kl.beta={beta}", "seed=0"]
        make_run(str(number), words, kl=20.0 + number, val_elbo=-109.0 - number)
    make_run("2", ["kl.beta=4", "seed=1"], kl=20.5, val_elbo=-108.0, seed=1)
    make_run("3", ["kl.beta=1", "seed=1"], failure="latent_dim=0")
    return folder


@pytest.fixture(params=["run", "multirun"])
def folder(request, make_run, tmp_path):
    return make_run() if request.param == "run" else make_multirun(make_run, tmp_path)


def list_headings(page) -> set[str]:
    """Return the texts of sections, columns, terms, charts and buttons."""
    body = page.source.partition("<dialog")[0]
    tags = r"h2|dt|b|summary|button[^>]*|th(?: class=\"n\")?"
    return set(re.findall(rf"<(?:{tags})>([^<]+)<", body))


def test_a_chinese_page_has_no_english_heading(folder, page):
    english, chinese = map(list_headings, write_in_both_languages(folder, page))
    translated = {text for text in english if CHINESE.get(text, text) != text}
    assert len(translated) > 10
    assert translated & chinese <= {"seed"}  # the setting


def test_both_languages_have_the_same_numbers(folder, page):
    english, chinese = write_in_both_languages(folder, page)
    cells = [re.findall(r'<td class="n[^>]*>([^<]*)', p.source) for p in (english, chinese)]
    assert cells[0] == cells[1]
    assert any(NUMBER.search(cell) for cell in cells[0])
    assert sorted(NUMBER.findall(english.text)) == sorted(NUMBER.findall(chinese.text))


def test_the_environment_selects_the_language(make_run, page, monkeypatch):
    monkeypatch.setenv("VAELAB_LANGUAGE", "zh")
    assert page(write_report(make_run())).find("html", lang="zh-CN")
    monkeypatch.setenv("VAELAB_LANGUAGE", "fr")
    with pytest.raises(UserError, match="VAELAB_LANGUAGE=fr is not a known language"):
        write_report(make_run("other"))


def test_rows_that_are_no_images_are_named_so_in_chinese(make_run, page):
    html = page(write_report(make_run(shape=[8]), "zh"))
    assert "nats/数据行" in html.text
    assert "nats/图像" not in html.text
