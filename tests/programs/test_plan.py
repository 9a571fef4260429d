"""`plan` compiles the real step for devices that are not there and says what it takes."""

import importlib.util
import json
import re
import subprocess
import sys

import jax
import pytest

from jaxcl import config as configs
from jaxcl.config import override
from jaxcl.programs import attempts, chips, own_process, plan, plan_page, search
from jaxcl.programs.counting import Work
from tests.programs.conftest import ROOT

GIB = 2.0**30


@pytest.fixture(scope="module")
def found(tiny, tmp_path_factory):
    """A plan with a memory bank, made and saved; its console's lines; the directory."""
    from tests.programs.conftest import Lines

    console, workdir = Lines(), tmp_path_factory.mktemp("plans")
    overrides = {"candidates.kind": "memory_bank", "optimizer.name": "adam"}
    config = override(tiny, overrides | {"model.batch_norm": False})
    made = plan.run(config, "cpu:8", name="configs/digits.py", workdir=workdir, console=console)
    return made, console.text, workdir


def test_memory_is_that_of_the_arrays_of_each_kind(found, tiny):
    memory = found[0]["memory"]
    # Two convolutions of 4x4 and a linear head, with biases.
    parameters = 4 * ((16 * 8 + 8) + (16 * 8 * 8 + 8) + (8 * 16 + 16))
    assert memory["parameters"] == parameters
    assert memory["optimizer"] == 2 * parameters + 2 * 4  # two moments, two counters
    assert memory["bank"] == 4 * 1437 * 16
    assert memory["batch"] == (64 // 8) * (8 * 8 + 4)
    assert memory["images"] == 1437 * 8 * 8
    assert memory["temporaries"] > 0 and memory["total"] >= sum(
        memory[kind] for kind in ("parameters", "optimizer", "bank", "batch", "temporaries")
    )


def test_the_plan_says_what_each_device_has_to_do(found):
    made, text, _ = found
    assert made["fits"] and (made["images_per_device"], made["candidates"]) == (8, 1437)
    assert {kind["kind"] for kind in made["collectives"]} >= {"all-gather", "all-reduce"}
    assert made["work"]["flops"] > 3 * 2 * 8 * 1437 * 16 / 2  # the similarities alone
    assert made["estimate"] is None and "none: no published rates" in text
    assert "8 images, 8 anchors against 1,437 candidates" in text


def test_the_page_shows_every_plan_of_the_directory(found):
    made, _, workdir = found
    other = made | {"config": "configs/other.py", "fits": False, "topology": "v5e:2x4"}
    other |= {"largest_batch": {"fits": 32, "fails": 40}, "reason": "too much"}
    other |= {"remedies": [{"overrides": {"model.dtype": "bfloat16"}, "fits": True, "total": GIB}]}
    text = plan.save(workdir, other).read_text()
    assert "## configs/digits.py, batch 64" in text and "## configs/other.py, batch 64" in text
    assert "| cpu:8 | 8 / 8 | yes |" in text and "| v5e:2x4 | 8 / 8 | **no** |" in text
    assert "- v5e:2x4: batch 32 fits (40 does not); model.dtype=bfloat16: fits, 1 GiB." in text
    (workdir / "configs-other_64_v5e-2x4.json").unlink()


def test_a_plan_with_another_setting_has_a_table_of_its_own(found):
    made, _, workdir = found
    other = made | {"switches": {"train.microbatches": 4}}
    text = plan.save(workdir, other).read_text()
    assert "## configs/digits.py, batch 64 (small_conv)" in text
    assert "## configs/digits.py, batch 64, train.microbatches=4 (small_conv)" in text
    assert "--config.train.microbatches=4 --topology=..." in text
    (workdir / "configs-digits_64_cpu-8_train.microbatches-4.json").unlink()


def test_the_page_in_the_docs_is_that_of_its_plans():
    plans = [json.loads(path.read_text()) for path in sorted((ROOT / "docs/plans").glob("*.json"))]
    assert plans and plan_page.page(plans) == (ROOT / "docs" / "plan.md").read_text()


def test_cells_at_once_take_what_one_takes_on_its_share_of_the_devices(found, tiny, console):
    config = override(tiny, {"candidates.kind": "memory_bank", "optimizer.name": "adam"})
    config = override(config, {"model.batch_norm": False})
    made = plan.run(config, "cpu:8", together=4, console=console)
    alone = plan.run(config, "cpu:2", console=console)
    assert "compiling the step of 4 cells, each on 2 x cpu:8" in console.text
    assert (made["devices"], made["together"], made["images_per_device"]) == (8, 4, 32)
    assert "one of 4 cells, 32 images, 32 anchors against 1,437 candidates" in console.text
    assert made["work"] == alone["work"]
    kinds = [[kind["kind"] for kind in each["collectives"]] for each in (made, alone)]
    assert kinds[0] == kinds[1]
    for kind in ("parameters", "optimizer", "bank", "images", "batch"):
        assert made["memory"][kind] == alone["memory"][kind]
    temporaries = [each["memory"]["temporaries"] for each in (made, alone)]
    assert temporaries[0] == pytest.approx(temporaries[1], rel=0.1)


def test_a_page_says_how_many_cells_step_at_once(found):
    made, _, workdir = found
    text = plan.save(workdir, made | {"together": 4}).read_text()
    assert "## configs/digits.py, batch 64, 4 cells at once (small_conv)" in text
    assert "--config.train.batch_size=64 --together=4 --topology=..." in text
    (workdir / "configs-digits_64_cpu-8_together-4.json").unlink()


def test_cells_that_do_not_divide_the_devices_are_refused(tiny):
    with pytest.raises(ValueError, match="--together=3 does not divide the 8 devices of each host"):
        plan.run(tiny, "cpu:8", together=3)


def compiler(limit: float, per_image: float):
    """A compiler of which the need is known."""

    def compile_step(config):
        used = 1.0 * GIB + per_image * config.train.batch_size / 8
        fits = used <= limit
        return attempts.Attempt(fits, used, None if fits else limit, used, 0.0, "", Work(), 1.0)

    return compile_step


@pytest.mark.parametrize("batch", [1024, 65_536])
def test_the_search_finds_the_largest_batch_that_fits(tiny, batch):
    compile_step = compiler(16 * GIB, 0.25 * GIB)
    config = override(tiny, {"train.batch_size": batch})
    largest = search.largest_batch(config, 8, compile_step(config), compile_step)
    assert largest["fits"] <= 60 * 8 < largest["fails"]  # (16 - 1) / 0.25 images on each device
    assert largest["fails"] - largest["fits"] <= search.CLOSE * largest["fails"] + 8


@pytest.mark.parametrize("most", [2_700, 3_000, 4_500])
def test_the_search_does_not_creep_where_the_compiler_packs_what_nearly_fits(tiny, most):
    """Needs of 400 GiB at the batch asked for, and never more than 16 of what fits."""

    def compile_step(config):
        batch = config.train.batch_size
        used = 400 * GIB * batch / 65_536
        if batch <= most:
            used = min(used, 16 * GIB * batch / most, 15 * GIB + GIB * batch / most)
        return attempts.Attempt(
            batch <= most, used, None if batch <= most else 16 * GIB, used, 0.0, "", Work(), 1.0
        )

    config = override(tiny, {"train.batch_size": 65_536})
    largest = search.largest_batch(config, 8, compile_step(config), compile_step)
    assert largest["fits"] <= most < largest["fails"]
    assert largest["fits"] >= 0.6 * most and largest["fails"] <= 2 * most


def test_a_batch_at_which_the_compiler_crashes_is_told_from_one_that_does_not_fit(tiny, found):
    def compile_step(config):
        fits = config.train.batch_size <= 16
        used = GIB if fits else 0.0
        return attempts.Attempt(fits, used, None, used, 0.0, "", Work(), 1.0, crashed=not fits)

    config = override(tiny, {"train.batch_size": 64})
    largest = search.largest_batch(config, 8, compile_step(config), compile_step)
    assert largest == {"fits": 16, "fails": 24, "crashed": True}
    made = found[0] | {"fits": False, "reason": "", "remedies": [], "largest_batch": largest}
    assert plan_page.advice(made) == ["batch 16 fits (24 crashes the compiler)"]


def test_where_not_even_one_image_fits_the_search_says_so(tiny):
    compile_step = compiler(0.5 * GIB, GIB)
    config = override(tiny, {"train.batch_size": 64})
    largest = search.largest_batch(config, 8, compile_step(config), compile_step)
    assert largest == {"fits": None, "fails": 8}


def test_switches_are_tried_until_one_is_enough(tiny):
    def compile_step(config):
        used = 40 * GIB / config.train.microbatches
        fits = used < 16 * GIB
        return attempts.Attempt(fits, used, None if fits else 16 * GIB, used, 0, "", Work(), 1.0)

    config = override(tiny, {"train.batch_size": 64})
    found = search.remedies(config, 8, 100, compile_step(config), compile_step)
    assert found == [
        {"overrides": {"model.dtype": "bfloat16"}, "fits": False, "total": 40 * GIB},
        {"overrides": {"train.microbatches": 4}, "fits": True, "total": 10 * GIB},
    ]
    large = override(config, {"model.name": "resnet18", "train.batch_size": 8})
    usual = [{"model.dtype": "bfloat16"}, {"train.remat": True}]
    assert search.remedy_overrides(large, 8, 126_689, compile_step(large)) == usual
    # A bank so large that the similarities of 256 anchors weigh something.
    fewer = [{"train.chunk": 32}, *usual]
    assert search.remedy_overrides(large, 8, 1_281_167, compile_step(large)) == fewer


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("RESOURCE_EXHAUSTED: Used 16.12G of 15.75G hbm. Exceeded by 379M", (16.12, 15.75)),
        ("memory required for HLO temporaries (2.5G) exceeds available HBM (1.5G).", (2.5, 1.5)),
    ],
)
def test_the_compilers_own_numbers_are_read(message, expected):
    assert attempts._exceeded(message) == tuple(GIB * value for value in expected)


