"""Images: where they come from, in which order, and how they are augmented.

Nothing here knows a model, a loss or a configuration.
"""
