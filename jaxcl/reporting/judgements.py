"""The claims of all papers, judged on whatever studies there are."""

from __future__ import annotations

from collections.abc import Sequence

from jaxcl.reporting.claims import WANG_LIU
from jaxcl.reporting.claims_batches import DECOUPLED_CLAIMS
from jaxcl.reporting.claims_streams import STREAM_CLAIMS
from jaxcl.reporting.study import Study
from jaxcl.reporting.tables import Table
from jaxcl.reporting.verdicts import ClaimSet

CLAIM_SETS: tuple[ClaimSet, ...] = (WANG_LIU, DECOUPLED_CLAIMS, STREAM_CLAIMS)


def claims_tables(studies: Sequence[Study]) -> list[Table]:
    """A table for each subject of each paper's claims; the bare claims if there is none at all."""
    tables = [
        claims.table(subject) for claims in CLAIM_SETS for subject in claims.subjects(studies)
    ]
    return tables or [claims.unjudged() for claims in CLAIM_SETS]
