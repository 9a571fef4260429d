"""The theory: gradient ratio, entropy and the shape of every loss. No data, no model.

Command: ``python main.py analyze --config=configs/theory.py --workdir=runs/theory``.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """All values are dimensionless."""
    config = ConfigDict()
    config.theory = theory = ConfigDict()
    # Wang & Liu, Figure 3, does not print its temperatures; these span those of their Table 1.
    theory.temperatures = (0.05, 0.07, 0.1, 0.2, 0.3, 0.5, 1.0)
    theory.temperature = 0.2  # at which all losses stand side by side
    return config.lock()
