"""The theory program: seconds, no data, no model."""

import numpy as np

from jaxcl import config as configs
from jaxcl.programs import theory
from tests.programs.conftest import ROOT


def test_the_theory_config_writes_curves_that_are_the_formulas(tmp_path):
    config = configs.load(str(ROOT / "configs" / "theory.py"))
    page = theory.run(tmp_path, **config.theory)
    assert page.is_file()
    arrays = np.load(tmp_path / "theory" / "analysis.npz")
    s, taus = arrays["similarity"].astype(float), arrays["temperatures"].astype(float)
    weights = np.exp(s[None, :] / taus[:, None])
    expected = weights / weights.sum(1, keepdims=True)  # Wang & Liu, Eq. 5
    np.testing.assert_allclose(arrays["relative_penalty"], expected, rtol=2e-4, atol=1e-8)
    assert (np.diff(arrays["entropy"]) > 0).all()
