"""The report of a multirun: ranks, means over seeds, charts and images of its jobs."""

import json
import math
import re
import shutil
import subprocess
from functools import partial

import pytest
from omegaconf import OmegaConf
from report.conftest import write_image
from report.test_run import HOSTILE, assert_self_contained

from vaelab.figures.draw.style import PALETTE, STAGE_COLOURS
from vaelab.report.charts import make_parallel_coordinates, make_rate_distortion_chart
from vaelab.report.images import embed_images
from vaelab.report.jobs import (
    average_over_seeds,
    compute_mean_and_error,
    find_varied_keys,
    read_report_jobs,
)
from vaelab.report.write import write_report
from vaelab.runs.jobs import read_jobs
from vaelab.sweeps.job_table import print_job_tables

CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


@pytest.fixture
def sweep(make_run, tmp_path):
    """Two losses, two models and three seeds; job 12 failed."""
    words = ["model=mlp,conv", "loss=bce,mse", "seed=0,1,2"]
    OmegaConf.save({"hydra": {"overrides": {"task": words}}}, tmp_path / "multirun.yaml")
    number = 0
    for model in ("mlp", "conv"):
        for loss in ("bce", "mse"):
            for seed in range(3):
                value = (-100 if loss == "bce" else -700) - (number * 7 % 12)
                make_run(
                    str(number),
                    [f"model={model}", f"loss={loss}", f"seed={seed}"],
                    choices={"model": model, "loss": loss},
                    measure="probability" if loss == "bce" else "density",
                    val_elbo=value,
                    elbo=value - 1.0,
                    kl=20.0 + number,
                    reconstruction=-value - 19.0 - number,
                    seed=seed,
                )
                number += 1
    make_run("12", ["model=mlp", "loss=bce", "seed=3"], failure="latent_dim=0: <b>no</b>")
    return tmp_path


def list_rows(page):
    """Return the group and the job of each row, from top to bottom."""
    jobs, group = [], ""
    for tag, attributes in page.elements:
        group = attributes.get("data-group", group)
        if tag == "tr" and "data-job" in attributes:
            jobs.append((group, attributes["data-job"]))
    return jobs


def test_jobs_are_ranked_within_their_group(sweep, page):
    jobs = read_report_jobs(sweep)
    html = page(write_report(sweep))
    order = list_rows(html)
    assert [name for _, name in order] == [job.name for job in jobs]
    groups = list(dict.fromkeys(group for group, _ in order))
    assert [group.split()[0] for group in groups] == ["bce", "mse", "~"]
    for group in groups[:2]:
        members = [job for job in jobs if job.group == group]
        assert [job.rank for job in members] == [1, 2, 3, 4, 5, 6]
        values = [job.values["val"] for job in members]
        assert values == sorted(values, reverse=True)
        assert len({job.run.options["loss"] for job in members}) == 1
    assert jobs[-1].rank is None


def test_sizes_of_evaluations_are_shown_where_they_differ(sweep, make_run, page, capsys):
    def list_columns():
        print_job_tables(read_jobs(sweep))
        html = page(write_report(sweep))
        shown = {attributes.get("data-column") for _, attributes in html.elements}
        return shown & {"images", "samples"}, "images" in capsys.readouterr().out

    assert list_columns() == (set(), False)
    make_run("13", ["model=mlp", "loss=bce", "seed=4"], images=7, val_elbo=-109.0)
    assert list_columns() == ({"images"}, True)


def test_jobs_are_ranked_by_the_monitor_of_the_objective(sweep, make_run):
    for name, value in (("13", -50.0), ("14", -40.0)):
        words = ["model=mlp", "loss=bce", "objective=iwae"]
        make_run(name, words, monitor="val/iw_bound", val_iw_bound=value, val_elbo="absent")
    jobs = [job for job in read_report_jobs(sweep) if job.name in ("13", "14")]
    assert [(job.name, job.rank, job.values["val"]) for job in jobs] == [
        ("14", 1, -40.0),
        ("13", 2, -50.0),
    ]
    assert jobs[0].group.endswith("ranked by val/iw_bound")
    assert "elbo" in jobs[0].values


