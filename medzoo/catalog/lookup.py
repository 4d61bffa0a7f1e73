"""Which entries fit: filters and words.

Everything here works on raw entries, that is on what the YAML files state, so that a listing needs no validation;
``list_models`` and ``search`` return validated entries.
"""

from __future__ import annotations

import operator
import re
import warnings
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from medzoo import catalog, conditions
from medzoo.arguments import hinted
from medzoo.catalog import Located, RawEntry, RegistryWarning
from medzoo.errors import EntryError, MedzooError

if TYPE_CHECKING:
    from medzoo.catalog.models import Models

CONDITIONS = ("none", *conditions.KINDS.builtin())


@hinted({"n": "a slice of the list has so many"})
def list_models(
    *,
    modality: str | None = None,
    organ: str | None = None,
    family: str | None = None,
    condition: str | None = None,
    masks: bool | None = None,
    size: str | int | None = None,
    license: str | None = None,
    offline: bool = False,
) -> Models:
    """The entries that fit all filters, sorted by id: a list that shows itself as a table.

    Where none fits, a ``RegistryWarning`` says what there is instead.

    Args:
        modality, organ: words, or their usual synonyms ("mri", "mammo").
        family: name of a family.
        condition: "none", or a kind of condition: "class", "mask", "image", "images", "attributes", "text".
        masks: True for models that make masks too, False for those that do not.
        size: ``256`` (every side), ``">=256"``, ``"<512"``, or ``"224x192"`` (height x width), in pixels.
        license: words of the licence of the weights; "none" for entries that state none.
        offline: only those whose weights are on this machine already.

    Raises:
        MedzooError: a filter that cannot be understood.
    """
    from medzoo.catalog import absent

    filters: dict[str, Any] = {
        "modality": modality, "organ": organ, "family": family, "condition": condition, "masks": masks, "size": size,
        "license": license, "offline": offline,
    }  # fmt: skip
    raw_entries = read()
    found = select(raw_entries, **filters)
    if not found:
        warnings.warn(absent.of_filters(raw_entries, filters), RegistryWarning, stacklevel=3)  # past ``hinted``
    return entries(found)


def search(text: str) -> Models:
    """The entries in which every word of ``text`` occurs, best first: "mammo mass", "chest x-ray", "polyps".

    Where none has them all, a ``RegistryWarning`` says which words may be meant.
    """
    from medzoo.catalog import absent

    raw_entries = read()
    found = find(raw_entries, text)
    if not found:
        warnings.warn(absent.of_words(raw_entries, text), RegistryWarning, stacklevel=2)
    return entries(found)


def read() -> list[RawEntry]:
    """Every raw entry; each broken file gives a ``RegistryWarning`` instead."""
    raw_entries, broken = catalog.read_all()
    for error in broken:
        warnings.warn(str(error), RegistryWarning, stacklevel=3)
    return raw_entries


def entries(raw_entries: Iterable[RawEntry]) -> Models:
    """The validated entries of raw ones; each broken file gives a ``RegistryWarning`` instead."""
    from medzoo.catalog.models import Models

    return Models(located.entry for raw in raw_entries if (located := _loaded(raw)) is not None)


def select(
    raw_entries: Iterable[RawEntry],
    *,
    modality: str | None = None,
    organ: str | None = None,
    family: str | None = None,
    condition: str | None = None,
    masks: bool | None = None,
    size: str | int | None = None,
    license: str | None = None,
    offline: bool = False,
) -> list[RawEntry]:
    """The raw entries that fit all filters; see ``list_models``."""
    if condition is not None and condition not in CONDITIONS:
        raise MedzooError(f"condition '{condition}' is not known; it is one of {', '.join(CONDITIONS)}")
    fits_size = _size_test(size)

    def fits(fields: Mapping[str, Any]) -> bool:
        return (
            (modality is None or words(modality) <= words(fields["modality"]))
            and (organ is None or words(organ) <= words(fields["organ"] or ""))
            and (family is None or _plain(family) == _plain(fields["family"]))
            and (condition is None or condition in _conditions(fields["condition"]))
            and (masks is None or masks == bool(fields["output"]["masks"]))
            and fits_size(fields["output"]["size"])
            and (license is None or _fits_license(license, fields["license"]["weights"]))
        )

    fitting = [raw for raw in raw_entries if fits(raw.fields)]
    return [raw for raw in fitting if _is_offline(raw)] if offline else fitting


def find(raw_entries: Iterable[RawEntry], text: str) -> list[RawEntry]:
    """The raw entries in which every word of ``text`` occurs, those first in which the words matter most."""
    wanted = words(text)
    scored = [(_score(wanted, raw.fields), raw) for raw in raw_entries] if wanted else []
    hits = [(score, raw) for score, raw in scored if score > 0]
    return [raw for _, raw in sorted(hits, key=lambda hit: (-hit[0], hit[1].path.stem))]


