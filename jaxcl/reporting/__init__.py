"""Tables, figures and the page: reads the files that programs wrote, and imports neither jax nor a model."""