def test_missing_metrics_are_not_zero(sweep, make_run):
    absent = dict.fromkeys(("elbo", "kl", "nll", "val_elbo"), "absent")
    make_run("13", ["objective=autoencoder"], monitor="val/log_p", val_log_p=None, **absent)
    (job,) = [job for job in read_report_jobs(sweep) if job.name == "13"]
    assert job.rank is None
    assert not {"elbo", "kl", "nll", "val"} & job.values.keys()
    assert make_rate_distortion_chart([job, job]) is None
    write_report(sweep)


def test_mean_and_standard_error():
    mean = compute_mean_and_error([1.0, 2.0, 6.0])
    assert (mean.mean, mean.n) == (3.0, 3)
    assert mean.error == pytest.approx(math.sqrt(7 / 3))  # ((4 + 1 + 9) / 2 / 3)^(1/2)
    assert compute_mean_and_error([5.0]).error is None


def test_means_are_over_seeds_with_the_same_settings_and_group(sweep, page):
    seed_groups = average_over_seeds(read_report_jobs(sweep))
    by_choice = {tuple(seed_group.choices.values()): seed_group for seed_group in seed_groups}
    assert set(by_choice) == {(m, loss) for m in ("mlp", "conv") for loss in ("bce", "mse")}
    mlp = by_choice["mlp", "bce"]  # jobs 0, 1 and 2: -100, -107 and -102
    assert mlp.seeds == ["0", "1", "2"]
    assert mlp.means["val"].mean == -103.0
    assert mlp.means["val"].error == pytest.approx(math.sqrt(13 / 3))
    best = [seed_group.means["val"].mean for seed_group in seed_groups[:2]]
    assert best == sorted(best, reverse=True)
    assert "\N{MINUS SIGN}103.00 ± 2.08" in page(write_report(sweep)).text


def test_incomparable_jobs_have_no_mean(make_run, tmp_path):
    for seed, pixels in enumerate(("binary", "levels")):
        make_run(str(seed), [f"seed={seed}"], pixels=pixels)
    assert average_over_seeds(read_report_jobs(tmp_path)) == []


def test_single_seeds_have_no_means(make_run, tmp_path):
    for number, beta in enumerate((1, 2, 4)):
        make_run(str(number), [f"kl.beta={beta}", f"seed={number}"])
    assert average_over_seeds(read_report_jobs(tmp_path)) == []


def test_failed_job_is_shown_with_its_reason_and_has_a_page(sweep, page):
    html = page(write_report(sweep))
    assert "13 jobs, 1 of them failed" in html.text
    assert "latent_dim=0: <b>no</b>" in html.text
    assert html.find("a", href="12/report.html")
    assert "No result: latent_dim=0" in page(sweep / "12" / "report.html").text


def test_multirun_without_finished_jobs_has_a_page(make_run, tmp_path, page):
    make_run("0", ["seed=0"], failure="no")
    (tmp_path / "1" / ".hydra").mkdir(parents=True)
    (tmp_path / "1" / ".hydra" / "overrides.yaml").write_text("- seed=1\n")
    text = page(write_report(tmp_path)).text
    assert "2 jobs, 2 of them failed" in text
    assert "it was interrupted" in text


def test_each_row_has_the_command_that_repeats_the_job(sweep, page):
    html = page(write_report(sweep))
    for job in read_report_jobs(sweep):
        assert html.find("button", title=job.run.command)
    command = "python train.py -m model=mlp,conv loss=bce,mse seed=0,1,2"
    assert html.find("button", **{"data-copy": command})


def test_posterior_collapse_is_marked_in_the_table(sweep, make_run, page):
    assert "Posterior collapse" not in page(write_report(sweep)).text
    make_run("13", ["model=mlp", "loss=bce", "seed=9"], kl=0.001, active_units=0)
    html = page(write_report(sweep))
    assert "Posterior collapse in 1 of 14 jobs (13)" in html.text
    assert len(html.find("span", **{"class": "mark"})) == 1


