"""The claims program: judges every claim of the paper on the runs below a root."""

from __future__ import annotations

from pathlib import Path

from jaxcl.reporting.claims import evaluate_claims, judged
from jaxcl.reporting.report import write_claims
from jaxcl.reporting.runs import collect_runs
from jaxcl.reporting.studies import build_studies


def run(root: str | Path) -> Path:
    """Writes report/claims.md below `root` and prints one line a claim.

    Args:
      root: a directory with runs at any depth.

    Returns:
      The path of claims.md.

    Raises:
      ValueError: `root` is not a directory.
    """
    root = Path(root)
    if not root.is_dir():
        raise ValueError(
            f"claims: {str(root)!r} is not a directory; give the one that holds the runs"
        )
    studies = build_studies(collect_runs(root))
    for study in judged(studies):
        print(study.title)
        for number, (claim, evidence) in enumerate(evaluate_claims(study), start=1):
            print(f"  {number:2d} {evidence.verdict:16s} {claim.statement}: {evidence.number}")
    if not judged(studies):
        print("claims: no study with two temperatures yet")
    return write_claims(root / "report", studies)
