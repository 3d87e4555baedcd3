"""Training on clips: targets, prompts, prediction and losses of a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from univs.errors import UserError
from univs.layers.draws import Draws
from univs.modeling.class_embeddings import ClassEmbeddings
from univs.modeling.losses.criterion import Criterion, CriterionSettings
from univs.modeling.losses.identity import Embeddings
from univs.modeling.losses.weights import LossWeights
from univs.modeling.mask_decoder import MaskDecoder
from univs.modeling.targets import EncodeExpressions, TargetBuilder, TargetSettings
from univs.modeling.training_prompts import TrainingPrompts, TrainingPromptSettings
from univs.structures import ClipPrediction, FrameFeatures, PromptTokens, Targets

Sample = Mapping[str, Any]


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of targets, prompts and losses.

    clip_frames: frames per clip of a long video; 0 trains on single clips. use_prompts: with prompt queries.
    """

    targets: TargetSettings = TargetSettings()
    prompts: TrainingPromptSettings = TrainingPromptSettings()
    criterion: CriterionSettings = CriterionSettings()
    weights: LossWeights = field(default_factory=LossWeights)
    clip_frames: int = 0
    use_prompts: bool = True


class ClipLosses:
    """Losses of batches of clips of one task and data set."""

    def __init__(
        self,
        decoder: MaskDecoder,
        settings: TrainingSettings,
        class_embeddings: ClassEmbeddings,
        draws: Draws,
        encode: EncodeExpressions | None = None,
    ) -> None:
        """``encode`` makes text features of expressions."""
        self.decoder = decoder
        self.settings = settings
        self.class_embeddings = class_embeddings
        self.draws = draws
        self._build_targets = TargetBuilder(settings.targets, draws, class_embeddings.num_classes, encode)
        self._make_prompts = TrainingPrompts(decoder, settings.prompts, draws)
        self._criterion = Criterion(settings.criterion, draws)

    def __call__(self, features: FrameFeatures, samples: Sequence[Sample]) -> dict[str, Tensor]:
        """Weighted losses of B samples of T frames each, from the features of the B * T frames."""
        targets = self.targets(features, samples)
        losses, _ = self.losses(features, targets, self.prompts(features, targets))
        return self.settings.weights.apply(losses)

    def targets(self, features: FrameFeatures, samples: Sequence[Sample]) -> list[Targets]:
        """Targets of the samples on the device of the features.

        Raises:
            UserError: the samples are of several tasks or data sets.
        """
        kinds = {(sample["task"], sample["dataset_name"]) for sample in samples}
        if len(kinds) > 1:
            raise UserError(f"The samples of a batch must share task and data set, but there are {sorted(kinds)}.")
        targets = self._build_targets(samples, features.padded_size)
        return [target.to(features.mask_features.device) for target in targets]

    def prompts(self, features: FrameFeatures, targets: list[Targets]) -> list[PromptTokens] | None:
        """Tokens of the prompts of every video, chosen now where the targets do not say; None without prompts."""
        nothing = targets[0].task == "grounding" and targets[0].expression_words is None
        if nothing or not self.settings.use_prompts:
            return None
        return self._make_prompts(features, targets, self._classes(features, targets))

    def losses(
        self, features: FrameFeatures, targets: list[Targets], prompts: list[PromptTokens] | None
    ) -> tuple[dict[str, Tensor], list[Embeddings]]:
        """Unweighted losses and, per layer, the embeddings with identities (see ``Criterion``)."""
        prediction = self.predict(features, targets, prompts)
        classes = self._classes(features, targets)
        columns = None if classes is None else range(len(classes))
        return self._criterion(prediction, targets, [columns] * len(targets))

    def predict(
        self, features: FrameFeatures, targets: list[Targets], prompts: list[PromptTokens] | None
    ) -> ClipPrediction:
        """What the mask decoder says in every layer; class logits [B, N, V] of the V classes of the data set."""
        return self.decoder(
            features,
            prompts,
            videos=len(targets),
            class_embeddings=self._classes(features, targets),
            auxiliary=self.settings.criterion.deep_supervision,
        )

    def _classes(self, features: FrameFeatures, targets: list[Targets]) -> Tensor | None:
        """Embeddings [V, D] of the data set's classes; None where classes do not count."""
        if targets[0].task == "grounding":
            return None
        return self.class_embeddings(targets[0].dataset_name, features.mask_features.device)
