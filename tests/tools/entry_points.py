"""Packages that look installed: a ``*.dist-info`` folder with entry points, on the path of Python."""

from __future__ import annotations

import tomllib
from pathlib import Path


def install(site: Path, project: Path) -> None:
    """What ``pip install -e`` of a drafted project leaves in ``site``: metadata, and the project on the path.

    Put ``site`` and the project on ``sys.path``, or into ``PYTHONPATH``.
    """
    fields = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    write_entry_points(site, fields["name"], fields["entry-points"])


def write_entry_points(site: Path, name: str, groups: dict[str, dict[str, str]]) -> None:
    """The metadata of a distribution with entry points: group -> name -> value."""
    folder = site / f"{name.replace('-', '_')}-0.1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n")
    lines = [
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in points.items())
        for group, points in groups.items()
    ]
    (folder / "entry_points.txt").write_text("\n".join(lines))
