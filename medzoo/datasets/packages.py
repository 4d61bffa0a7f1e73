"""Reference images that come with an installed package: where they lie. Nothing of the package is imported."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Literal

from medzoo.entry import Record


class PythonPackage(Record):
    """Files in a package of PyPI.

    Attributes:
        name: of the distribution; ``version`` the one whose files were looked at.
        module: top-level name to import; ``folder`` lies in it.
        install: what to type.
    """

    kind: Literal["python"]
    name: str
    version: str
    module: str
    folder: str
    install: str

    def where(self) -> Path | None:
        """The folder, None when the package is not installed."""
        spec = importlib.util.find_spec(self.module)
        places = spec.submodule_search_locations if spec is not None else None
        return Path(next(iter(places))) / self.folder if places else None


class DebianPackage(Record):
    """Files of a package of Debian, at the same place on every machine.

    Attributes:
        name: of the package; ``version`` the one whose files were looked at.
        folder: absolute.
        install: what to type.
    """

    kind: Literal["debian"]
    name: str
    version: str
    folder: str
    install: str

    def where(self) -> Path | None:
        """The folder, None when the package is not installed."""
        return Path(self.folder) if Path(self.folder).is_dir() else None
