"""Encoders and heads. The only folder that imports flax; it knows nothing of losses, data or devices."""

from jaxcl.models.build import MODELS, Model, Outputs, build_model, count_parameters

__all__ = ["MODELS", "Model", "Outputs", "build_model", "count_parameters"]
