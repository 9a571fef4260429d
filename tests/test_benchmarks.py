"""What README and docs/benchmarks.md say of speed is what the committed runs printed."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGE = (ROOT / "docs/benchmarks.md").read_text()


def losses(pairs: int, run: str = "losses") -> dict[str, tuple[float, float]]:
    """Of each case that ran: (median ms, MB)."""
    text = (ROOT / f"docs/benchmarks/{run}.txt").read_text()
    table = text.split(f"N = {pairs:,} pairs\n")[1].split("\nN = ")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    return {r[0]: (float(r[1]), float(r[4])) for r in rows if re.fullmatch(r"[\d.e+]+", r[1])}


@pytest.mark.parametrize(
    ("peer", "words"),
    [
        ("plain jax.numpy", "plain `jax.numpy`"),
        ("torch cross_entropy", "PyTorch"),
        ("torch cross_entropy, compiled", "compiled PyTorch"),
        ("lightly NTXentLoss", "lightly"),
    ],
)
def test_the_readme_says_how_many_times_longer_a_peer_takes(peer, words):
    found = losses(8192)
    times = found[peer][0] / found["jaxcl symmetric_mean"][0]
    assert f"{words} {times:.1f}" in README.replace("\n", " ")


def test_the_readme_says_what_ours_takes_by_itself():
    found = losses(8192)
    milliseconds, megabytes = found["jaxcl symmetric_mean"]
    text = README.replace("\n", " ")
    assert f"{milliseconds / 1000:.2f} s and {megabytes:.0f} MB" in text
    assert found["floor: two products, one exp"][0] * 2 > milliseconds


def test_the_largest_batches_are_what_the_page_says():
    for pairs, words in ((32_768, "{:.1f} s and {:.0f} MB"), (65_536, "{:.0f} s and {:.0f} MB")):
        found = losses(pairs, "losses_large")
        milliseconds, megabytes = found.pop("jaxcl symmetric_mean")
        assert set(found) <= {"floor: two products, one exp"}
        figures = words.format(milliseconds / 1000, megabytes)
        assert f"in {figures}" in PAGE
    assert f"65,536 pairs take {figures}" in README


def test_at_every_size_the_fastest_is_ours():
    text = (ROOT / "docs/benchmarks/losses.txt").read_text()
    for pairs in re.findall(r"N = ([\d,]+) pairs", text):
        found = {name: ms for name, (ms, _) in losses(int(pairs.replace(",", ""))).items()}
        del found["floor: two products, one exp"]
        assert min(found, key=lambda name: found[name]).startswith("jaxcl "), pairs


@pytest.mark.parametrize("case", ["uniformity", "nearest", "readout", "readout-steep"])
def test_the_page_says_the_ratios_of_the_metrics(case):
    text = (ROOT / "docs/benchmarks/metrics.txt").read_text()
    ratio = re.search(rf"^{case} +ratio ([\d.]+)", text, re.MULTILINE)
    assert ratio and f"{ratio[1]} times as fast" in PAGE


def test_the_errors_at_low_temperature_are_within_their_bounds():
    page = (ROOT / "docs/numerics.md").read_text()
    verdicts = [line for line in page.splitlines() if line.startswith("- ")]
    assert len(verdicts) == 4
    assert all("within" in line and "beyond" not in line for line in verdicts)
    assert all("never NaN" in line for line in verdicts[:3])


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (
            "train_step",
            "{} times the images/s on `small_conv`, {} on ResNet-18 of half width ({} of",
        ),
        ("augment", "{} times the images/s of the best at 32 px, {} times at 96 px"),
    ],
)
def test_the_page_says_the_ratios_of_training_and_views(run, words):
    text = (ROOT / f"docs/benchmarks/{run}.txt").read_text()
    ratios = re.findall(r"^  ours / .*? +([\d.]+)$", text, re.MULTILINE)
    if run == "augment":
        ratios = [f"{float(ratio):.1f}" for ratio in ratios]
    assert words.format(*ratios) in PAGE
