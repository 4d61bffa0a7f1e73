"""Entry: the frozen, strict, validated record of one model.

One YAML file of ``registry/models`` is one Entry. Unknown fields are errors, every field is stated
(null where unknown), and nothing here touches torch, the disk or the network.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from medzoo import cards, conditions
from medzoo.text import one_line

if TYPE_CHECKING:
    ConditionKind = str
else:
    ConditionKind = Literal[tuple(conditions.KINDS.builtin())]  # the files of medzoo/conditions

PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Md5 = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
ModelId = Annotated[str, Field(pattern=r"^[0-9]{5}_[A-Z0-9][A-Z0-9_-]*$")]
# Samplers of diffusion models. To add one, name it here and write it in ``medzoo/diffusion/samplers.py``.
SamplerName = Literal["ddpm", "ddim", "dpm++", "heun"]
SAMPLERS: tuple[SamplerName, ...] = get_args(SamplerName)
NoiseName = Literal["const", "random", "none"]
NOISES: tuple[NoiseName, ...] = get_args(NoiseName)


def _inside(path: str) -> str:
    if "\\" in path or ":" in path or {"", ".", ".."} & set(path.split("/")):
        raise ValueError(f"expected a name inside the repository, such as weights/model.pt, found '{path}'")
    return path


def _without_credentials(url: str) -> str:
    if "@" in url.split("/")[2]:
        raise ValueError("url must not hold a user name or a password: entries are shown and shared")
    return url


def _plain(value: Any, where: str = "config") -> Any:
    """Only what JSON holds too: numbers, text, true, false, null, lists and mappings of them."""
    if isinstance(value, dict):
        if wrong := [key for key in value if not isinstance(key, str)]:
            raise ValueError(f"{where}: names must be text, found {wrong[0]!r}")
        for key, item in value.items():
            _plain(item, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for item in value:
            _plain(item, where)
    elif not isinstance(value, str | int | float | None):
        raise ValueError(f"{where}: expected numbers, text, lists or mappings, found {type(value).__name__}")
    return value


# A file or a branch of a repository: joined to folders of this machine, so it must not lead out of them.
InsideRepo = Annotated[str, AfterValidator(_inside)]


def _tuples(value: Any) -> Any:
    """A list as a tuple, and so the lists in it. A mapping stays as it is: the fields of another library's class."""
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value


