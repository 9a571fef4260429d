"""Images: where they come from, in which order, and how they are augmented. It knows no model, loss or configuration."""
