"""What is known of a model before it is loaded, from its configuration."""

from __future__ import annotations

import logging

from vqa_engine.adapter import ModelFacts, ModelRef
from vqa_engine.errors import CheckpointError
from vqa_engine_adapters.checkpoints.checkpoint import describe
from vqa_engine_adapters.families.family import Family

log = logging.getLogger(__name__)


def facts_of(family: Family, model: ModelRef) -> ModelFacts:
    """What a checkpoint is; what all models of `family` are where it cannot be reached.

    Only a family with relatives has to look at the checkpoint. One that belongs to no known
    family is called after the `model_type` of its `config.json`.
    """
    if not family.relatives:
        return ModelFacts(family=family.name, images=family.images)
    try:
        config = describe(family, model).config
    except CheckpointError as error:
        log.debug("the family of %s is not known: %s", model.model, error)
        return ModelFacts(family=family.name, images=family.images)
    found = family.of(config)
    return ModelFacts(family=found.name or config.get("model_type"), images=found.images)