class Record(BaseModel):
    """Base of every part of an entry: frozen, strict about types, closed to unknown fields."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    # YAML has lists only; a frozen record holds tuples, at every depth, so that it can be compared and hashed.
    # (A validator on the model, not on "*": pydantic refuses field validators on ``kind``, which tells the sources of
    # weights apart.)
    @model_validator(mode="before")
    @classmethod
    def _lists_are_tuples(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {name: _tuples(value) for name, value in data.items()}


class Output(Record):
    """What one sample is.

    Attributes:
        type: ``image``, ``image+mask``, ``mask``, ``volume`` or ``volume+mask``.
        size: (height, width), or (depth, height, width) of a volume, in pixels; null where unknown.
        channels: image channels (mask channels not counted).
        masks: mask channels, 0 for none. In the network's output they follow the image channels.
        mask_names: what each mask channel shows, in their order, such as "grey matter"; null where not stated.
        range: (low, high) raw network values that become 0 and 1; values outside are clipped.
        spacing: pixel or voxel size in millimetres, in the order of ``size``; null where unknown.
    """

    type: Literal["image", "image+mask", "mask", "volume", "volume+mask"]
    size: tuple[int, ...] | None
    channels: Annotated[int, Field(ge=0)]
    masks: Annotated[int, Field(ge=0)]
    range: tuple[float, float]
    spacing: tuple[float, ...] | None
    mask_names: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Output:
        dims = 3 if self.type.startswith("volume") else 2
        if self.size is not None and (len(self.size) != dims or min(self.size) < 1):
            raise ValueError(f"size of type '{self.type}' needs {dims} positive numbers, found {list(self.size)}")
        if self.spacing is not None and (self.size is None or len(self.spacing) != len(self.size)):
            raise ValueError("spacing needs as many numbers as size")
        if ("mask" in self.type) != (self.masks > 0):
            raise ValueError(f"type '{self.type}' and masks: {self.masks} contradict each other")
        if (self.type == "mask") != (self.channels == 0):
            raise ValueError(f"type '{self.type}' and channels: {self.channels} contradict each other")
        if self.mask_names is not None and len(self.mask_names) != self.masks:
            raise ValueError(f"mask_names: {len(self.mask_names)} names for masks: {self.masks}")
        if self.range[0] >= self.range[1]:
            raise ValueError(f"range needs low < high, found {list(self.range)}")
        return self


class Attribute(Record):
    """One numeric attribute that a model is conditioned on, for example an age offset in years.

    ``default`` is taken where the caller gives none; null where the caller has to, or the family draws it.
    """

    name: str
    low: float | None
    high: float | None
    unit: str | None
    default: float | None = None


class Condition(Record):
    """What a model needs beside noise.

    Attributes:
        kind: ``class``, ``mask``, ``image``, ``images``, ``attributes`` or ``text``; see ``medzoo.conditions``.
        classes: names in the order of their indices, for kind ``class``.
        inputs: names of the images expected, for kinds ``mask``, ``image`` and ``images``.
        channels: channels of each input image; null where unknown or not an image.
        size: (height, width) that input images are brought to; null for as they are.
        window: (low, high) in the units of the input files that become black and white; null for the full range.
        axis: plane of the slices that volumes are cut into, ``axial``, ``coronal`` or ``sagittal``; null for axial.
        slice: of volumes, the one slice to take, counted from 0; null for all.
        range: (low, high) that black and white become for the network.
        attributes: numbers that go in, alone (kind ``attributes``) or beside images.
        required: false when the model also runs without it.
        about: one sentence on what the condition means and where it comes from.
    """

    kind: ConditionKind
    classes: tuple[str, ...] | None = None
    inputs: tuple[str, ...] | None = None
    channels: int | None = None
    size: tuple[PositiveInt, PositiveInt] | None = None
    window: tuple[float, float] | None = None
    axis: Literal["axial", "coronal", "sagittal"] | None = None
    slice: Annotated[int, Field(ge=0)] | None = None
    range: tuple[float, float] = (-1.0, 1.0)
    attributes: tuple[Attribute, ...] | None = None
    required: bool = True
    about: str | None = None

    @model_validator(mode="after")
    def _says_what_goes_in(self) -> Condition:
        field = conditions.kind_of(self).needs
        if field is not None and not getattr(self, field):
            raise ValueError(f"a condition of kind '{self.kind}' needs {field}")
        for name, pair in (("window", self.window), ("range", self.range)):
            if pair is not None and pair[0] >= pair[1]:
                raise ValueError(f"{name} needs low < high, found {list(pair)}")
        return self


class Sampling(Record):
    """How the authors sampled their model.

    Attributes:
        latent: distribution of the latent, ``normal`` N(0, 1) or ``uniform`` U(0, 1); null where none is drawn.
        norm_stats: batch-norm statistics, ``running`` (those stored: eval mode) or ``sample`` (those of each
            sample alone: train mode with a batch of one); null where the network has no batch norm or nobody knows.
        truncation: default truncation psi; null where it does not apply.
        steps: default number of sampler steps; null where it does not apply.
        sampler: of a diffusion model, one of ``SAMPLERS``; null where it does not apply.
        guidance: scale of classifier-free guidance, 1 for none; null where the model has none.
        strength: how much of the noise an input image gets, in (0, 1]; null where no image goes in.
        noise: injected noise, ``const`` (the maps stored with the weights), ``random`` (drawn for each sample) or
            ``none``; null where it does not apply.
    """

    latent: Literal["normal", "uniform"] | None
    norm_stats: Literal["running", "sample"] | None = None
    truncation: float | None = None
    steps: PositiveInt | None = None
    sampler: SamplerName | None = None
    guidance: Annotated[float, Field(ge=0)] | None = None
    strength: Annotated[float, Field(gt=0, le=1)] | None = None
    noise: NoiseName | None = None


TEXT = (".json", ".txt")
_INDEX = re.compile(r".*\.index(\.\w+)?\.json", re.DOTALL)


def is_index(name: str) -> bool:
    """Whether a file is called as indices of several files of numbers are: ``model.safetensors.index.json``."""
    return _INDEX.fullmatch(name) is not None


class Source(Record):
    """Fields that every source of weights has: ``sha256`` and ``size`` (bytes) of the checkpoint file itself.

    ``part`` names the file where a model needs several: the family gets all parts as one state dict, ``part.key``.
    A text file (.json, .txt: a configuration, a vocabulary) becomes one tensor of its bytes, ``part.text``.
    """

    sha256: Sha256 | None
    size: PositiveInt | None = None
    part: Annotated[str, Field(pattern=r"^[A-Za-z0-9_/-]+$")] | None = None

    @property
    def name(self) -> str:
        """Of the file itself, or where it lies."""
        raise NotImplementedError

    @property
    def is_text(self) -> bool:
        """Whether text is expected, not numbers; an index of files of numbers is none."""
        return self.name.endswith(TEXT) and not is_index(self.name)


class PackageSource(Source):
    """A file that came along with the registry; ``file`` is relative to the registry folder of the entry."""

    kind: Literal["package"]
    file: str
    sha256: Sha256

    @property
    def name(self) -> str:
        return self.file


class HubSource(Source):
    """A file of a Hugging Face Hub repository. ``revision`` is a full commit where one is known."""

    kind: Literal["hub"]
    repo: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
    revision: InsideRepo | None
    file: InsideRepo
    md5: Md5 | None = None

    @property
    def name(self) -> str:
        return self.file


class HttpSource(Source):
    """A file behind a plain URL, or the one member of a zip whose name matches the glob ``member``.

    ``sha256``, ``size`` and ``md5`` are those of the checkpoint (the member), ``archive_*`` those of the zip.
    """

    kind: Literal["http"]
    url: Annotated[str, Field(pattern=r"^https?://"), AfterValidator(_without_credentials)]
    member: str | None = None
    md5: Md5 | None = None
    archive_sha256: Sha256 | None = None
    archive_md5: Md5 | None = None

    @property
    def name(self) -> str:
        return self.member or self.url.partition("?")[0]


class LocalSource(Source):
    """A file on this machine; a relative ``path`` is relative to the YAML file."""

    kind: Literal["local"]
    path: str

    @property
    def name(self) -> str:
        return self.path


WeightSource = Annotated[
    PackageSource | HubSource | HttpSource | LocalSource,
    Field(discriminator="kind"),
]


class Checkpoint(Record):
    """How the file of weights is laid out.

    Attributes:
        container: ``safetensors``, ``torch`` (``torch.save`` of a state dict or of mappings around one), ``pickle``
            (modules, lists and numbers, read without running what is inside) or ``unknown`` where nobody could look
            inside yet.
        key: path of mapping keys to the state dict, dots between them; null when the file is the state dict.
        strip_prefix: prefix to take off every key. Keys without it are dropped if any key has it.
        ema: path to a list of tensors that replace the parameters, in the order of ``parameters()``; null for none.
    """

    container: Literal["safetensors", "torch", "pickle", "unknown"]
    key: str | None
    strip_prefix: str | None
    ema: str | None = None


class License(Record):
    """Licences, as SPDX identifiers where one fits, else in the words of the source; null where none is stated."""

    weights: str | None
    data: str | None


class TrainingData(Record):
    """What the model learned from."""

    datasets: tuple[str, ...]
    images: int | None
    public: bool | None
    about: str | None = None


class Score(Record):
    """One number with the protocol that gives it a meaning; ``protocol`` null where the source states none.

    Metrics are named as in ``medzoo rank``: FID, FID_RADIMAGENET, FD_EFFICIENTNET_LITE0, ...
    """

    metric: str
    value: float
    protocol: str | None
    source: str | None = None


class Verified(Record):
    """One thing that was checked by this project: what, how, when, and its number if it has one."""

    what: str
    how: str
    when: datetime.date
    metric: str | None = None
    value: float | None = None


class Citation(Record):
    """The publication to cite."""

    text: str | None
    doi: str | None


class Entry(Record):
    """One generator of medical images. See ``docs/registry.md`` for the YAML form.

    Attributes:
        model_id: five digits, then FAMILY_CONTENT in capitals; the name of the file.
        title: what it makes, in one line.
        family: the architecture: a file of ``medzoo/families``, or a plug-in of that name.
        modality: how images are taken: mammography, endoscopy, x-ray, brain MRI, ...
        organ: what they show; null where it is no single one.
        tags: words that ``medzoo search`` finds it by, beside those of the other fields.
        output: what one sample is.
        condition: what it takes beside noise; null for nothing.
        config: the numbers that make the network, fields of the family; null where the weights determine them.
        sampling: how samples are drawn, and the defaults of what users may choose.
        weights: sources of the same numbers, tried in this order.
        checkpoint: how the file of weights is laid out.
        license: of the weights, and of the data that they were learned from.
        training_data: what they were learned from.
        reported: scores as others published them.
        citation: what to cite.
        contact: whom to ask.
        verified: what this project checked or measured itself.
        notes: what a user has to know beside all this.
    """

    model_id: ModelId
    title: str
    family: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    modality: str
    organ: str | None
    tags: tuple[str, ...]
    output: Output
    condition: Condition | None
    config: Annotated[dict[str, Any], AfterValidator(_plain)]
    sampling: Sampling
    weights: tuple[WeightSource, ...]
    checkpoint: Checkpoint
    license: License
    training_data: TrainingData
    reported: tuple[Score, ...]
    citation: Citation | None
    contact: str | None
    verified: tuple[Verified, ...]
    notes: str | None

    @model_validator(mode="after")
    def _parts_or_none(self) -> Entry:
        if None in self.parts and len(self.parts) > 1:
            raise ValueError("weights: either every source has a part or none has")
        return self

    @staticmethod
    def blank(model_id: str, family: str, **known: Any) -> dict[str, Any]:
        """The fields of an entry as its YAML states them: null, empty or a usual value but for what is ``known``.

        >>> fields = Entry.blank("90001_DCGAN_EXAMPLE", "dcgan", organ="lung")
        >>> fields["organ"], fields["contact"], Entry.model_validate(fields).number
        ('lung', None, '90001')
        """
        fields: dict[str, Any] = {
            "model_id": model_id, "title": model_id, "family": family, "modality": "unknown", "organ": None, "tags": [],
            "output": {"type": "image", "size": None, "channels": 1, "masks": 0, "range": [-1, 1], "spacing": None},
            "condition": None, "config": {}, "sampling": {"latent": "normal"}, "weights": [],
            "checkpoint": {"container": "unknown", "key": None, "strip_prefix": None},
            "license": {"weights": None, "data": None},
            "training_data": {"datasets": [], "images": None, "public": None},
            "reported": [], "citation": None, "contact": None, "verified": [], "notes": None,
        }  # fmt: skip
        if unknown := sorted(known.keys() - fields.keys()):
            raise TypeError(f"an entry has no field {', '.join(unknown)}")
        return fields | known

    @property
    def revision(self) -> str:
        """Twelve hex digits over everything in the entry that decides a pixel.

        Titles, licences and scores may change without changing it; the family, its configuration, the way of
        sampling, the output and the hashes of the weights may not, nor, where a hash is not known, where they lie.
        """
        included = {"family", "config", "sampling", "output", "checkpoint"}
        decides = self.model_dump(mode="json", include=included, exclude={"output": {"mask_names"}}, exclude_none=True)
        decides["weights"] = sorted({self._told_by(source) for source in self.weights})
        if self.condition is not None:
            decides["condition"] = self.condition.model_dump(
                mode="json", exclude={"about", "required"}, exclude_none=True
            )
        text = json.dumps(decides, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @staticmethod
    def _told_by(source: WeightSource) -> str:
        stated = source.sha256
        if stated is None:
            stated = json.dumps(
                source.model_dump(mode="json", exclude={"part", "size"}, exclude_none=True), sort_keys=True
            )
        return stated if source.part is None else f"{source.part}: {stated}"

    def __repr__(self) -> str:
        use = ("use", f'medzoo.generate("{self.model_id}", 16)')
        return cards.text(f"{self.model_id}: {one_line(self.title)}", [*cards.facts(self), use])

    __str__ = __repr__

    def _repr_html_(self) -> str:
        return cards.card(f"{self.model_id}: {self.title}", cards.facts(self), model_id=self.model_id)

    @property
    def parts(self) -> tuple[str | None, ...]:
        """Names of the files that the weights consist of, in order; ``(None,)`` for a single one."""
        return tuple(dict.fromkeys(source.part for source in self.weights)) or (None,)

    @property
    def number(self) -> str:
        """The five digits that begin the id."""
        match = re.match(r"[0-9]{5}", self.model_id)
        assert match is not None  # ModelId's pattern
        return match.group()