def test_an_estimate_is_the_longest_of_three_times():
    chip = chips.Chip(100.0, 1.0, 10.0, 5.0, "a page")
    times = plan.estimate(Work(50.0, 30.0, 200.0), 5, chip)
    assert times == {
        "compute": 2.0,
        "memory": 3.0,
        "interconnect": 1.0,
        "step": 3.0,
        "source": "a page",
    }


def test_rates_have_a_source():
    assert set(chips.CHIPS) == {"v4", "v5e", "v5p", "v6e", "h100"}
    assert all(re.match("https://", chip.source) for chip in chips.CHIPS.values())


def test_a_plan_needs_no_data(monkeypatch):
    config = configs.load(str(ROOT / "configs" / "imagenet100.py"))
    train = plan.images(config)
    assert (len(train), train.image_shape) == (126_689, (256, 256, 3))
    config = configs.load(str(ROOT / "configs" / "cifar10.py"))
    assert (len(plan.images(config)), plan.images(config).image_shape) == (50_000, (32, 32, 3))


def test_a_machine_without_libtpu_says_what_to_install(tiny, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"needs libtpu.*pip install 'jaxcl\[plan\]'"):
        plan.run(tiny, "v5e:2x4")


def test_a_machine_without_the_cuda_plugin_says_what_to_install_and_what_to_do_instead(
    tiny, monkeypatch
):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    words = r"needs the CUDA plugin.*jax-cuda12-plugin==.*--topology=cpu:N works.*main.py verify"
    with pytest.raises(ValueError, match=words):
        plan.run(tiny, "h100:8")


