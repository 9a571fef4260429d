"""Tables, figures and the page, made from the files that programs wrote.

Imports NumPy, matplotlib and the standard library; never jax.
"""