# --- words ---------------------------------------------------------------------------------------------------------

_PHRASES = (
    (re.compile(r"\bx[\s-]?ray(s?)\b"), "xray"),
    (re.compile(r"\bcxr\b"), "chest xray"),
    (re.compile(r"\bmagnetic resonance( imag(es?|ing))?\b"), "mri"),
    (re.compile(r"\bcomputed tomography\b"), "ct"),
)

# Words that mean the same to a searcher -> one of them. Mammography is of the breast, but a breast MRI is no
# mammogram: "mammo" finds the first alone, "breast" both, since every entry states its organ.
_SYNONYMS = {
    synonym: word
    for word, synonyms in {
        "mammography": "mammo mammogram mammographic mmg",
        "endoscopy": "endo endoscopic endoscope colonoscopy colonoscopic gastrointestinal gi colon bowel",
        "mri": "mr",
        "xray": "radiograph radiography radiographic",
        "chest": "thorax thoracic",
        "lung": "pulmonary",
        "heart": "cardiac",
        "tumor": "tumour",
        "ageing": "aging",
        "image": "picture",
    }.items()
    for synonym in synonyms.split()
}

# How much a word counts in each field; a word in several counts where it counts most.
_WEIGHTS = {
    "model_id": 10,
    "title": 8,
    "modality": 6,
    "organ": 6,
    "family": 6,
    "tags": 5,
    "condition": 3,
    "training_data": 3,
    "notes": 1,
}


def words(text: str) -> frozenset[str]:
    """The words of a text: lower case, singular, synonyms made one ("Chest radiographs" -> chest, xray)."""
    text = text.lower()
    for pattern, plain in _PHRASES:
        text = pattern.sub(plain, text)
    stems = (_singular(word) for word in re.findall(r"[a-z0-9]+", text))
    return frozenset(_SYNONYMS.get(stem, stem) for stem in stems)


def _singular(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("sses", "shes", "ches", "xes")):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


def _score(wanted: frozenset[str], fields: Mapping[str, Any]) -> float:
    """0 if a word occurs nowhere, else the sum over the words of the weight of the best place."""
    places = [(weight, words(_joined(fields[name]))) for name, weight in _WEIGHTS.items()]
    best = [max(weight * _occurs(word, there) for weight, there in places) for word in wanted]
    return sum(best) if min(best) > 0 else 0.0


def _occurs(word: str, there: frozenset[str]) -> float:
    """1 for the word itself, less for words that begin with it, of three letters or more."""
    if word in there:
        return 1.0
    return 0.7 if len(word) >= 3 and any(other.startswith(word) for other in there) else 0.0


def _joined(value: Any) -> str:
    """All text in a value, however nested."""
    if isinstance(value, Mapping):
        return " ".join(_joined(part) for part in value.values())
    if isinstance(value, list | tuple):
        return " ".join(_joined(part) for part in value)
    return value if isinstance(value, str) else ""


# --- filters -------------------------------------------------------------------------------------------------------

_COMPARISONS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt, "": operator.eq}


def _size_test(size: str | int | None) -> Any:
    """A function that says whether a list of sides, or None, fits."""
    if size is None:
        return lambda sides: True
    text = str(size).lower().replace(" ", "")
    if re.fullmatch(r"\d+(x\d+)+", text):
        exact = [int(side) for side in text.split("x")]
        return lambda sides: sides is not None and list(sides) == exact
    match = re.fullmatch(r"(>=|<=|>|<|)=?(\d+)", text)
    if match is None:
        raise MedzooError(f"size '{size}' is not understood; type 256, '>=256', '<512' or 224x192 (height x width)")
    compare, number = _COMPARISONS[match[1]], int(match[2])
    return lambda sides: sides is not None and all(compare(side, number) for side in sides)


def _conditions(condition: Mapping[str, Any] | None) -> set[str]:
    if condition is None:
        return {"none"}
    return {condition["kind"]} | ({"attributes"} if condition.get("attributes") else set())


def _fits_license(wanted: str, stated: str | None) -> bool:
    if wanted.lower() in ("none", "unknown"):
        return stated is None
    text = re.sub(r"\bgpl\b", "general public license", (stated or "").lower())
    return re.sub(r"\bgpl\b", "general public license", wanted.lower()) in text


def _plain(name: str) -> str:
    return name.lower().replace("-", "_").replace(" ", "_")


def _is_offline(raw: RawEntry) -> bool:
    from medzoo import weights

    located = _loaded(raw)
    return located is not None and weights.is_available_offline(located.entry, located.registry, located.path)


def _loaded(raw: RawEntry) -> Located | None:
    try:
        return raw.load()
    except EntryError as error:
        warnings.warn(str(error), RegistryWarning, stacklevel=4)
        return None
