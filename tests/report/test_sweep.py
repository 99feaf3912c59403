"""The page of a multirun: what is ranked, averaged, drawn and said of its jobs."""

import json
import math
import re
import shutil
import subprocess
from functools import partial

import pytest
from omegaconf import OmegaConf
from report.conftest import draw
from report.test_run import HOSTILE, asks_for_nothing

from vaelab.report.charts import parallel, rate
from vaelab.report.images import embed_images
from vaelab.report.jobs import mean_and_error, over_seeds, read_report_jobs, varied
from vaelab.report.write import write_report

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
    make_run("12", ["model=mlp", "loss=bce", "seed=3"], failed="latent_dim=0: <b>no</b>")
    return tmp_path


def rows(page):
    """Group, rank and job of each row, as the page has them from top to bottom."""
    found, group = [], ""
    for tag, attributes in page.elements:
        group = attributes.get("data-group", group)
        if tag == "tr" and "data-job" in attributes:
            found.append((group, attributes["data-job"]))
    return found


def test_only_jobs_of_one_group_are_ranked_among_each_other(sweep, page):
    jobs = read_report_jobs(sweep)
    found = page(write_report(sweep))
    order = rows(found)
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


def test_an_objective_with_another_monitor_is_ranked_by_that(sweep, make_run):
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


def test_a_number_that_is_missing_is_no_zero(sweep, make_run):
    gone = dict.fromkeys(("elbo", "kl", "nll", "val_elbo"), "absent")
    make_run("13", ["objective=autoencoder"], monitor="val/log_p", val_log_p=None, **gone)
    (job,) = [job for job in read_report_jobs(sweep) if job.name == "13"]
    assert job.rank is None
    assert not {"elbo", "kl", "nll", "val"} & job.values.keys()
    assert rate([job, job]) is None
    write_report(sweep)


def test_mean_and_standard_error_are_those_of_the_textbook():
    found = mean_and_error([1.0, 2.0, 6.0])
    assert (found.mean, found.n) == (3.0, 3)
    assert found.error == pytest.approx(math.sqrt(7 / 3))  # ((4 + 1 + 9) / 2 / 3)^(1/2)
    assert mean_and_error([5.0]).error is None


def test_means_are_over_seeds_of_the_same_choices_and_group(sweep, page):
    found = over_seeds(read_report_jobs(sweep))
    by_choice = {tuple(each.choices.values()): each for each in found}
    assert set(by_choice) == {(m, loss) for m in ("mlp", "conv") for loss in ("bce", "mse")}
    mlp = by_choice["mlp", "bce"]  # jobs 0, 1 and 2: -100, -107 and -102
    assert mlp.seeds == ["0", "1", "2"]
    assert mlp.means["val"].mean == -103.0
    assert mlp.means["val"].error == pytest.approx(math.sqrt(13 / 3))
    best = [each.means["val"].mean for each in found[:2]]
    assert best == sorted(best, reverse=True)
    assert "\N{MINUS SIGN}103.0 ± 2.1" in page(write_report(sweep)).text


def test_jobs_that_cannot_be_compared_have_no_mean(make_run, tmp_path):
    for seed, pixels in enumerate(("binary", "levels")):
        make_run(str(seed), [f"seed={seed}"], pixels=pixels)
    assert over_seeds(read_report_jobs(tmp_path)) == []


def test_without_repetition_there_are_no_means(make_run, tmp_path):
    for number, beta in enumerate((1, 2, 4)):
        make_run(str(number), [f"kl.beta={beta}", f"seed={number}"])
    assert over_seeds(read_report_jobs(tmp_path)) == []


def test_a_failed_job_is_shown_with_its_reason_and_has_a_page(sweep, page):
    found = page(write_report(sweep))
    assert "13 jobs, 1 of them failed" in found.text
    assert "latent_dim=0: <b>no</b>" in found.text
    assert found.all("a", href="12/report.html")
    assert "No result: latent_dim=0" in page(sweep / "12" / "report.html").text


def test_jobs_of_which_all_failed_or_nothing_is_left_have_a_page(make_run, tmp_path, page):
    make_run("0", ["seed=0"], failed="no")
    (tmp_path / "1" / ".hydra").mkdir(parents=True)
    (tmp_path / "1" / ".hydra" / "overrides.yaml").write_text("- seed=1\n")
    text = page(write_report(tmp_path)).text
    assert "2 jobs, 2 of them failed" in text
    assert "it was interrupted" in text


def test_each_row_has_the_command_that_repeats_it(sweep, page):
    found = page(write_report(sweep))
    for job in read_report_jobs(sweep):
        assert found.all("button", title=job.run.command)
    whole = "python train.py -m model=mlp,conv loss=bce,mse seed=0,1,2"
    assert found.all("button", **{"data-copy": whole})


def test_collapse_is_marked_in_its_row(sweep, make_run, page):
    assert "Posterior collapse" not in page(write_report(sweep)).text
    make_run("13", ["model=mlp", "loss=bce", "seed=9"], kl=0.001, active_units=0)
    found = page(write_report(sweep))
    assert "Posterior collapse in 1 of 14 jobs (13)" in found.text
    assert len(found.all("span", **{"class": "mark"})) == 1


