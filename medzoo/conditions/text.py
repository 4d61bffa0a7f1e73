"""``kind: text``: a prompt, and an image beside it where the entry names one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from medzoo.conditions import _numbers
from medzoo.conditions._base import Conditions, Gather, Kind
from medzoo.conditions._pictures import waves
from medzoo.errors import ConditionError

if TYPE_CHECKING:
    from medzoo.entry import Condition

LONGEST = 10_000  # characters of a prompt, which every file keeps; text encoders read some 300


class Text(Kind):
    """A prompt for all samples or one for each, alone or as ``{"text": ..., IMAGE: ...}``."""

    task = "text-to-image"
    one_each = False

    def accepted(self, declared: Condition) -> str:
        beside = f", alone or as {{'text': ..., '{declared.inputs[0]}': ...}}" if declared.inputs else ""
        return f"a text: a prompt for all samples or one for each{beside}"

    def about(self, declared: Condition) -> list[str]:
        beside = f"; {', '.join(declared.inputs)} may go beside it" if declared.inputs else ""
        optional = "" if declared.required else " (optional)"
        return [f"text: a prompt{optional}{beside}", *([declared.about] if declared.about else [])]

    def parse(self, model_id: str, declared: Condition, stated: Any, indices: range, gather: Gather) -> Conditions:
        prompts, images = self._parted(model_id, declared, stated)
        if prompts is None and declared.required:
            raise ConditionError(f"{model_id} needs {self.accepted(declared)}")
        if isinstance(prompts, tuple) and len(prompts) != len(indices):
            raise ConditionError(
                f"{model_id}: {len(indices)} samples need {len(indices)} prompts or one for all, found {len(prompts)}"
            )
        inputs = () if images is None else tuple(gather(model_id, declared, images))
        return Conditions(indices, inputs=inputs, texts=prompts)

    def count(self, model_id: str, declared: Condition, stated: Any, gather: Gather) -> int | None:
        prompts, images = self._parted(model_id, declared, stated)
        inputs = () if images is None else gather(model_id, declared, images)
        counts = [len(many) for many in (prompts, inputs) if many is not None and not isinstance(many, str)]
        return max((count for count in counts if count > 1), default=None)

    def from_words(self, declared: Condition, words: tuple[str, ...]) -> Any:
        """Prompts, which may hold any sign, and NAME=FILE for an image beside them."""
        names = {*(declared.inputs or ()), *(attribute.name for attribute in declared.attributes or ())}
        named: dict[str, str] = {}
        prompts: list[str] = []
        for word in words:
            name, is_named, value = word.partition("=")
            if is_named and name in names:
                named[name] = value
            else:
                prompts.append(word.removeprefix("text="))
        prompt = prompts[0] if len(prompts) == 1 else prompts or None
        return {"text": prompt} | named if named else prompt

    def example(self, declared: Condition) -> str:
        return "a prompt"

    def trial(self, declared: Condition, *, prompt: str, size: tuple[int, ...], numbers: bool) -> Any:
        stated = {"text": prompt} | (_numbers.trials(declared) if numbers else {})
        return stated | waves(declared, declared.inputs or (), size)

    def _parted(
        self, model_id: str, declared: Condition, stated: Any
    ) -> tuple[str | tuple[str, ...] | None, dict[str, Any] | None]:
        """What the caller gave -> its prompts, None without any, and its image by name."""
        import numpy as np

        images: dict[str, Any] = {}
        if isinstance(stated, Mapping):
            images = {name: value for name, value in stated.items() if name != "text"}
            stated = stated.get("text")
            if images and not declared.inputs:
                names = ", ".join(map(repr, images))
                takes = self.accepted(declared)
                raise ConditionError(f"{model_id} takes {takes} under 'text', and no image; found {names}")
        if isinstance(stated, np.ndarray):
            stated = stated.tolist()
        for prompt in [stated] if isinstance(stated, str) else stated if isinstance(stated, Sequence) else ():
            if isinstance(prompt, str) and not _is_text(prompt):
                raise ConditionError(
                    f"{model_id}: a prompt must be text of at most {LONGEST} characters, found {prompt[:40]!r}"
                )
        if stated is None or isinstance(stated, str):
            return stated, images or None
        if isinstance(stated, Sequence) and all(isinstance(prompt, str) for prompt in stated):
            return tuple(stated), images or None
        raise ConditionError(f"{model_id} takes {self.accepted(declared)}; found {stated!r}")


def _is_text(prompt: str) -> bool:
    try:
        prompt.encode()  # halves of characters, such as bytes of a command line that are no UTF-8
    except UnicodeEncodeError:
        return False
    return len(prompt) <= LONGEST and "\0" not in prompt


KIND = Text()
