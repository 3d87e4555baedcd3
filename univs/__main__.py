"""``python -m univs`` is the command ``univs``."""

import sys

from univs.cli import main

if __name__ == "__main__":
    sys.exit(main())
