"""The one validator of a model: for contributors, tests and CI.

    medzoo.check("10001")                         # an id of the registry
    medzoo.check("mine/90001_X.yaml")             # an entry, a run, a published folder, a file of weights
    medzoo.check("hf://organisation/repo")        # a repository of the Hub
    [medzoo.check(path, offline=True) for path in checking.every_model()]

What fails has to be fixed; what could not be looked at is said, with the reason, and does not count as a failure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medzoo import catalog, zoo
from medzoo import weights as weights_module
from medzoo.catalog import Located
from medzoo.checking import statements
from medzoo.checking.finding import Finding, Status, broken, failed, passed, skipped, status_of
from medzoo.errors import EntryError, MedzooError
from medzoo.files.whole import write_bytes

if TYPE_CHECKING:
    from medzoo.families._base import Generator

__all__ = ["NAMES", "Finding", "Report", "Status", "check", "every_model", "status_of"]

STATEMENTS: tuple[tuple[str, Callable[[Located], Iterable[Finding]]], ...] = (
    ("to do", lambda located: [statements.to_do(located)]),
    ("licence", lambda located: [statements.licence(located)]),
    ("data", lambda located: [statements.data(located)]),
    ("family", lambda located: [statements.family(located)]),
    ("weights", statements.sources),
)
LOADING = ("as published", "fused")
NUMBERS = ("output", "seed rule", "seeds", "fused = published")
RUNNING = (*LOADING, *NUMBERS, "goldens")
NAMES = ("schema", *(name for name, _ in STATEMENTS), *RUNNING)
"""What is looked at, in order; there is a finding "weights" for each source."""


@dataclass(frozen=True)
class Report:
    """What was found of one model.

    Attributes:
        model: its id, or what was asked for where no id can be read.
        findings: in the order of ``NAMES``.
        samples: images uint8 and masks of the fused model by name, as goldens hold them; None where it did not run.
        made_with: what a file of goldens states about them.
        written: the file that they were written to, with ``write_goldens``.
    """

    model: str
    findings: tuple[Finding, ...]
    samples: dict[str, Any] | None = None
    made_with: dict[str, Any] | None = None
    written: Path | None = None

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return not any(finding.status == "fail" for finding in self.findings)

    @property
    def unfit(self) -> str | None:
        """Why the samples cannot become golden ones: the first check that failed; None if they can.

        That of the goldens themselves does not count, since new ones would take their place.
        """
        others = [one.name for one in self.findings if one.status == "fail" and one.name != "goldens"]
        if others:
            return others[0]
        return "the model could not be run" if self.samples is None or self.made_with is None else None

    def __str__(self) -> str:
        """One line for each finding."""
        return "\n".join([f"{self.model}:", *(f"  {one.status:8}{one.name:18}{one.reason}" for one in self.findings)])


def check(
    what: str | int | Path,
    *,
    offline: bool = False,
    device: str | None = None,
    write_goldens: bool = False,
    tell: Callable[[str], None] = lambda name: None,
) -> Report:
    """Look at everything of a model that can be looked at here.

        report = medzoo.check("10001", offline=True)
        report.passed, report.findings
        print(report)

    Args:
        what: an id, the path of a model, or ``hf://organisation/repository[@revision]``.
        offline: never use the network, as with ``HF_HUB_OFFLINE``.
        device: as ``medzoo.generate`` takes it.
        write_goldens: store the samples made now as the golden ones, if nothing else failed: see ``Report.written``,
            and ``Report.unfit`` for why not.
        tell: called with the name of each check before it is made.

    Raises:
        UnknownModelError: no such model.
        DownloadError: no such repository.
        MedzooError: ``write_goldens`` of a model that lies in no registry folder.

    All else is a finding.
    """
    with statements.network(off=offline):
        report = _checked(what, device, tell)
        if write_goldens and report.unfit is None:
            report = replace(report, written=_write(report, zoo.find(what)))
    return report


def every_model() -> list[str]:
    """Paths of the entries of all models of the registry, which ``check`` takes."""
    return [str(path) for path, _ in catalog.model_files().values()]


def _write(report: Report, located: Located) -> Path:
    from medzoo.checking import goldens

    if located.address is not None:
        raise MedzooError(f"{report.model}: goldens of a Hub repository are written by `medzoo publish`")
    if located.registry is None or located.label is not None:
        raise MedzooError(f"{report.model}: goldens are of an entry; export the run, or draft an entry of the file")
    assert report.samples is not None and report.made_with is not None
    path = goldens.path_in(located.registry, located.entry.model_id)
    path.parent.mkdir(exist_ok=True)
    write_bytes(path, goldens.pack(report.samples, report.made_with))
    return path


def _checked(what: str | int | Path, device: str | None, tell: Callable[[str], None]) -> Report:
    tell("schema")
    try:
        located = zoo.find(what)
    except EntryError as error:
        rest = tuple(skipped(name, "the entry cannot be read") for name in NAMES[1:])
        return Report(str(what), (failed("schema", str(error)), *rest))
    if isinstance(what, str) and what.startswith("hf://"):
        what = statements.pinned(what, located.entry)
    findings = [passed("schema", f"{len(type(located.entry).model_fields)} fields")]
    for name, look_at in STATEMENTS:
        tell(name)
        findings += look_at(located)
    why = None
    if status_of(findings, "family") == "fail":
        why = "the family is not known"
    elif not weights_module.is_available_offline(
        located.entry, located.registry, located.path
    ):  # what is to be had is here
        why = "there are no weights to run it with"
    if why is not None:
        return Report(located.name, (*findings, *(skipped(name, why) for name in RUNNING)))
    return _run(located, what, findings, device, tell)


def _run(
    located: Located, what: str | int | Path, findings: list[Finding], device: str | None, tell: Callable[[str], None]
) -> Report:
    """The findings that need the network."""
    from medzoo.checking import goldens, numbers

    generators: dict[str, Generator] = {}
    for name in LOADING:
        tell(name)
        try:
            generators[name] = zoo.load(what, fused=name == "fused", device=device)
            findings.append(passed(name, "loads, every tensor accounted for"))
        except Exception as error:  # whatever a family under construction raises
            findings.append(failed(name, broken(error)))
    model = located.name
    if len(generators) < len(LOADING):
        rest = (name for name in RUNNING if name not in LOADING)
        return Report(model, (*findings, *(skipped(name, "it does not load") for name in rest)))
    fused, published = generators["fused"], generators["as published"]
    condition = numbers.example(fused)
    findings += _announced(numbers.findings(fused, published, condition), tell)
    tell("goldens")
    samples = None
    if any(status_of(findings, name) == "fail" for name in NUMBERS):
        findings.append(skipped("goldens", "it does not run as it should"))
    else:
        samples = goldens.samples(fused, condition)
        findings.append(goldens.finding(located, samples))
    return Report(model, tuple(findings), samples, goldens.made_with(fused))


def _announced(findings: Iterator[Finding], tell: Callable[[str], None]) -> Iterator[Finding]:
    for finding in findings:
        tell(finding.name)
        yield finding
