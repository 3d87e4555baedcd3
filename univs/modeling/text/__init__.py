"""Text encoders and tables of class embeddings; importing this package registers the encoders."""

from .clip_encoder import ClipTextEncoder
from .registry import TEXT_ENCODER_REGISTRY, FrozenTextEncoder, build_text_encoder
from .static_encoder import StaticTextEncoder
from .vocabulary import class_table, read_class_table

__all__ = [
    "TEXT_ENCODER_REGISTRY",
    "ClipTextEncoder",
    "FrozenTextEncoder",
    "StaticTextEncoder",
    "build_text_encoder",
    "class_table",
    "read_class_table",
]
