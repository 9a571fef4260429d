"""The training step and what surrounds it. Model, views and optimizer arrive as arguments; no configuration is seen."""