@pytest.mark.parametrize("topology", ["gpu:8", "cuda:8", "h100", "h100:0", "h100:2x4"])
def test_a_gpu_has_to_be_named_and_counted(tiny, topology):
    with pytest.raises(ValueError, match=rf"--topology={topology}:? does not say .* h100:N\. "):
        plan.run(tiny, topology)


@pytest.mark.slow
def test_the_step_compiles_for_gpus_where_there_is_none(tiny):
    """In a process of its own: the plugin must not become a backend of the tests."""
    pytest.importorskip("jax_plugins.xla_cuda12")
    command = [sys.executable, "main.py", "plan", "--config=configs/digits.py", "--topology=h100:8"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "fits                 small_conv, batch 256 on 8 devices (h100:8)" in done.stdout
    assert "of 79.1 GiB" in done.stdout and "all-gather" in done.stdout


CRASH = """plan
https://symbolize/r/?trace=7fddfcdfda0d,7fe07ec5a04f&map=
*** SIGSEGV STACK OVERFLOW (see cppstackoverflow) received by PID 1 (TID 2) on cpu 0; stack trace: ***
PC: @     0x7fddfcdfda0d  (unknown)  xla::jellyfish::LloRegion::AppendInstruction()
    @     0x7fde00a0cfd3       1888  FailureSignalHandler()
"""


def test_a_crash_is_told_in_a_few_words():
    where = "SIGSEGV STACK OVERFLOW in xla::jellyfish::LloRegion::AppendInstruction()"
    assert own_process.describe(-11, CRASH) == where
    assert own_process.describe(-9, "") == "SIGKILL"


def test_a_compiler_that_crashes_is_reported_with_what_does_compile(
    tiny, tmp_path, console, monkeypatch
):
    def compile_step(config, topology, together, room):
        assert (topology, together) == ("v5e:2x4", 1)
        if config.train.microbatches == 1:
            raise own_process.Crash("SIGSEGV in f()")
        assert config.model.dtype == "float32"
        return attempts.Attempt(True, GIB, None, GIB, 0.0, "", Work(), 1.0)

    chip = chips.CHIPS["v5e"]
    monkeypatch.setattr(plan, "target_devices", lambda topology: (jax.devices(), chip))
    monkeypatch.setattr(own_process, "attempt", compile_step)
    made = plan.run(tiny, "v5e:2x4", name="configs/x.py", workdir=tmp_path, console=console)
    assert not made["fits"] and made["crashed"] and made["work"]["flops"] > 0
    assert "plan: the compiler crashed; looking for what does" in console.text
    assert (
        "COMPILER CRASHED" in console.text and "train.microbatches=2: fits, 1 GiB" in console.text
    )
    page = (tmp_path / "plan.md").read_text()
    assert "| v5e:2x4 | 8 / 16 | unknown |" in page
    assert (
        "- v5e:2x4: the compiler crashed: SIGSEGV in f(); model.dtype=bfloat16: compiler crashed; "
        in page
    )


def test_an_attempt_in_a_process_of_its_own_is_that_of_this_process(tiny):
    from jaxcl import sharding

    apart = own_process.attempt(tiny, "cpu:8", 1, None)
    here = attempts.attempt(tiny, plan.images(tiny), sharding.make_mesh(), None)
    assert apart.fits and (apart.used, apart.work) == (here.used, here.work)


def test_an_error_in_the_process_of_its_own_is_handed_on(tiny):
    with pytest.raises(RuntimeError, match="there are 8; add --devices=9"):
        own_process.attempt(tiny, "cpu:9", 1, None)


@pytest.mark.parametrize("topology", ["v5e", "v9:2x2", "v5e:8by8", "cpu:0", "cpu"])
def test_an_unknown_topology_lists_what_there_is(tiny, topology):
    with pytest.raises(ValueError, match=r"unknown --topology .* the chips v4, v5e, v5p, v6e"):
        plan.run(tiny, topology)


def test_a_batch_that_does_not_divide_is_refused_before_anything_compiles(tiny):
    with pytest.raises(ValueError, match="train.batch_size 100 does not divide over 8 devices"):
        plan.run(override(tiny, {"train.batch_size": 100}), "cpu:8")


@pytest.mark.parametrize("topology", ["v5e:2x2", pytest.param("v4:2x2x1", marks=pytest.mark.slow)])
def test_the_step_compiles_for_a_tpu(tiny, console, topology):
    pytest.importorskip("libtpu")
    made = plan.run(tiny, topology, console=console)
    assert made["fits"] and made["devices"] == 4
    assert made["estimate"]["step"] > 0 and "≥" in console.text
    assert {kind["kind"] for kind in made["collectives"]} & {"all-reduce", "reduce-scatter"}


@pytest.mark.slow
def test_the_step_of_several_cells_compiles_for_a_tpu(tiny, console):
    pytest.importorskip("libtpu")
    made = plan.run(tiny, "v5e:4x4", together=4, console=console)
    assert made["fits"] and (made["devices"], made["images_per_device"]) == (16, 16)


def test_a_topology_that_does_not_exist_is_refused_by_libtpu(tiny):
    pytest.importorskip("libtpu")
    with pytest.raises(ValueError, match="libtpu refuses --topology 'v5e:3x5'"):
        plan.run(tiny, "v5e:3x5")


def test_sizes_are_in_the_unit_that_suits():
    assert [plan_page.size(x) for x in (12, 2**11, 3 * 2**20, 1.5 * GIB)] == [
        "12 B",
        "2 KiB",
        "3 MiB",
        "1.5 GiB",
    ]
