"""What all kinds of conditions share: the contract, and the conditions of a run of samples.

An entry is validated with its kind, for a listing too: NumPy is imported where a condition is parsed.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from medzoo.entry import Condition
    from medzoo.imagefiles.provenance import Provenance

Read = Callable[[], "NDArray[np.float32]"]


@dataclass(frozen=True)
class Input:
    """One input image, or a volume whose slices are input images.

    Attributes:
        read: the image [C, H, W] in the range of the network; of a volume its middle slice.
        words: what it is, for people.
        name: which its output keeps.
        sha256: of what it is read from, in hex.
        depth: slices of a volume; None for an image.
        slices: some slices of a volume [k, C, H, W]; None for an image.
        provenance: where it lies, as its files say; None where they cannot.
        private: a file of a scanner, whose name may tell whose it is.
    """

    read: Read
    words: str
    name: str
    sha256: Callable[[], str]
    depth: int | None = None
    slices: Callable[[range], NDArray[np.float32]] | None = None
    provenance: Provenance | None = None
    private: bool = False


# (model id, declared, what the caller gave as images) -> one Input a sample. Reading files is not the business of a
# kind, so it is handed in.
Gather = Callable[[str, "Condition", Any], Sequence[Input]]


@dataclass(frozen=True)
class Conditions:
    """The conditions of a run of samples, each made when its batch comes.

    Attributes:
        indices: index of each sample.
        labels: class indices int64 [n]; None without any. One class for all takes the memory of one.
        classes: the words for them.
        inputs: input images; sample ``index`` gets the one at ``index % len(inputs)``.
        attributes: float32 [rows, A], in the same way; NaN where neither the caller nor the entry gives a number.
        names_of: names of the attributes.
        texts: one prompt for all, or [n] of them.
    """

    indices: range
    labels: NDArray[np.int64] | None = None
    classes: tuple[str, ...] = ()
    inputs: tuple[Input, ...] = ()
    attributes: NDArray[np.float32] | None = None
    names_of: tuple[str, ...] = ()
    texts: str | tuple[str, ...] | None = None

    def __getitem__(self, part: slice) -> Conditions:
        labels = None if self.labels is None else self.labels[part]
        texts = self.texts[part] if isinstance(self.texts, tuple) else self.texts
        return replace(self, indices=self.indices[part], labels=labels, texts=texts)

    @property
    def words(self) -> tuple[str, ...] | None:
        """What each sample is conditioned on, in words; None for nothing."""
        if self.labels is None and not self.inputs and self.attributes is None and self.texts is None:
            return None
        return tuple(", ".join(self._words(k)) for k in range(len(self.indices)))

    @property
    def names(self) -> tuple[str, ...] | None:
        """Names of the input images, which the outputs keep; None where there are none."""
        return tuple(self.input(k).name for k in range(len(self.indices))) if self.inputs else None

    @property
    def provenance(self) -> tuple[Provenance | None, ...] | None:
        """Where the input image of each sample lies; None where no file says so."""
        each = tuple(self.input(k).provenance for k in range(len(self.indices))) if self.inputs else ()
        return each if any(one is not None for one in each) else None

    @property
    def has_volumes(self) -> bool:
        """Whether inputs are volumes."""
        return any(item.depth is not None for item in self.inputs)

    def inputs_sha256(self) -> str | None:
        """Hash of the words and contents of all input images in their order; None where there are none.

        Raises OSError: a file cannot be read.
        """
        if not self.inputs:
            return None
        lines = [f"{item.sha256()} {item.words}" for item in self.inputs]
        return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()

    def input(self, k: int) -> Input:
        """The input image of the sample at position ``k``."""
        return self.inputs[self.indices[k] % len(self.inputs)]

    def rows(self) -> NDArray[np.float32] | None:
        """The numbers of each sample, float32 [n, A]; None without any."""
        import numpy as np

        if self.attributes is None:
            return None
        rows: NDArray[np.float32] = self.attributes[np.array(self.indices) % len(self.attributes)]
        return rows

    def prompts(self) -> tuple[str, ...] | None:
        """A prompt for each sample; None without any."""
        return (self.texts,) * len(self.indices) if isinstance(self.texts, str) else self.texts

    def _words(self, k: int) -> list[str]:
        words = [] if self.labels is None else [self.classes[self.labels[k]]]
        if self.texts is not None:
            words += [self.texts if isinstance(self.texts, str) else self.texts[k]]
        words += [self.input(k).words] if self.inputs else []
        if self.attributes is not None:
            row = self.attributes[self.indices[k] % len(self.attributes)]
            words += [f"{name}={value:g}" for name, value in zip(self.names_of, row, strict=True) if value == value]
        return words


class Kind(ABC):
    """One kind of condition.

    Attributes:
        needs: the field of the entry's ``condition`` that must be stated; None if there is none.
        task: what the Hugging Face Hub calls models with it (``pipeline_tag``).
        labelled: a sample has a class, which is drawn where the caller gives none.
        binary: input images are cut at half of their largest value, and Samples give their masks.
        one_each: samples are usually made one for each thing that is given, so that their number need not be stated.
    """

    needs: ClassVar[str | None] = None
    task: ClassVar[str] = "unconditional-image-generation"
    labelled: ClassVar[bool] = False
    binary: ClassVar[bool] = False
    one_each: ClassVar[bool] = True

    @abstractmethod
    def accepted(self, declared: Condition) -> str:
        """What a model takes, in words that follow "takes" or "needs"."""

    @abstractmethod
    def parse(self, model_id: str, declared: Condition, stated: Any, indices: range, gather: Gather) -> Conditions:
        """Check what the caller gave, and spread it over the samples.

        Args:
            stated: None only where the entry does not require a condition.
            gather: reads images.

        Raises ConditionError, which says what the model accepts, or ImageFileError.
        """

    @abstractmethod
    def count(self, model_id: str, declared: Condition, stated: Any, gather: Gather) -> int | None:
        """How many samples a condition lists; None where it is one for all. Raises as ``parse`` does."""

    @abstractmethod
    def from_words(self, declared: Condition, words: tuple[str, ...]) -> Any:
        """The words of ``--condition`` -> what ``parse`` takes."""

    @abstractmethod
    def example(self, declared: Condition) -> str | dict[str, str | float]:
        """What a user may begin with: a class, a prompt, a folder of images, or images and numbers by name; "" where
        nothing is needed.
        """

    @abstractmethod
    def trial(self, declared: Condition, *, prompt: str, size: tuple[int, ...], numbers: bool) -> Any:
        """Something made up that a check can run the model with.

        Args:
            prompt: a text that suits the model.
            size: of images (their last two sides) where the entry states none.
            numbers: give those without a default; False where the family draws them.
        """

    def about(self, declared: Condition) -> list[str]:
        """The lines of ``medzoo info``."""
        parts = [declared.kind]
        if declared.classes:
            parts.append(", ".join(f"{name} ({index})" for index, name in enumerate(declared.classes)))
        if declared.inputs:
            parts.append(", ".join(declared.inputs))
        lines = [": ".join(parts) + ("" if declared.required else " (optional)")]
        for attribute in declared.attributes or ():
            low = "" if attribute.low is None else f" from {attribute.low:g}"
            high = "" if attribute.high is None else f" to {attribute.high:g}"
            default = "" if attribute.default is None else f", {attribute.default:g} unless stated"
            lines.append(f"{attribute.name}{low}{high}{f' ({attribute.unit})' if attribute.unit else ''}{default}")
        return lines + ([declared.about] if declared.about else [])
