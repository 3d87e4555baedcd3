"""Installs the library for those who manage their own environment: ``pip install -e .`` or ``pip install .``.

``make install`` instead makes a complete, pinned environment. Detectron2 is not among the requirements, since no index
holds it in a form that pip can install: install upstream's, or run tools/install_detectron2.py.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent


def read_requirements(name: str) -> list[str]:
    """The lines of requirements/<name>.txt, without comments."""
    lines = (line.strip() for line in (ROOT / "requirements" / f"{name}.txt").read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]


EXTRAS = {name: read_requirements(name) for name in ("evaluation", "serve", "test", "train")}

setup(
    name="univs",
    version=re.search(r'__version__ = "(.+)"', (ROOT / "univs" / "__init__.py").read_text()).group(1),
    description="All video segmentation tasks in one model, prompted by clicks, boxes, masks, scribbles and text",
    long_description=(ROOT / "README.md").read_text() if (ROOT / "README.md").exists() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE", "THIRD_PARTY.md"],
    python_requires=">=3.10",
    # The configs lie beside the library, where people look for them, and inside it once it is installed.
    packages=[*find_packages(include=["univs", "univs.*"]), "univs.configs"],
    package_dir={"univs": "univs", "univs.configs": "configs"},
    package_data={
        "univs": ["data/vocabularies/*.txt", "modeling/text/*.txt", "weights/*"],
        "univs.configs": ["**/*.yaml", "*.yaml"],
    },
    install_requires=read_requirements("runtime"),
    extras_require={**EXTRAS, "all": sorted({line for lines in EXTRAS.values() for line in lines})},
    entry_points={"console_scripts": ["univs = univs.cli:main"]},
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Operating System :: MacOS",
        "Operating System :: POSIX :: Linux",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in (10, 11, 12, 13)),
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
)
