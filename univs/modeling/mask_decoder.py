"""The mask decoder: learnable and prompt queries become masks, classes and identities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from fvcore.common.registry import Registry
from torch import Tensor, nn

from univs.errors import UserError
from univs.layers.draws import Draws
from univs.layers.positions import clip_time_code, grid_code, video_time_code
from univs.modeling.decoder_layers import BLOCKED, SEPARATED, DecoderLayer, attention_pattern
from univs.modeling.heads import (
    INITIAL_TEMPERATURE,
    DenseGate,
    PredictionHeads,
    average_with_best,
    prompt_similarity,
)
from univs.modeling.prompt_encoder import PromptEncoder, PromptEncoderSettings, PromptFrame, VisualPromptSettings
from univs.modeling.prompt_queries import InitialQueries, PromptQueries
from univs.structures import ClipPrediction, FrameFeatures, PromptTokens

MASK_DECODER_REGISTRY = Registry("MASK_DECODER")
MASK_DECODER_REGISTRY.__doc__ = "Mask decoders, built from MaskDecoderSettings and a Draws object."

NUM_LEVELS = 3
EVERY = slice(None)


@dataclass(frozen=True)
class MaskDecoderSettings:
    """Sizes and options of the mask decoder; the defaults are those of the published models.

    prompt_layers: layers, from the first, with prompt cross-attention; -1 all.
    query_attention: what queries see of each other (see `attention_pattern`).
    temporal_positions: "ArbitraryT" (frame number of the video) or "FixedT" (place in the clip).
    permute_training_masks: in training each frame's masks are made with the queries of another frame.
    dense_memory: prompts may bring mask logits of a dense memory; dense_dim: width of what it reads per object, or 0.
    """

    hidden_dim: int = 256
    num_queries: int = 200
    num_heads: int = 8
    feedforward_dim: int = 2048
    num_layers: int = 9
    prompt_layers: int = -1
    text_dim: int = 640
    query_attention: str = SEPARATED
    temporal_positions: str = "ArbitraryT"
    language_to_vision: bool = True
    permute_training_masks: bool = True
    visual_prompts: VisualPromptSettings = VisualPromptSettings()
    dense_memory: bool = False
    dense_dim: int = 0

    def __post_init__(self) -> None:
        attention_pattern(self.query_attention, expressions=False)  # refuses unknown names
        if self.temporal_positions not in ("ArbitraryT", "FixedT"):
            raise UserError(f"Temporal positions are 'ArbitraryT' or 'FixedT', not '{self.temporal_positions}'.")
        if self.prompt_layers == 0:
            raise UserError(
                "The first decoder layer must read the prompts; set the number of prompt layers to 1 or more."
            )
        if self.hidden_dim % self.num_heads or self.hidden_dim % 4:
            raise UserError(
                f"A width of {self.hidden_dim} does not fit; use a multiple of 4 and of the {self.num_heads} heads."
            )


def attention_mask_from_logits(resized_logits: Tensor) -> Tensor:
    """Cells that a query may look at: where its mask has a probability of at least 0.5; bool, shape of the logits."""
    return resized_logits >= 0


@dataclass
class DecoderSources:
    """The maps of F = B * T frames as the decoder reads them.

    maps: per level [F, h * w, C], the level's embedding added. positions: per level [h * w, C], without time, because a
    code that all cells of a frame share cancels in the attention over them. sizes: (h, w) per level.
    mask_features: [F, C, H/4, W/4].
    """

    maps: list[Tensor]
    positions: list[Tensor]
    sizes: list[tuple[int, int]]
    mask_features: Tensor


@dataclass
class DecoderState:
    """The queries between two layers: content, position [B, T, N, C], the first ``num_learnable`` of N learnable."""

    content: Tensor
    position: Tensor
    num_learnable: int
    prompts: PromptQueries | None

    @property
    def expressions(self) -> bool:
        """Whether the prompts are expressions."""
        return self.prompts is not None and self.prompts.kind == "expression"


@dataclass
class LayerOutput:
    """What the heads make of a state: embeddings, mask_embeddings [B, T, N, C]; similarity [B, N, K] or None."""

    embeddings: Tensor
    mask_embeddings: Tensor
    similarity: Tensor | None


@MASK_DECODER_REGISTRY.register()
class MaskDecoder(nn.Module):
    """Layers of prompt cross-attention, masked image cross-attention, separated self-attention and feed-forward."""

    def __init__(self, settings: MaskDecoderSettings, draws: Draws | None = None) -> None:
        super().__init__()
        self.settings = settings
        self.draws = draws or Draws()
        dim, heads = settings.hidden_dim, settings.num_heads
        readers = settings.num_layers if settings.prompt_layers < 0 else settings.prompt_layers
        self.query_content = nn.Embedding(settings.num_queries, dim)
        self.query_position = nn.Embedding(settings.num_queries, dim)
        self.level_embedding = nn.Embedding(NUM_LEVELS, dim)
        self.prompt_encoder = PromptEncoder(
            PromptEncoderSettings(settings.text_dim, dim, heads, settings.language_to_vision, settings.visual_prompts)
        )
        self.initial_queries = InitialQueries(dim, settings.dense_dim)
        self.layers = nn.ModuleList(
            DecoderLayer(dim, heads, settings.feedforward_dim, reads_prompts=number < readers)
            for number in range(settings.num_layers)
        )
        self.heads = PredictionHeads(dim, settings.text_dim)
        self.dense_gate = DenseGate() if settings.dense_memory else None
        self._initialise()

    def _initialise(self) -> None:
        """Linear layers normal (0.02) without bias; packed attention inputs stay Xavier, embeddings standard normal."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        for temperature in (self.heads.class_temperature, self.heads.identity_temperature):
            nn.init.constant_(temperature.weight, INITIAL_TEMPERATURE)
        # what the dense memory read must only add to a trained decoder
        if self.initial_queries.dense is not None:
            nn.init.zeros_(self.initial_queries.dense.weight)

    def forward(
        self,
        features: FrameFeatures,
        prompts: PromptTokens | Sequence[PromptTokens] | None = None,
        *,
        videos: int = 1,
        discover: bool = True,
        class_embeddings: Tensor | None = None,
        auxiliary: bool = False,
        mask_queries: slice | Tensor = EVERY,
    ) -> ClipPrediction:
        """Masks, classes and identities of all queries in a clip.

        Args:
            features: maps of F = B * T frames, ordered by video, then frame: levels [F, C, h, w], mask features
                [F, C, H/4, W/4].
            prompts: tokens of K prompts of the one video, or of each of B videos (of one kind, K alike), or None.
            videos: B.
            discover: with the learnable queries. Without them only those kinds of query attention can run in which
                prompts do not see them ("sep", "sep-blocked"); the others keep them.
            class_embeddings: text embeddings [V, D] of the classes asked about; expressions are always scored against
                their own sentences.
            auxiliary: also give the predictions before each layer.
            mask_queries: rows of the N queries whose mask logits are wanted.

        Returns:
            Prediction with class logits [B, N, V], mask logits [B, N', T, H/4, W/4] and embeddings [B, N, T, C].
        """
        sources = self.sources(features)
        queries = self.prompt_queries(prompts, len(features.mask_features) // videos)
        state = self.start(queries, videos, len(features.mask_features) // videos, discover)
        attention_maps = self._attention_maps(sources, queries)
        earlier = []
        for number, layer in enumerate(self.layers):
            output = self._predict(state)
            if auxiliary:
                earlier.append(self._give_out(state, output, sources, class_embeddings, EVERY))
            level = number % NUM_LEVELS
            allowed = self._allowed(state, output, attention_maps[level], sources.sizes[level])
            state = self._run_layer(number, layer, state, sources, allowed)
        final = self._give_out(state, self._predict(state), sources, class_embeddings, mask_queries)
        final.auxiliary = earlier
        return final

    def sources(self, features: FrameFeatures) -> DecoderSources:
        """The maps of all frames with their level embeddings, as tokens."""
        maps = [
            level.flatten(2).transpose(1, 2).contiguous() + embedding
            for level, embedding in zip(features.levels, self.level_embedding.weight, strict=True)
        ]
        sizes = [(level.shape[-2], level.shape[-1]) for level in features.levels]
        codes = [grid_code(*size, maps[0].shape[-1], maps[0].device) for size in sizes]
        positions = [code.flatten(1).t().to(maps[0].dtype) for code in codes]
        return DecoderSources(maps, positions, sizes, features.mask_features)

    def time_codes(self, frame_indices: Tensor) -> Tensor:
        """Codes [T, C] of the times of a clip's frames; ``frame_indices`` [T] are their numbers in the video."""
        dim = self.settings.hidden_dim
        if self.settings.temporal_positions == "FixedT":
            return clip_time_code(len(frame_indices), dim, frame_indices.device)
        return video_time_code(frame_indices, dim)

    def prompt_frame(self, level: Tensor, cell_time: Tensor, point_time: Tensor | None = None) -> PromptFrame:
        """What prompts read of one frame: ``level`` [C, H/8, W/8] is its finest map, the times [C] are `time_codes`.

        ``point_time``: time of points where it differs from that of the cells.
        """
        source = level + self.level_embedding.weight[-1][:, None, None]
        positions = grid_code(*level.shape[-2:], level.shape[0], level.device) + cell_time[:, None, None]
        return PromptFrame(source, positions.to(source.dtype), cell_time if point_time is None else point_time)

    def prompt_queries(
        self, prompts: PromptTokens | Sequence[PromptTokens] | None, frames: int
    ) -> PromptQueries | None:
        """Initial prompt queries of clips of ``frames`` frames; None where there are no prompts."""
        if isinstance(prompts, PromptTokens):
            prompts = [prompts]
        if not prompts or not len(prompts[0].features):
            return None
        return self.initial_queries(prompts, frames, self.draws)

    def start(self, prompts: PromptQueries | None, videos: int, frames: int, discover: bool) -> DecoderState:
        """The queries before the first layer: learnable ones, then prompt queries that have read their prompts once.

        From here on a prompt query's position is what it had then become.
        """
        state = DecoderState(self.query_content.weight[:0], self.query_position.weight[:0], 0, prompts)
        if discover or self._pattern(state) not in (SEPARATED, BLOCKED):
            state.num_learnable = self.settings.num_queries
            state.content, state.position = self.query_content.weight, self.query_position.weight
        shape = (videos, frames, -1, -1)
        state.content, state.position = state.content.expand(shape), state.position.expand(shape)
        if prompts is not None:
            content = _read_prompts(self.layers[0], prompts.content, prompts.position, prompts)
            state.content = torch.cat([state.content, content], 2)
            state.position = torch.cat([state.position, content], 2)
        return state

    def _pattern(self, state: DecoderState) -> str:
        return attention_pattern(self.settings.query_attention, state.expressions)

    def _run_layer(
        self, number: int, layer: DecoderLayer, state: DecoderState, sources: DecoderSources, allowed: Tensor
    ) -> DecoderState:
        """One layer; ``allowed`` [F, N, h * w] are the cells each query may look at."""
        content, position, learnable = state.content, state.position, state.num_learnable
        if number > 0 and layer.prompt_attention is not None and state.prompts is not None:
            prompts = _read_prompts(layer, content[:, :, learnable:], position[:, :, learnable:], state.prompts)
            content = torch.cat([content[:, :, :learnable], prompts], 2)
        level = number % NUM_LEVELS
        seen = layer.image_attention(
            content.flatten(0, 1), sources.maps[level], position.flatten(0, 1), sources.positions[level], allowed
        )
        content = layer.query_attention(seen.view(content.shape), position, learnable, self._pattern(state))
        return DecoderState(layer.feed_forward(content), position, learnable, state.prompts)

    def _predict(self, state: DecoderState) -> LayerOutput:
        """Embeddings of all queries; what training and expressions do to the masks is done to the mask embeddings."""
        embeddings = self.heads.norm(state.content)
        mask_embeddings = self.heads.mask_embedding(embeddings)
        similarity = None
        if self.training and self.settings.permute_training_masks:
            order = self.draws.permutation("mask_embed_frames", mask_embeddings.shape[1])
            mask_embeddings = mask_embeddings[:, order.to(mask_embeddings.device)]
        if not self.training and state.expressions and state.num_learnable:
            similarity = prompt_similarity(embeddings, state.num_learnable)
            mask_embeddings = average_with_best(mask_embeddings, similarity, state.num_learnable)
        return LayerOutput(embeddings, mask_embeddings, similarity)

    @torch.no_grad()
    def _attention_maps(
        self, sources: DecoderSources, prompts: PromptQueries | None
    ) -> list[tuple[Tensor, Tensor | None]]:
        """Per level, the mask features [F, C, h * w] and dense logits [B, T, K, h * w] resized to it.

        Resizing is linear, so that resized features give the resized mask logits without making the large ones.
        """
        dense = self._dense_logits(prompts)
        return [(_resized(sources.mask_features, size), _resized(dense, size)) for size in sources.sizes]

    def _dense_logits(self, prompts: PromptQueries | None) -> Tensor | None:
        """Mask logits [B, T, K, H/4, W/4] of the dense memory where the model and the prompts have one."""
        if self.dense_gate is None or prompts is None or prompts.dense_logits is None:
            return None
        return prompts.dense_logits.transpose(1, 2)

    @torch.no_grad()
    def _allowed(
        self, state: DecoderState, output: LayerOutput, maps: tuple[Tensor, Tensor | None], size: tuple[int, int]
    ) -> Tensor:
        """Cells [F, N, h * w] that each query may look at: its own mask, or everything where that is empty."""
        logits = self._mask_logits(output.mask_embeddings, *maps, state.num_learnable)
        logits = logits.unflatten(3, size).transpose(1, 2)  # [B, N, T, h, w]
        allowed = attention_mask_from_logits(logits).transpose(1, 2).flatten(3).flatten(0, 1)
        return allowed | ~allowed.any(-1, keepdim=True)

    def _mask_logits(self, embeddings: Tensor, maps: Tensor, dense: Tensor | None, num_learnable: int) -> Tensor:
        """Mask logits [B, T, N, P] of embeddings [B, T, N, C] on maps [F, C, P], with dense logits [B, T, K, P]."""
        logits = (embeddings.flatten(0, 1) @ maps).unflatten(0, embeddings.shape[:2])
        if dense is None:
            return logits
        joined = self.dense_gate(logits[:, :, num_learnable:], dense)
        return torch.cat([logits[:, :, :num_learnable], joined], 2)

    def _give_out(
        self,
        state: DecoderState,
        output: LayerOutput,
        sources: DecoderSources,
        class_embeddings: Tensor | None,
        mask_queries: slice | Tensor,
    ) -> ClipPrediction:
        """The prediction of one layer."""
        embeddings, masks = output.embeddings, output.mask_embeddings
        if state.expressions:
            classes = self.heads.expression_logits(embeddings, state.prompts.sentences)
        elif class_embeddings is not None:
            classes = self.heads.class_logits(embeddings, class_embeddings)
        else:
            classes = embeddings.new_zeros(len(embeddings), embeddings.shape[2], 0)
        rows = torch.arange(masks.shape[2])[mask_queries]
        learnable = int((rows < state.num_learnable).sum())
        dense = self._dense_logits(state.prompts)
        if dense is not None:
            dense = dense[:, :, rows[learnable:] - state.num_learnable].flatten(3)
        if len(rows) < masks.shape[2]:
            masks = masks[:, :, rows]
        logits = self._mask_logits(masks, sources.mask_features.flatten(2), dense, learnable)
        return ClipPrediction(
            class_logits=classes,
            mask_logits=logits.unflatten(3, sources.mask_features.shape[-2:]).transpose(1, 2),
            embeddings=embeddings.transpose(1, 2),
            num_learnable=state.num_learnable,
            similarity=output.similarity,
            mask_embeddings=output.mask_embeddings.transpose(1, 2),
            contents=state.content.transpose(1, 2),
        )


def _read_prompts(layer: DecoderLayer, content: Tensor, position: Tensor, prompts: PromptQueries) -> Tensor:
    """Prompt cross-attention of one layer, without positions where the tokens have none; [B, T, K, C]."""
    own = None if prompts.token_keys is None else position
    return layer.prompt_attention(content, own, prompts.tokens, prompts.token_keys)


def _resized(maps: Tensor | None, size: tuple[int, int]) -> Tensor | None:
    """Maps [..., H, W] resized bilinearly to (h, w) and flattened, [..., h * w].

    To resize by a whole even number is to average the two middle rows and columns of each cell.
    """
    if maps is None:
        return None
    height, width = maps.shape[-2:]
    step = height // size[0]
    if step % 2 == 0 and (height, width) == (step * size[0], step * size[1]):
        before, after = slice(step // 2 - 1, None, step), slice(step // 2, None, step)
        rows = maps[..., before, :] + maps[..., after, :]
        return ((rows[..., before] + rows[..., after]) / 4).flatten(-2)
    flat = maps.flatten(0, -4) if maps.dim() > 4 else maps
    resized = F.interpolate(flat, size=size, mode="bilinear", align_corners=False)
    return resized.flatten(2).view(*maps.shape[:-2], -1)