def test_on_a_line_of_rate_and_distortion_the_elbo_is_what_it_says(sweep):
    jobs = [
        job
        for job in read_report_jobs(sweep)
        if job.run.options.get("loss") == "bce" and not job.failed
    ]
    found = rate(jobs)
    assert found is not None
    (kl_0, kl_1), (r_0, r_1) = (
        [(tick.at, float(tick.label)) for tick in (ticks[0], ticks[-1])]
        for ticks in (found.x, found.y)
    )

    def value(at, first, last):
        return first[1] + (at - first[0]) * (last[1] - first[1]) / (last[0] - first[0])

    for point in found.points:
        job = next(job for job in jobs if job.name == point.job)
        assert value(point.x, kl_0, kl_1) == pytest.approx(job.values["kl"], abs=0.02)
        assert value(point.y, r_0, r_1) == pytest.approx(job.values["reconstruction"], abs=0.05)
    assert len(found.lines) >= 3
    for line in found.lines:
        elbo = -float(line.label.replace("ELBO \N{MINUS SIGN}", ""))
        ends = [float(number) for number in re.findall(r"[\d.]+", line.d)]
        for x, y in (ends[:2], ends[2:]):
            assert value(x, kl_0, kl_1) + value(y, r_0, r_1) == pytest.approx(-elbo, abs=0.1)


def test_parallel_coordinates_have_what_varies_and_end_in_what_is_ranked(sweep):
    jobs = [
        job
        for job in read_report_jobs(sweep)
        if job.run.options.get("loss") == "bce" and not job.failed
    ]
    found = parallel(jobs, "val/elbo")
    assert found is not None
    assert [axis.key for axis in found.axes] == ["model", "seed", "val/elbo"]
    assert varied(jobs) == ["model", "seed"]
    strengths = {track.job: track.strength for track in found.tracks}
    assert max(strengths, key=strengths.__getitem__) == jobs[0].name
    assert parallel(jobs[:1], "val/elbo") is None


def test_hostile_choices_are_words_and_nothing_more(sweep, make_run, page):
    plain = page(write_report(sweep))
    make_run("13", [f"model={HOSTILE}", f"{HOSTILE}=1", "loss=bce"])
    make_run("14", ["model=a", "loss=bce"], failed=HOSTILE)
    words = [f"model={HOSTILE},b"]
    OmegaConf.save({"hydra": {"overrides": {"task": words}}}, sweep / "multirun.yaml")
    found = page(write_report(sweep))
    assert found.text.count("alert(1)") > 5
    assert len(found.all("script")) == len(plain.all("script"))
    assert not [each for each in found.all("img") if "src" in each]
    assert not [name for _, each in found.elements for name in each if name.startswith("on")]
    asks_for_nothing(found)
    (pictures,) = re.findall(r'id="pictures">(.*?)</script>', found.source)
    assert set(json.loads(pictures)) == {str(number) for number in range(14)} - {"12"}


def test_where_there_is_no_room_the_first_pictures_of_the_best_jobs_stay(sweep, monkeypatch, page):
    monkeypatch.setattr("vaelab.report.sweep.prior_on_z", partial(embed_images, most=14))
    found = page(write_report(sweep))
    assert "10 pictures found no room" in found.text
    (text,) = re.findall(r'id="pictures">(.*?)</script>', found.source)
    shown = {job: [each["name"] for each in row] for job, row in json.loads(text).items()}
    both = ["figures/reconstructions.png", "figures/samples.png"]
    best = [job.name for job in read_report_jobs(sweep)][:2]
    assert all(row == (both if job in best else both[:1]) for job, row in shown.items())
    assert len(shown) == 12


@pytest.mark.slow
def test_thirty_jobs_with_large_pictures_stay_under_five_megabytes(make_run, tmp_path, page):
    for number in range(30):
        folder = make_run(str(number), [f"seed={number}"])
        for name in ("samples", "reconstructions"):
            draw(folder / "figures" / f"{name}.png", edge=320, seed=number)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.png")) > 5e6
    path = write_report(tmp_path)
    assert path.stat().st_size < 5e6
    assert "found no room" not in page(path).text


