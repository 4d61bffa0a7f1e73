"""The one validator of a model: for contributors, tests and CI.

    check("10001")                      # an id of the registry
    check("mine/90001_X.yaml")          # a file
    check("hf://organisation/repo")     # a repository of the Hub

What fails has to be mended; what could not be looked at is said, with the reason, and fails nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medzoo import weights as weights_module
from medzoo import zoo
from medzoo.catalog import Located
from medzoo.check import statements
from medzoo.check.finding import Finding, broken, failed, passed, skipped
from medzoo.errors import EntryError

if TYPE_CHECKING:
    from medzoo.families._base import Generator

__all__ = ["NAMES", "Finding", "Report", "check"]

RUNNING = ("as published", "fused", "output", "seed rule", "seeds", "fused = published", "goldens")
NAMES = ("schema", "to do", "licence", "data", "family", "weights", *RUNNING)
"""What is looked at, in order; there is a finding "weights" for each source."""


@dataclass(frozen=True)
class Report:
    """What was found of one model.

    Attributes:
        model: its id, or what was asked for where no id can be read.
        findings: in the order of ``NAMES``.
        samples: images uint8 and masks of the fused model by name, as goldens hold them; None where it did not run.
        made_with: what a file of goldens states about them.
    """

    model: str
    findings: tuple[Finding, ...]
    samples: dict[str, Any] | None = None
    made_with: dict[str, Any] | None = None

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return not any(one.status == "fail" for one in self.findings)


def check(
    what: str | int,
    *,
    offline: bool = False,
    device: str | None = None,
    tell: Callable[[str], None] = lambda name: None,
) -> Report:
    """Look at everything of a model that can be looked at here.

    Args:
        what: an id, the path of a YAML file, or ``hf://organisation/repository[@revision]``.
        offline: never use the network, as with ``HF_HUB_OFFLINE``.
        device: as ``medzoo.generate`` takes it.
        tell: told the name of each check before it is made.

    Raises UnknownModelError (no such model) or DownloadError (no such repository); all else is a finding.
    """
    with statements.network(off=offline):
        tell("schema")
        try:
            found = zoo.find(what)
        except EntryError as error:
            rest = tuple(skipped(name, "the entry cannot be read") for name in NAMES[1:])
            return Report(str(what), (failed("schema", str(error)), *rest))
        if isinstance(what, str) and what.startswith("hf://"):
            what = statements.pinned(what, found.entry)
        findings = [passed("schema", f"{len(type(found.entry).model_fields)} fields")]
        for name, look in (("to do", statements.to_do), ("licence", statements.licence), ("data", statements.data)):
            tell(name)
            findings.append(look(found))
        tell("family")
        findings.append(statements.family(found))
        tell("weights")
        findings += statements.sources(found)
        model = found.entry.model_id
        if findings[4].status == "fail" or not _obtainable(found):
            why = "the family is not known" if findings[4].status == "fail" else "there are no weights to run it with"
            return Report(model, (*findings, *(skipped(name, why) for name in RUNNING)))
        return _run(found, what, findings, device, tell)


def _obtainable(found: Located) -> bool:
    """Whether the weights are on this disk; ``sources`` has fetched what could be had."""
    return weights_module.is_available_offline(found.entry, found.registry, found.path)


def _run(
    found: Located, what: str | int, findings: list[Finding], device: str | None, tell: Callable[[str], None]
) -> Report:
    """The findings that need the network."""
    from medzoo.check import goldens, numbers

    generators: dict[bool, Generator] = {}
    for name, fused in (("as published", False), ("fused", True)):
        tell(name)
        try:
            generators[fused] = zoo.load(what, fused=fused, device=device)
            findings.append(passed(name, "loads, every tensor accounted for"))
        except Exception as error:  # whatever a family under construction raises
            findings.append(failed(name, broken(error)))
    model = found.entry.model_id
    if len(generators) < 2:
        return Report(model, (*findings, *(skipped(name, "it does not load") for name in RUNNING[2:])))
    condition = numbers.example(generators[True])
    findings += _looked(numbers.findings(generators[True], generators[False], condition), tell)
    tell("goldens")
    samples = None
    if all(one.status != "fail" for one in findings[-4:]):
        samples = goldens.samples(generators[True], condition)
        findings.append(goldens.finding(found, samples))
    else:
        findings.append(skipped("goldens", "it does not run as it should"))
    return Report(model, tuple(findings), samples, goldens.made_with(generators[True]))


def _looked(found: Iterator[Finding], tell: Callable[[str], None]) -> Iterator[Finding]:
    for one in found:
        tell(one.name)
        yield one
