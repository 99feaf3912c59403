"""The page of a run: whole without a network, escaped, and there whatever is missing."""

import json
import re
import shlex

import pytest

from vaelab.report import run
from vaelab.report.folder import RunFolder
from vaelab.report.write import write_report, write_report_or_warn

HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(2)>'</title></textarea>"


def asks_for_nothing(page):
    """Whether all that a browser would fetch is inside the page."""
    fetched = [found for _, found in page.elements if {"src", "srcset", "poster"} & found.keys()]
    assert all(found["src"].startswith("data:image/") for found in fetched)
    assert not page.all("link")
    assert not page.all("iframe")
    assert not re.search(r"https?:|@import|url\((?!#)", page.source)
    (policy,) = page.all("meta", **{"http-equiv": "Content-Security-Policy"})
    assert policy["content"].startswith("default-src 'none'; img-src data:;")


def test_a_page_asks_for_nothing_else_and_is_small(make_run, page):
    path = write_report(make_run())
    assert path.name == "report.html"
    assert path.stat().st_size < 5e6
    asks_for_nothing(page(path))


def test_a_page_shows_choices_numbers_and_pictures(make_run, page):
    found = page(write_report(make_run()))
    for words in ("104.8 ± 1.2", "conv", "beta=4", "50579fc446031c78", "torch 2.14.1", "6733a3b3"):
        assert words in found.text
    assert found.all("button", **{"data-copy": "python train.py model=conv kl.beta=4"})
    assert [each["alt"][:10] for each in found.all("img") if "src" in each] == [
        "Validation",
        "Means of p",
    ]


def test_the_same_folder_gives_the_same_page(make_run):
    folder = make_run()
    assert write_report(folder).read_bytes() == write_report(folder).read_bytes()


def test_hostile_names_are_words_and_nothing_more(make_run, page):
    plain = page(write_report(make_run("plain")))
    folder = make_run(
        "hostile",
        [f"model.x={HOSTILE}"],
        choices={"model": HOSTILE, HOSTILE: "x"},
        git={"commit": HOSTILE},
        command=HOSTILE,
        monitor=HOSTILE,
        **{HOSTILE: 1.0},
    )
    (folder / "figures" / "samples.png").rename(folder / "figures" / "a<b onload='x'>&.png")
    (folder / ".hydra" / "config.yaml").write_text(f"model:\n  x: {json.dumps(HOSTILE)}\n")
    found = page(write_report(folder))
    assert found.text.count("alert(1)") > 5
    assert len(found.all("script")) == len(plain.all("script"))
    assert len(found.all("img")) == len(plain.all("img"))
    assert not [name for _, each in found.elements for name in each if name.startswith("on")]
    asks_for_nothing(found)


FILES = [".hydra/config.yaml", ".hydra/overrides.yaml", ".hydra/hydra.yaml", "metrics.json"]


@pytest.mark.parametrize("name", [*FILES, "metrics.csv", "figures/samples.png"])
@pytest.mark.parametrize("damage", [None, b"\x00\xff{]: -", b"[1, 2]"])
def test_a_file_that_is_missing_or_damaged_leaves_the_rest(make_run, page, name, damage):
    folder = make_run()
    (folder / name).unlink()
    if damage is not None:
        (folder / name).write_bytes(damage)
    found = page(write_report(folder))
    assert "vaelab run" in found.text
    assert "No result" not in found.text or name == "metrics.json"
    assert "conv" in found.text


def test_an_empty_run_folder_has_a_page(tmp_path, page):
    (tmp_path / "run" / ".hydra").mkdir(parents=True)
    assert "No result: it was interrupted" in page(write_report(tmp_path / "run")).text


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="neither a run nor a multirun"):
        write_report(tmp_path)


def test_what_failed_says_why(make_run, page):
    found = page(write_report(make_run(failed="latent_dim=0: it must be at least 1")))
    assert "No result: latent_dim=0: it must be at least 1" in found.text


def test_without_a_density_there_is_no_elbo_on_the_page(make_run, page):
    gone = dict.fromkeys(("elbo", "kl", "nll", "nll_se", "kl_per_dimension", "val_elbo"), "absent")
    rows = [{"step": 1, "val/reconstruction": 80.0, "val/log_p": -80.0}]
    folder = make_run(rows=rows, monitor="val/log_p", val_log_p=-80.0, **gone)
    text = page(write_report(folder)).text
    assert "val/log_p" in text
    assert not re.search(r"ELBO|NLL|KL \d|not finite", text.replace("KL(q(z|x) || p(z))", ""))


@pytest.mark.parametrize("written", [None, float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_a_warning_and_never_a_number(make_run, page, written):
    text = page(write_report(make_run(elbo=written))).text
    assert "Not finite: ELBO. The run diverged" in text
    assert not re.search(r"\b(nan|NaN|inf|None)\b", text)


@pytest.mark.parametrize(("kl", "active"), [(0.02, 1), (3.0, 0)])
def test_collapse_is_warned_of_and_drawn(make_run, page, kl, active):
    found = page(write_report(make_run(kl=kl, active_units=active)))
    assert "Posterior collapse" in found.text
    assert len(found.all("g", **{"class": "cut"})) == 2  # of the drawing that lies and that stands


def test_codes_that_are_used_are_no_collapse(make_run, page):
    found = page(write_report(make_run(kl=0.5, active_units=1)))
    assert "ollapse" not in found.text
    assert not found.all("g", **{"class": "cut"})


def test_later_evaluations_stand_side_by_side(make_run, page):
    folder = make_run()
    for name, numbers in (
        ("test-5000", {"nll": 104.0, "nll_se": 0.5, "fid": 12.345678, "split": "test"}),
        ("train", {"nll": 99.0, "own": 7, "parts": {"a": 1}, "absent": {"kid": "no features"}}),
    ):
        path = folder / "evaluation" / name / "numbers.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(numbers))
    text = page(write_report(folder)).text
    assert "test-5000 train unit" in text
    assert "NLL 104.00 ± 0.50 99.000 nats per image" in text
    assert "FID of samples 12.346" in text
    assert "own 7" in text
    assert "kid: no features" in text


@pytest.mark.parametrize("word", ["a=b c", "x='it''s'", "list=[1,2]", "k=$HOME", "~callbacks.x"])
def test_the_command_is_what_was_typed(make_run, word):
    command = RunFolder.read(make_run(overrides=["model=mlp", word])).command
    assert shlex.split(command) == ["python", "train.py", "model=mlp", word]


def test_a_report_that_fails_does_not_end_the_run(make_run, monkeypatch, caplog, capsys):
    def broken(folder):
        raise RuntimeError("a\ndefect")

    folder = make_run()
    monkeypatch.setattr(run, "write_run_report", broken)
    write_report_or_warn(folder)
    (entry,) = caplog.records
    assert entry.getMessage() == f"no report of {folder}: RuntimeError: a defect"
    assert capsys.readouterr().out == ""


def test_a_run_ends_with_its_report(train, page, capsys):
    numbers = train("model.hidden=[16]", "latent_dim=4", "logger=csv")
    found = page(numbers["folder"] / "report.html")
    assert str(numbers["folder"] / "report.html") in capsys.readouterr().out
    asks_for_nothing(found)
    assert numbers["parameters_of"]["encoder"] == 784 * 16 + 16 + 16 * 8 + 8
    assert numbers["encoder_outputs"] == 8
    assert "12 696 parameters" in found.text.replace("\N{NARROW NO-BREAK SPACE}", " ")
    assert len(found.all("figure", **{"class": "panel"})) == 3  # a loss that is -ELBO has none