def list_finished_jobs(folder, loss="bce"):
    jobs = read_report_jobs(folder)
    return [job for job in jobs if job.run.options.get("loss") == loss and not job.failure]


def test_rate_distortion_lines_have_the_elbo_of_their_label(sweep):
    jobs = list_finished_jobs(sweep)
    chart = make_rate_distortion_chart(jobs)
    assert chart is not None
    lines, labels, points = (layer["data"]["values"] for layer in chart["layer"])
    assert {point["job"]: (point["x"], point["y"]) for point in points} == {
        job.name: (job.values["kl"], job.values["reconstruction"]) for job in jobs
    }
    assert len(labels) >= 3
    totals = [line["x"] + line["y"] for line in lines]
    x, y = (chart["encoding"][axis]["scale"]["domain"] for axis in "xy")
    for label in labels:
        elbo = -float(label["label"].removeprefix("ELBO \N{MINUS SIGN}"))
        assert label["x"] + label["y"] == pytest.approx(-elbo)
        assert sum(total == pytest.approx(-elbo) for total in totals) == 2
        assert x[0] <= label["x"] <= x[1]
        assert y[0] <= label["y"] <= y[1] + 1e-9


def test_rate_distortion_points_are_coloured_by_the_first_setting(sweep):
    chart = make_rate_distortion_chart(list_finished_jobs(sweep))
    assert chart is not None
    colour = chart["layer"][-1]["encoding"]["color"]
    assert colour["scale"] == {"domain": ["conv", "mlp"], "range": ["var(--c1)", "var(--c2)"]}
    assert colour["legend"]["title"] == "model"


def test_charts_have_the_palette_of_the_figures(sweep):
    text = write_report(sweep).read_text()
    for number, colour in enumerate(PALETTE[:6], 1):
        assert f"--c{number}: {colour};" in text
    for stage, colour in STAGE_COLOURS.items():
        assert f"--{stage}: {colour};" in text


def test_parallel_coordinates_show_varied_settings_and_the_metric(sweep):
    jobs = list_finished_jobs(sweep)
    chart = make_parallel_coordinates(jobs, "val/elbo")
    assert chart is not None
    axes = chart["encoding"]["x"]["scale"]["domain"]
    assert axes == ["model", "seed", "validation ELBO \N{UPWARDS ARROW}"]
    assert find_varied_keys(jobs) == ["model", "seed"]
    lines, labels = (layer["data"]["values"] for layer in chart["layer"])
    best = {line["axis"]: line["y"] for line in lines if line["job"] == jobs[0].name}
    assert best["seed"] == 0.0  # seed 0
    strengths = {line["job"]: line["strength"] for line in lines}
    assert max(strengths, key=strengths.__getitem__) == jobs[0].name
    choices = [label["choice"] for label in labels if "choice" in label]
    assert choices == ["0:conv", "0:mlp", "1:0", "1:1", "1:2"]
    assert make_parallel_coordinates(jobs[:1], "val/elbo") is None


def test_hostile_settings_are_escaped(sweep, make_run, page):
    plain = page(write_report(sweep))
    make_run("13", [f"model={HOSTILE}", f"{HOSTILE}=1", "loss=bce"])
    make_run("14", ["model=a", "loss=bce"], failure=HOSTILE)
    words = [f"model={HOSTILE},b"]
    OmegaConf.save({"hydra": {"overrides": {"task": words}}}, sweep / "multirun.yaml")
    html = page(write_report(sweep))
    assert html.text.count("alert(1)") > 5
    assert len(html.find("script")) == len(plain.find("script"))
    assert not [image for image in html.find("img") if "src" in image]
    assert not [
        name for _, attributes in html.elements for name in attributes if name.startswith("on")
    ]
    assert_self_contained(html)
    charts = [
        json.loads(element["data-chart"]) for element in html.find("div") if "data-chart" in element
    ]
    assert len(charts) == 4
    assert HOSTILE in {row.get("choice") for row in charts[1]["layer"][-1]["data"]["values"]}
    (images,) = re.findall(r'id="images">(.*?)</script>', html.source)
    assert set(json.loads(images)) == {str(number) for number in range(14)} - {"12"}


