"""Run directories that another version of the programs made: keys that came later, keys that are gone."""

import json
import shutil

import pytest

from jaxcl.config import override
from jaxcl.programs import older, pretrain
from jaxcl.programs.workdir import check_same_run, load_config
from jaxcl.reporting.runs import collect_runs
from jaxcl.reporting.studies import build_studies
from tests.reporting.synthetic import write_run


@pytest.fixture
def stored(finished, tmp_path):
    """A copy of a finished run, and a function that edits its config."""
    workdir = tmp_path / "run"
    shutil.copytree(finished, workdir)
    path = workdir / "config.json"

    def edit(change) -> None:
        config = json.loads(path.read_text())
        change(config)
        path.write_text(json.dumps(config))

    return workdir, edit


def drop_later(config) -> None:
    """A run from before microbatches, the later losses' constants and the whole probe by SGD."""
    for section, name in (("train", "microbatches"), ("loss", "epsilon"), ("model", "streams")):
        del config[section][name]
    del config["candidates"], config["evaluate"]["augmentation"]


def test_a_run_from_before_a_key_is_the_same_run_at_the_keys_default(tiny, stored, console):
    workdir, edit = stored
    edit(drop_later)
    assert pretrain.run(tiny, workdir, console=console)["resumed_from"] == 6
    check_same_run(workdir, tiny)
    assert dict(load_config(workdir).train) == dict(tiny.train)
    assert load_config(workdir).candidates == tiny.candidates


def test_a_value_that_the_run_did_not_have_is_refused_by_its_name(tiny, stored):
    workdir, edit = stored
    edit(drop_later)
    config = override(tiny, {"train.microbatches": 2})
    words = r"train\.microbatches is 2 here; the run there was made before .* default 1 does"
    with pytest.raises(ValueError, match=f"another config: {words}; choose another --workdir"):
        pretrain.run(config, workdir)
    with pytest.raises(ValueError, match=words):
        check_same_run(workdir, config)


def test_a_key_that_is_gone_is_named_with_what_still_reads_the_run(tiny, stored):
    workdir, edit = stored
    edit(lambda config: config["train"].update(swapped=3))
    words = r"has train\.swapped = 3, a key that this version .* does not have; environment\.json"
    with pytest.raises(ValueError, match=words):
        pretrain.run(tiny, workdir)
    with pytest.raises(ValueError, match=rf"config\.json in {workdir} {words}"):
        load_config(workdir)


def test_a_key_of_the_evaluation_that_is_gone_is_passed_over(tiny, stored):
    workdir, edit = stored
    edit(lambda config: config["evaluate"].update(swapped=3))
    check_same_run(workdir, tiny)
    assert load_config(workdir).evaluate == tiny.evaluate


def test_runs_from_before_and_after_a_key_are_one_study(tmp_path):
    for seed in (0, 1):
        path = write_run(tmp_path, "contrastive", 0.1, seed, arrays=False) / "config.json"
        config = json.loads(path.read_text())
        config["train"] |= {"microbatches": 1} if seed else {}
        path.write_text(json.dumps(config))
    assert len(build_studies(collect_runs(tmp_path))) == 2
    runs = collect_runs(tmp_path, older.defaults())
    assert len(build_studies(runs)) == 1
    # Of a setting that no run has, nothing is said.
    assert all("remat" not in run.config["train"] for run in runs)
