"""The built-in question set: drawn scenes and questions about them, made on demand from a seed."""

from vqa_engine.questions.shapes.dataset import ShapesSet

__all__ = ["ShapesSet"]