def dumped(page, tmp_path):
    """The page as headless Chromium has it after its scripts ran."""
    quiet = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/browser"]
    done = subprocess.run(
        [str(CHROMIUM), *quiet, "--virtual-time-budget=5000", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    path = tmp_path / "dumped.html"
    path.write_text(done.stdout)
    return path


def after(script, path, page, tmp_path):
    """The page after a script of ours did what a reader does."""
    text = path.read_text().replace("</body>", f"<script>{script}</script></body>")
    text = re.sub(r"<meta http-equiv.*?>", "", text)  # which would not let it run
    (tmp_path / "used.html").write_text(text)
    return page(dumped(tmp_path / "used.html", tmp_path))


@pytest.mark.slow
@needs_chromium
@pytest.mark.parametrize("clicks", [1, 2])
def test_a_click_sorts_within_each_group_and_leaves_what_has_no_value_last(
    sweep, make_run, page, tmp_path, clicks
):
    make_run("13", ["model=mlp", "loss=bce"], choices={"model": "mlp"}, kl="absent")
    click = "document.querySelector('th[data-column=kl] button').click();"
    found = after(click * clicks, write_report(sweep), page, tmp_path)
    bce, mse = ["0", "1", "2", "6", "7", "8"], ["3", "4", "5", "9", "10", "11"]
    bce, mse = (bce, mse) if clicks == 1 else (bce[::-1], mse[::-1])
    assert [name for _, name in rows(found)] == [*bce, "13", *mse, "12"]
    (head,) = found.all("th", **{"data-column": "kl"})
    assert head["aria-sort"] == ("ascending" if clicks == 1 else "descending")


@pytest.mark.slow
@needs_chromium
def test_two_jobs_are_shown_side_by_side_and_others_can_be_chosen(sweep, page, tmp_path):
    path = write_report(sweep)
    choose = "const s = document.querySelector('select'); s.value = '5';"
    found = after(f"{choose} s.dispatchEvent(new Event('change'))", path, page, tmp_path)
    assert [each["title"] for each in found.all("img") if "title" in each] == [
        name for name in ("figures/reconstructions.png", "figures/samples.png") for _ in (5, 1)
    ]
    other = page(dumped(path, tmp_path))
    assert len([each for each in other.all("img") if "title" in each]) == 4


@pytest.mark.slow
@needs_chromium
def test_a_value_of_a_choice_leaves_its_jobs_alone(sweep, page, tmp_path):
    script = (
        "document.querySelector('text.value[data-value=conv]').dispatchEvent(new Event('click'))"
    )
    found = after(script, write_report(sweep), page, tmp_path)
    dim = {
        each["data-job"]
        for each in found.all("tr")
        if "data-job" in each and "dim" in (each.get("class") or "").split()
    }
    assert dim == {"0", "1", "2", "3", "4", "5", "12"}


@pytest.mark.slow
@needs_chromium
def test_curves_tell_their_value_at_the_pointer(make_run, page, tmp_path):
    rows = [{"step": float(n), "val/kl": 10.0 + n} for n in range(9)]
    script = (
        "const s = document.querySelector('[data-panel] svg'), b = s.getBoundingClientRect();"
        "const at = b.left + b.width * (52 + 298 / 2) / 360;"
        "s.dispatchEvent(new PointerEvent('pointermove', {clientX: at, clientY: b.top + 50}))"
    )
    path = write_report(make_run(rows=rows))
    assert "validation 18.000" in page(dumped(path, tmp_path)).text
    assert "validation 14.000" in after(script, path, page, tmp_path).text


@pytest.mark.slow
@needs_chromium
def test_no_script_but_its_own_runs_in_a_page(sweep, page, tmp_path):
    path = write_report(sweep)
    foreign = (
        "<script>document.title = 'foreign'</script><img src=x onerror=\"document.title='x'\">"
    )
    (tmp_path / "more.html").write_text(path.read_text().replace("</body>", f"{foreign}</body>"))
    found = page(dumped(tmp_path / "more.html", tmp_path))
    title = re.search(r"<title>(.*?)</title>", found.source)
    assert title is not None
    assert title[1].endswith("vaelab multirun")
    assert [each for each in found.all("img") if each.get("src", "").startswith("data:")]


QUICK = ("trainer=smoke", "samples=1", "logger=csv", "trainer.accelerator=cpu")


@pytest.mark.slow
def test_a_multirun_ends_with_its_report(command, tmp_path, page):
    words = ["-m", "model.hidden=[4],[8]", "latent_dim=2,0", *QUICK, "hydra.sweep.dir=here"]
    status, output = command("train.py", *words)
    assert status == 1
    assert output.splitlines()[-2:] == [str(tmp_path / "here/report.html"), str(tmp_path / "here")]
    found = page(tmp_path / "here" / "report.html")
    assert "4 jobs, 2 of them failed" in found.text
    assert "latent_dim=0: it must be at least 1" in found.text
    for job in range(4):
        assert (tmp_path / "here" / str(job) / "report.html").exists()
    asks_for_nothing(found)


@pytest.mark.slow
def test_several_processes_write_one_report(shell, tmp_path):
    words = ["-m", "trainer=ddp", "seed=0,1", "trainer.max_epochs=1", "model.hidden=[4]"]
    few = ["trainer.limit_train_batches=2", "samples=1", "logger=csv", "hydra.sweep.dir=here"]
    output = shell("train.py", *words, *few)
    assert output.count("report.html") == 3  # of each job, and of the multirun


@pytest.mark.slow
def test_the_script_makes_every_page_again(shell, sweep, tmp_path):
    output = shell("scripts/report.py", str(sweep), str(sweep / "0"))
    assert output.splitlines() == [str(sweep / "report.html"), str(sweep / "0" / "report.html")]
    assert len(list(tmp_path.rglob("report.html"))) == 14