def test_first_images_of_the_best_jobs_are_kept_if_there_are_too_many(sweep, monkeypatch, page):
    monkeypatch.setattr("vaelab.report.sweep.embed_images", partial(embed_images, max_images=14))
    html = page(write_report(sweep))
    assert "10 figures do not fit" in html.text
    (text,) = re.findall(r'id="images">(.*?)</script>', html.source)
    shown = {job: [image["name"] for image in row] for job, row in json.loads(text).items()}
    both = ["figures/reconstructions.png", "figures/samples.png"]
    best = [job.name for job in read_report_jobs(sweep)][:2]
    assert all(row == (both if job in best else both[:1]) for job, row in shown.items())
    assert len(shown) == 12


@pytest.mark.slow
def test_thirty_jobs_with_large_images_stay_under_five_megabytes(make_run, tmp_path, page):
    for number in range(30):
        folder = make_run(str(number), [f"seed={number}"])
        for name in ("samples", "reconstructions"):
            write_image(folder / "figures" / f"{name}.png", edge=320, seed=number)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.png")) > 5e6
    path = write_report(tmp_path)
    assert path.stat().st_size < 5e6
    assert "do not fit" not in page(path).text


def render(page, tmp_path):
    """Return the page after headless Chromium has run its scripts."""
    quiet = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/browser"]
    done = subprocess.run(
        [str(CHROMIUM), *quiet, "--virtual-time-budget=5000", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    path = tmp_path / "rendered.html"
    path.write_text(done.stdout)
    return path


def add_to_body(markup, path):
    """Return the source of a page with markup before its end; a script may contain </body>, too."""
    head, end, tail = path.read_text().rpartition("</body>")
    return head + markup + end + tail


def run_script(script, path, page, tmp_path):
    """Return the parsed page after a script has simulated a user."""
    text = add_to_body(f"<script>{script}</script>", path)
    text = re.sub(r"<meta http-equiv.*?>", "", text)  # the policy would block our script
    (tmp_path / "with_script.html").write_text(text)
    return page(render(tmp_path / "with_script.html", tmp_path))


@pytest.mark.slow
@needs_chromium
@pytest.mark.parametrize("clicks", [1, 2])
def test_click_sorts_within_each_group_with_missing_values_last(
    sweep, make_run, page, tmp_path, clicks
):
    make_run("13", ["model=mlp", "loss=bce"], choices={"model": "mlp"}, kl="absent")
    click = "document.querySelector('th[data-column=kl] button').click();"
    html = run_script(click * clicks, write_report(sweep), page, tmp_path)
    bce, mse = ["0", "1", "2", "6", "7", "8"], ["3", "4", "5", "9", "10", "11"]
    bce, mse = (bce, mse) if clicks == 1 else (bce[::-1], mse[::-1])
    assert [name for _, name in list_rows(html)] == [*bce, "13", *mse, "12"]
    (head,) = html.find("th", **{"data-column": "kl"})
    assert head["aria-sort"] == ("ascending" if clicks == 1 else "descending")


@pytest.mark.slow
@needs_chromium
def test_two_selectable_jobs_are_shown_side_by_side(sweep, page, tmp_path):
    path = write_report(sweep)
    choose = "const s = document.querySelector('select'); s.value = '5';"
    html = run_script(f"{choose} s.dispatchEvent(new Event('change'))", path, page, tmp_path)
    assert [image["title"] for image in html.find("img") if "title" in image] == [
        name for name in ("figures/reconstructions.png", "figures/samples.png") for _ in (5, 1)
    ]
    other = page(render(path, tmp_path))
    assert len([image for image in other.find("img") if "title" in image]) == 4


def list_dim_jobs(html):
    rows = [row for row in html.find("tr") if "data-job" in row]
    return {row["data-job"] for row in rows if "dim" in (row.get("class") or "").split()}


@pytest.mark.slow
@needs_chromium
def test_click_on_a_setting_dims_other_jobs(sweep, page, tmp_path):
    script = """setTimeout(() => {
      const texts = [...document.querySelectorAll(".jobs-chart .mark-text.role-mark text")];
      const text = texts.find((text) => text.textContent === "conv");
      for (const name of ["pointerdown", "pointerup", "click"]) {
        text.dispatchEvent(new PointerEvent(name, { bubbles: true }));
      }
    }, 2000);"""
    path = write_report(sweep)
    assert list_dim_jobs(page(render(path, tmp_path))) == set()
    html = run_script(script, path, page, tmp_path)
    assert list_dim_jobs(html) == {"0", "1", "2", "3", "4", "5", "12"}


@pytest.mark.slow
@needs_chromium
def test_charts_are_drawn_under_the_content_security_policy(sweep, make_run, page, tmp_path):
    make_run("13", [f"model={HOSTILE}", "loss=bce", "seed=0"], choices={"model": "mlp"})
    make_run("<img src=x>", ["model=conv", "loss=bce", "seed=1"], choices={"model": "conv"})
    for path, charts in ((write_report(sweep), 4), (write_report(sweep / "0"), 4)):
        html = page(render(path, tmp_path))
        assert len(html.find("svg", **{"class": "marks"})) == charts
        assert len(html.find("script")) == len(page(path).find("script"))
        assert all(image.get("src", "data:").startswith("data:") for image in html.find("img"))


@pytest.mark.slow
@needs_chromium
def test_content_security_policy_blocks_other_scripts(sweep, page, tmp_path):
    path = write_report(sweep)
    untrusted = (
        "<script>document.title = 'untrusted'</script><img src=x onerror=\"document.title='x'\">"
    )
    (tmp_path / "more.html").write_text(add_to_body(untrusted, path))
    html = page(render(tmp_path / "more.html", tmp_path))
    title = re.search(r"<title>(.*?)</title>", html.source)
    assert title is not None
    assert title[1].endswith("vaelab multirun")
    assert [image for image in html.find("img") if image.get("src", "").startswith("data:")]


QUICK = ("trainer=smoke", "samples=1", "logger=csv", "trainer.accelerator=cpu")


@pytest.mark.slow
def test_multirun_writes_a_report(command, tmp_path, page):
    words = ["-m", "model.hidden=[4],[8]", "latent_dim=2,0", *QUICK, "hydra.sweep.dir=here"]
    status, output = command("train.py", *words)
    assert status == 1
    assert output.splitlines()[-2:] == [str(tmp_path / "here/report.html"), str(tmp_path / "here")]
    html = page(tmp_path / "here" / "report.html")
    assert "4 jobs, 2 of them failed" in html.text
    assert "latent_dim=0: it must be at least 1" in html.text
    for job in range(4):
        assert (tmp_path / "here" / str(job) / "report.html").exists()
    assert_self_contained(html)


@pytest.mark.slow
def test_distributed_multirun_writes_one_report_per_job(shell, tmp_path):
    words = ["-m", "trainer=ddp", "seed=0,1", "trainer.max_epochs=1", "model.hidden=[4]"]
    few = ["trainer.limit_train_batches=2", "samples=1", "logger=csv", "hydra.sweep.dir=here"]
    output = shell("train.py", *words, *few)
    assert output.count("report.html") == 3  # of each job, and of the multirun


@pytest.mark.slow
def test_report_script_rewrites_all_pages(shell, sweep, tmp_path):
    output = shell("scripts/report.py", str(sweep), str(sweep / "0"))
    assert output.splitlines() == [str(sweep / "report.html"), str(sweep / "0" / "report.html")]
    assert len(list(tmp_path.rglob("report.html"))) == 14
