"""The claims program: judges every claim of the papers on the runs below a root."""

from __future__ import annotations

from pathlib import Path

from jaxcl import paths
from jaxcl.programs import older
from jaxcl.reporting.judgements import CLAIM_SETS
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
    root = paths.parse(root)
    if not root.is_dir():
        raise ValueError(
            f"claims: {str(root)!r} is not a directory; give the one that holds the runs"
        )
    studies = build_studies(collect_runs(root, older.defaults()))
    subjects = [(claims, subject) for claims in CLAIM_SETS for subject in claims.subjects(studies)]
    for claims, subject in subjects:
        print(f"{claims.citation.short}: {subject.title}")
        for number, claim in enumerate(claims.claims, start=1):
            evidence = claim.evaluate(subject)
            print(f"  {number:2d} {evidence.verdict:16s} {claim.statement}: {evidence.number}")
    if not subjects:
        print(
            "claims: no study yet with two temperatures, two batch sizes, a decoupled loss or two "
            "streams"
        )
    return write_claims(root / "report", studies)
