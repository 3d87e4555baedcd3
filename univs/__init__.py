"""UniVS: prompts become queries, queries become masks, masks become the next frame's prompts."""

__version__ = "0.1.0"
