#!/usr/bin/env python3
"""Show the embedded model on the bundled clip: once from a click, a box and a sentence, once by category discovery."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from univs.cli import main as univs  # noqa: E402

CLIP = ROOT / "datasets" / "demo_clips" / "dog_walk.mp4"
OUTPUT = ROOT / "output" / "demo"
PROMPTS = [
    *("--click", "1:300,225@0", "--negative-click", "1:150,170@0", "--name", "1:dog"),
    *("--box", "2:420,32,527,116@0", "--name", "2:gate"),
    *("--text", "3:the woman in the white shirt", "--name", "3:woman"),
]
RUNS = {
    "prompts": ("from a click, a box and a sentence", PROMPTS),
    "categories": ("by category: person, dog", ["--categories", "person,dog", "--tracks"]),
}


def main() -> int:
    """Entry point; the exit code of the first run that fails, else 0."""
    for name, (title, arguments) in RUNS.items():
        print(f"\n== {title} ==", flush=True)
        code = univs(["demo", "--video", str(CLIP), *arguments, "--output", str(OUTPUT / name)])
        if code:
            return code
    folder = OUTPUT.relative_to(ROOT)
    print(
        f"\nOpen {folder}/prompts/overlay.mp4 and {folder}/categories/overlay.mp4.\n"
        "With your own video:\n"
        "  .venv/bin/univs demo --video YOUR.mp4 --click 1:320,180@0\n"
        "  .venv/bin/univs demo --video YOUR.mp4 --categories person,dog\n"
        "  .venv/bin/univs demo --help"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
