"""Pickles, read without running anything that is inside.

A pickle is a program: "push this, call that". Here it is interpreted without running it (``machine``): values are
built, names of Python objects stay names, and nothing is ever imported, looked up or called. This package needs only
the standard library and exposes none of its functions, so that there is nothing that a file could reach.

``allowed`` lists what a file may name, and what each name becomes:

* numbers and containers of them, as ``torch.save`` and NumPy write them, and plain values that people save beside them
  (``harmless``: paths, dates, ranges, random generators): always;
* objects of other classes, only where the entry states ``container: pickle``: they become ``Inert``, a bag of the
  attributes that the file gives them, of which a module's ``_parameters``, ``_buffers`` and ``_modules`` are used.
  Every name of Python's own library that is not listed (``os.system``, ``builtins.eval``, ...) is refused even then,
  called or not, and so is the call of a function of torch or NumPy that is not listed.

What calls a function of another package, or makes a value of something else than numbers, is no reason to refuse the
file: it is not made, and refused where it would be used.

Included source code (StyleGAN's ``torch_utils.persistence``) is text like any other and is dropped. Memory is bounded
by the size of the file: lengths that a file declares are compared with what it holds, and instructions are counted.
"""

from __future__ import annotations

from medzoo.weights.pickles.allowed import Mode
from medzoo.weights.pickles.files import Pickled, read
from medzoo.weights.pickles.inert import BITS, Array, Aside, Inert, Name, Refused, Storage, shown
from medzoo.weights.pickles.walk import (
    children,
    inside,
    is_network,
    is_state_dict,
    joined,
    leaves,
    module_class,
    networks_among,
    settled,
    width,
)

__all__ = [
    "BITS",
    "Array",
    "Aside",
    "Inert",
    "Mode",
    "Name",
    "Pickled",
    "Refused",
    "Storage",
    "children",
    "inside",
    "is_network",
    "is_state_dict",
    "joined",
    "leaves",
    "module_class",
    "networks_among",
    "read",
    "settled",
    "shown",
    "width",
]
