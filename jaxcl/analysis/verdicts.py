"""The page of verdicts on the whole family, for the documentation.

``python -m jaxcl.analysis.verdicts > docs/examine.md`` writes it; a test compares.
"""

from collections.abc import Mapping
from typing import Any

from jaxcl.analysis.examination import PROPERTIES, Examination, Verdict, examine
from jaxcl.analysis.theory import distinct_losses
from jaxcl.losses import LOSSES

# The matrices of the examination have 15 negatives; the default number would keep all of them.
CONSTANTS: Mapping[str, Mapping[str, Any]] = {
    "hard": {"num_negatives": 4},
    "hard_simple": {"num_negatives": 4},
    "fixed_entropy": {"entropy": 1.0},
}

_OPENING = """\
# Verdicts

What `jaxcl.analysis.examine` finds of every loss in `jaxcl.losses.LOSSES`. This page is generated:
`python -m jaxcl.analysis.verdicts > docs/examine.md`.

To examine a loss of your own, any function
`loss(similarities, positives, *, temperature, where) -> [n]`:

```python
from jaxcl.analysis import examine
examine(my_loss)
```

A "yes" means that no violation was found. The numbers are the largest violation on fixed random
similarities (16 anchors, 15 negatives each), relative where there is a scale to be relative to. A
dash means that the property does not apply: the loss has no temperature.
"""


def examine_family() -> dict[str, Examination]:
    """Examinations of all losses, by name; second names of one function appear once."""
    return {
        name: examine(loss, name=name, quiet=True, **CONSTANTS.get(name, {}))
        for name, loss in distinct_losses().items()
    }


def verdict_page(examinations: Mapping[str, Examination]) -> str:
    """The page as Markdown: what the properties mean, and one table a group of losses."""
    lines = [_OPENING, "## Properties", ""]
    lines += [f"- **{name}**: {meaning}." for name, meaning in PROPERTIES.items()]
    lines += ["", "## Table", ""]
    names = list(examinations)
    for start in range(0, len(names), 6):
        group = names[start : start + 6]
        lines += ["| property | " + " | ".join(f"`{name}`" for name in group) + " |"]
        lines += ["| --- |" + " --- |" * len(group)]
        for key in PROPERTIES:
            cells = [_cell(examinations[name].verdicts[key]) for name in group]
            lines += [f"| {key} | " + " | ".join(cells) + " |"]
        lines += [""]
    for name, constants in CONSTANTS.items():
        keywords = ", ".join(f"{key}={value}" for key, value in constants.items())
        lines += [f"`{name}` was examined with `{keywords}`."]
    for name, loss in LOSSES.items():
        if name not in examinations:
            first = next(other for other in examinations if LOSSES[other] is loss)
            lines += [f"`{name}` is another name of `{first}`."]
    return "\n".join(lines) + "\n"


def _cell(verdict: Verdict) -> str:
    if verdict.holds is None:
        return "-"
    if verdict.holds:
        return "yes" + (f" ({verdict.remark})" if verdict.remark else "")
    # One digit, without an exponent: 3000 and not 3e+03.
    size = f" {float(f'{verdict.violation:.1g}'):g}" if verdict.violation else ""
    return f"**no**{size}" + (f" ({verdict.remark})" if verdict.remark else "")


if __name__ == "__main__":
    print(verdict_page(examine_family()), end="")
