"""Pickles, read without running anything that is inside.

A pickle is a program: "push this, call that". Here it is interpreted without running it (``machine``): values are
built, names of Python objects stay names, and nothing is ever imported, looked up or called. This package needs only
the standard library and exposes none of its functions, so that there is nothing that a file could reach.

``allowed`` lists what a file may name, and what each name becomes:

* numbers and containers of them, as ``torch.save`` and NumPy write them: always;
* objects of other classes, only where the entry states ``container: pickle``: they become ``Inert``, a bag of the
  attributes that the file gives them, of which a module's ``_parameters``, ``_buffers`` and ``_modules`` are used. Two
  things are refused even then: the call of anything that is not listed, and every name of Python's own library that
  is not listed (``os.system``, ``builtins.eval``, ...), called or not.

Included source code (StyleGAN's ``torch_utils.persistence``) is text like any other and is dropped. Memory is bounded
by the size of the file: lengths that a file declares are compared with what it holds, and instructions are counted.
"""

from __future__ import annotations

from medzoo.weights.pickles.allowed import Mode
from medzoo.weights.pickles.files import Pickled, read
from medzoo.weights.pickles.inert import (
    Array,
    Inert,
    Name,
    Refused,
    Storage,
    children,
    is_state_dict,
    leaves,
    module_class,
    networks,
    settled,
)

__all__ = [
    "Array",
    "Inert",
    "Mode",
    "Name",
    "Pickled",
    "Refused",
    "Storage",
    "children",
    "is_state_dict",
    "leaves",
    "module_class",
    "networks",
    "read",
    "settled",
]
