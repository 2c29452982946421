"""The forward pass over packed scenes, on transformers' own modules."""

from __future__ import annotations

import torch
from transformers import Idefics3ForConditionalGeneration

from tools.train_builtin.samples import IGNORED


def answer_logits(
    model: Idefics3ForConditionalGeneration, batch: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (N, vocabulary) and labels (N,) at the N positions that predict an answer token."""
    inner = model.model
    embedded = inner.text_model.get_input_embeddings()(batch["ids"])
    is_image = (batch["ids"] == model.config.image_token_id).unsqueeze(-1)
    embedded = embedded.masked_scatter(is_image, image_features(model, batch["pixels"]))
    hidden = inner.text_model(
        inputs_embeds=embedded,
        attention_mask=block_mask(batch["segments"]),
        position_ids=batch["positions"],
        use_cache=False,
    ).last_hidden_state
    wanted = batch["labels"] != IGNORED
    return model.lm_head(hidden[wanted]), batch["labels"][wanted]


def image_features(model: Idefics3ForConditionalGeneration, pixels: torch.Tensor) -> torch.Tensor:
    """Embeddings (B, image tokens, text width) of uint8 pixels (B, edge, edge, 3)."""
    scaled = normalise(pixels)
    patches = scaled.shape[-1] // model.config.vision_config.patch_size
    everywhere = torch.ones(
        (scaled.shape[0], patches, patches), dtype=torch.bool, device=pixels.device
    )
    seen = model.model.vision_model(pixel_values=scaled, patch_attention_mask=everywhere)
    features: torch.Tensor = model.model.connector(seen.last_hidden_state)
    return features


def normalise(pixels: torch.Tensor) -> torch.Tensor:
    """What the processor makes of resized pixels: (B, 3, edge, edge), -1 … 1."""
    return (pixels.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5


def block_mask(segments: torch.Tensor) -> torch.Tensor:
    """Additive mask (B, 1, L, L): each position sees the prefix and its own question so far."""
    length = segments.shape[1]
    past = torch.ones((length, length), dtype=torch.bool, device=segments.device).tril()
    own = segments[:, :, None] == segments[:, None, :]
    allowed = past & (own | (segments[:, None, :] == 0))
    blocked = torch.finfo(torch.float32).min
    mask = torch.zeros(allowed.shape, device=segments.device)
    return mask.masked_fill(~allowed, blocked).unsqueeze(1)
