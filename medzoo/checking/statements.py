"""What an entry states: nothing left to do, licences, data, a family that exists, weights of the stated hash."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from medzoo import catalog, zoo
from medzoo import weights as weights_module
from medzoo.catalog import Located
from medzoo.checking.finding import Finding, broken, failed, one_line, passed, skipped
from medzoo.entry import Entry, HttpSource, HubSource, LocalSource, PackageSource, Source
from medzoo.errors import CheckpointError, IntegrityError, WeightsError

_TO_DO = re.compile(r"(?<![A-Za-z])TODO(?![A-Za-z])")
_OFFLINE = "HF_HUB_OFFLINE"


@contextmanager
def network(*, off: bool) -> Iterator[None]:
    """Switches the network off for the block, by the variable that everything reads."""
    before = os.environ.get(_OFFLINE)
    if off:
        # The client of the Hub reads the variable once, when it is imported: inside of the block, and it would stay
        # without a network for the rest of the process.
        import_module("huggingface_hub.constants")
        os.environ[_OFFLINE] = "1"
    try:
        yield
    finally:
        if off and before is None:
            del os.environ[_OFFLINE]
        elif off:
            os.environ[_OFFLINE] = str(before)


def pinned(address: str, entry: Entry) -> str:
    """The address of a Hub repository with the commit that its entry was read from, so that all checks see the same."""
    repo = address.removeprefix("hf://").rstrip("/").partition("@")[0]
    hub = [source for source in entry.weights if isinstance(source, HubSource)]
    commits = {source.revision for source in hub if source.repo == repo}
    return f"hf://{repo}@{commits.pop()}" if len(commits) == 1 and None not in commits else address


def to_do(located: Located) -> Finding:
    """Whether anything drafted was left as it was: the word TODO in the entry, or in the code of its family."""
    if located.path is not None:
        text, name = catalog.text_of(located.path), str(located.path)
    else:
        text, name = located.entry.model_dump_json(indent=1), located.entry.model_id
    places = _marked(text, name)
    code = _code_of(located.entry.family)
    if code is not None:
        places += _marked(code.read_text(encoding="utf-8"), str(code))
    return failed("to do", "TODO is left in " + "; ".join(places)) if places else passed("to do", "nothing is left")


def licence(located: Located) -> Finding:
    """Whether the licences of weights and data are stated; null is honest, and does not count as a failure."""
    stated = located.entry.license.model_dump()
    unknown = [f"license.{what}" for what, words in stated.items() if words is None]
    empty = [f"license.{what}" for what, words in stated.items() if words is not None and not words.strip()]
    if any(words is not None and _TO_DO.search(words) for words in stated.values()):
        return skipped("licence", "still to do")
    if empty:
        return failed("licence", f"{', '.join(empty)} is empty; state it, or null where it is not known")
    if unknown:
        return skipped("licence", f"{', '.join(unknown)}: null, so not known; medzoo publish wants it stated")
    return passed("licence", f"weights {stated['weights']}; data {stated['data']}")


def data(located: Located) -> Finding:
    """Whether it is said what the model learned from."""
    stated = located.entry.training_data
    if not stated.datasets and not (stated.about or "").strip():
        return failed("data", "training_data: name the data sets, or say in 'about' what the model learned from")
    if any(_TO_DO.search(words) for words in (*stated.datasets, stated.about or "")):
        return skipped("data", "still to do")
    images = "number of images not known" if stated.images is None else f"{stated.images} images"
    return passed("data", f"{', '.join(stated.datasets) or 'see about'}; {images}")


def family(located: Located) -> Finding:
    from medzoo.families import get_family

    try:
        get_family(located.entry.family)
    except Exception as error:  # whatever a family under construction raises
        return failed("family", broken(error))
    return passed("family", located.entry.family)


def sources(located: Located) -> list[Finding]:
    """One finding for each place that the weights may come from; what is available is fetched and hashed."""
    if not located.entry.weights:
        return [failed("weights", "the entry states no source of weights; add one under 'weights'")]
    return [_source(source, located) for source in located.entry.weights]


def _source(source: Source, located: Located) -> Finding:
    where = _place(source)
    if source.part is not None:
        where = f"{source.part}: {where}"
    alone = located.entry.model_copy(update={"weights": (source,)})
    try:
        got = zoo.fetch_part(replace(located, entry=alone), source.part)
    except (IntegrityError, CheckpointError) as error:
        return failed("weights", f"{where}: {_why(error)}")
    except WeightsError as error:
        if weights_module.network_is_off() and isinstance(source, HubSource | HttpSource):
            return skipped("weights", f"{where}: not looked at, the network is off")
        return failed("weights", f"{where}: {_why(error)}")
    if isinstance(source, HubSource | HttpSource) and _place(source) not in got.source:
        return skipped("weights", f"{where}: not fetched, a file of this hash is here already (from {got.source})")
    stated = f"sha256 {got.sha256[:12]}..." if source.sha256 else f"no hash is stated; the file has sha256 {got.sha256}"
    return passed("weights", f"{where}: {stated}")


def _place(source: Source) -> str:
    match source:
        case PackageSource():
            return source.file
        case HubSource():
            return f"{source.repo}@{source.revision or 'main'}/{source.file}"
        case HttpSource():
            return source.url
        case LocalSource():
            return source.path
    raise TypeError(type(source).__name__)


def _why(error: WeightsError) -> str:
    """The reason of the one source, without the frame that is meant for several."""
    lines = [line.strip() for line in str(error).splitlines() if line.startswith("  ")]
    return lines[0].partition(": ")[2] if lines else one_line(error)


def _marked(text: str, name: str) -> list[str]:
    lines = [str(number) for number, line in enumerate(text.splitlines(), 1) if _TO_DO.search(line)]
    return [f"{name}, line{'s' * (len(lines) > 1)} {', '.join(lines)}"] if lines else []


def _code_of(name: str) -> Path | None:
    from medzoo.families import get_family

    try:
        file = inspect.getsourcefile(get_family(name))
    except Exception:  # which ``family`` tells
        return None
    return None if file is None else Path(file)
