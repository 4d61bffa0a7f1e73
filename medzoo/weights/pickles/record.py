"""What is known of a file of pickles while it is read: what it names, what it was refused for, how much it did."""

from __future__ import annotations

from medzoo import limits
from medzoo.weights.pickles import allowed
from medzoo.weights.pickles.allowed import Mode
from medzoo.weights.pickles.inert import Name, Refused


class Record:
    """What is known about a file during and after reading; shared by all pickles in it.

    Attributes:
        names: every Python object that it names, in order.
        refused: what would have been refused (mode INSPECT).
        source: characters of Python source code in it.
        only_numbers: whether all that it names so far belongs to numbers and plain values.
    """

    def __init__(self, mode: Mode, size: int) -> None:
        self.mode, self.names, self.refused = mode, dict[str, None](), dict[str, None]()
        self.source, self.only_numbers = 0, True
        # Each step may leave a hundred bytes behind.
        self._most = limits.most("pickle_steps")
        self._steps, self._bytes = self._most, size

    def spend(self, steps: int) -> None:
        """Count steps of the program. Raises Refused when they are more than any network needs."""
        self._steps -= steps
        if self._steps < 0:
            raise Refused(
                f"its pickle takes more than {self._most:,} steps; if you trust it, set MEDZOO_LIMIT_PICKLE_STEPS"
            )

    def spend_bytes(self, count: int) -> None:
        """Count the bytes made from text: a file that holds them once can give no more of them."""
        self._bytes -= count
        if self._bytes < 0:
            raise Refused("its pickle makes more bytes than the file has")

    def named(self, name: Name) -> None:
        """Record a name. Raises Refused if the mode does not allow it."""
        if str(name) in self.names:  # judged before
            return
        self.names[str(name)] = None
        if allowed.is_plain(name):
            return
        self.only_numbers = False
        if self.mode is Mode.NUMBERS:
            raise Refused(_no_numbers(name))
        if name.module.startswith("dnnlib.tflib"):
            self.refuse(
                f"is a network of TensorFlow ({name}), whose numbers cannot be read without running it; "
                "convert it to the PyTorch form with its authors' legacy.py"
            )
        elif allowed.is_of_python(name):
            self.refuse(f"names {name}, a part of Python that no network needs; nothing of the file was run")

    def refuse(self, reason: str) -> None:
        if self.mode is not Mode.INSPECT:
            raise Refused(reason)
        if len(self.refused) < 100:
            self.refused[reason] = None


def _no_numbers(name: Name) -> str:
    advice = "Save the state dict alone (torch.save(network.state_dict(), ...)), or convert it to safetensors"
    if not allowed.is_of_python(name):
        advice = (
            "If that is the class of a network or of its config, state `container: pickle` in the entry: objects are "
            f"then read as bags of numbers, without their code. Otherwise, {advice[0].lower()}{advice[1:]}"
        )
    return f"holds an object of {name}, which is code and not numbers; it was not run. {advice}"
