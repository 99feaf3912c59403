"""The report of a run: self-contained, escaped, and robust against missing files."""

import json
import re
import shlex

import pytest

from vaelab.report import run
from vaelab.report.folder import RunFolder
from vaelab.report.page import read_library
from vaelab.report.write import write_report, write_report_or_warn

HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(2)>'</title></textarea>"


def assert_self_contained(page):
    """Assert that the page has no external resources."""
    sources = {"src", "srcset", "poster"}
    fetched = [attributes for _, attributes in page.elements if sources & attributes.keys()]
    assert all(attributes["src"].startswith("data:image/") for attributes in fetched)
    assert not page.find("link")
    assert not page.find("iframe")
    own = page.source.replace(read_library(), "")
    assert len(own) < len(page.source)
    assert not re.search(r"https?:|@import|url\((?!#)", own)
    (policy,) = page.find("meta", **{"http-equiv": "Content-Security-Policy"})
    assert policy["content"].startswith("default-src 'none'; img-src data:;")


def test_page_is_self_contained_and_small(make_run, page):
    path = write_report(make_run())
    assert path.name == "report.html"
    assert path.stat().st_size < 1.2e6
    assert_self_contained(page(path))


def test_page_shows_settings_metrics_and_images(make_run, page):
    html = page(write_report(make_run()))
    for words in ("104.8 ± 1.2", "conv", "beta=4", "50579fc446031c78", "torch 2.14.1", "6733a3b3"):
        assert words in html.text
    assert html.find("button", **{"data-copy": "python train.py model=conv kl.beta=4"})
    assert [image["alt"][:10] for image in html.find("img") if "src" in image] == [
        "Validation",
        "Means of p",
    ]


def test_page_is_deterministic(make_run):
    folder = make_run()
    assert write_report(folder).read_bytes() == write_report(folder).read_bytes()


def test_hostile_names_are_escaped(make_run, page):
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
    html = page(write_report(folder))
    assert html.text.count("alert(1)") > 5
    assert len(html.find("script")) == len(plain.find("script"))
    assert len(html.find("img")) == len(plain.find("img"))
    assert not [
        name for _, attributes in html.elements for name in attributes if name.startswith("on")
    ]
    assert_self_contained(html)


FILES = [".hydra/config.yaml", ".hydra/overrides.yaml", ".hydra/hydra.yaml", "metrics.json"]


@pytest.mark.parametrize("name", [*FILES, "metrics.csv", "figures/samples.png"])
@pytest.mark.parametrize("damage", [None, b"\x00\xff{]: -", b"[1, 2]"])
def test_missing_or_damaged_file_does_not_affect_the_rest(make_run, page, name, damage):
    folder = make_run()
    (folder / name).unlink()
    if damage is not None:
        (folder / name).write_bytes(damage)
    html = page(write_report(folder))
    assert "vaelab run" in html.text
    assert "No result" not in html.text or name == "metrics.json"
    assert "conv" in html.text


def test_empty_run_folder_has_a_page(tmp_path, page):
    (tmp_path / "run" / ".hydra").mkdir(parents=True)
    assert "No result: it was interrupted" in page(write_report(tmp_path / "run")).text


def test_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="neither a run nor a multirun"):
        write_report(tmp_path)


def test_failed_run_shows_the_reason(make_run, page):
    html = page(write_report(make_run(failure="latent_dim=0: it must be at least 1")))
    assert "No result: latent_dim=0: it must be at least 1" in html.text


def test_page_without_density_has_no_elbo(make_run, page):
    absent = dict.fromkeys(
        ("elbo", "kl", "nll", "nll_se", "kl_per_dimension", "val_elbo"), "absent"
    )
    rows = [{"step": 1, "val/reconstruction": 80.0, "val/log_p": -80.0}]
    folder = make_run(rows=rows, monitor="val/log_p", val_log_p=-80.0, **absent)
    text = page(write_report(folder)).text
    assert "validation log p(x|z)" in text
    assert not re.search(r"ELBO|NLL|KL \d|non-finite", text.replace("KL(q(z|x) || p(z))", ""))


@pytest.mark.parametrize("written", [None, float("nan"), float("inf")])
def test_non_finite_metrics_give_a_warning(make_run, page, written):
    text = page(write_report(make_run(elbo=written))).text
    assert "Non-finite metrics: ELBO. The training diverged" in text
    assert not re.search(r"\b(nan|NaN|inf|None)\b", text)


@pytest.mark.parametrize(("kl", "active"), [(0.02, 1), (3.0, 0)])
def test_posterior_collapse_is_shown_as_warning_and_in_the_diagram(make_run, page, kl, active):
    html = page(write_report(make_run(kl=kl, active_units=active)))
    assert "Posterior collapse" in html.text
    assert len(html.find("g", **{"class": "cut"})) == 2  # one for each layout


def test_used_latents_are_not_a_collapse(make_run, page):
    html = page(write_report(make_run(kl=0.5, active_units=1)))
    assert "ollapse" not in html.text
    assert not html.find("g", **{"class": "cut"})


def test_later_evaluations_are_shown_side_by_side(make_run, page):
    folder = make_run()
    for name, numbers in (
        (
            "test-5000",
            {"nll": 104.0, "nll_se": 0.5, "fid": 12.345678, "features": "digits", "split": "test"},
        ),
        ("train", {"nll": 99.0, "own": 7, "parts": {"a": 1}, "absent": {"kid": "no features"}}),
    ):
        path = folder / "evaluation" / name / "numbers.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(numbers))
    text = page(write_report(folder)).text
    assert "test-5000 train unit" in text
    assert "NLL ↓ 104.00 ± 0.50 99.000 nats per image" in text
    assert "FID of samples ↓ 12.346 (digits)" in text
    assert "own 7" in text
    assert "kid: no features" in text


@pytest.mark.parametrize("word", ["a=b c", "x='it''s'", "list=[1,2]", "k=$HOME", "~callbacks.x"])
def test_command_repeats_the_overrides(make_run, word):
    command = RunFolder.load(make_run(overrides=["model=mlp", word])).command
    assert shlex.split(command) == ["python", "train.py", "model=mlp", word]


def test_failed_report_is_only_a_warning(make_run, monkeypatch, caplog, capsys):
    def broken(folder, translate):
        raise RuntimeError("a\ndefect")

    folder = make_run()
    monkeypatch.setattr(run, "write_run_report", broken)
    write_report_or_warn(folder)
    (entry,) = caplog.records
    assert entry.getMessage() == f"cannot write the report of {folder}: RuntimeError: a defect"
    assert capsys.readouterr().out == ""


def test_training_writes_a_report(train, page, capsys):
    numbers = train("model.hidden=[16]", "latent_dim=4", "logger=csv")
    html = page(numbers["folder"] / "report.html")
    assert str(numbers["folder"] / "report.html") in capsys.readouterr().out
    assert_self_contained(html)
    assert numbers["parameters_of"]["encoder"] == 784 * 16 + 16 + 16 * 8 + 8
    assert numbers["encoder_outputs"] == 8
    assert "12 696 parameters" in html.text.replace("\N{NARROW NO-BREAK SPACE}", " ")
    assert len(html.find("figure", **{"class": "panel"})) == 3  # none for the loss, which is -ELBO
