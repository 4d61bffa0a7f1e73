"""What all commands have in common: ``-v``, addresses in place of paths, names of numbers, completion of ids."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import click
from click.shell_completion import CompletionItem

from medzoo.errors import MedzooError
from medzoo.files.whole import check_local
from medzoo.text import printable

_log = logging.getLogger("medzoo")


def prepare(command: click.Command) -> click.Command:
    """Give a command, and those below it, what all have in common; a second time changes nothing."""
    for parameter in command.params:
        parameter.type = _prepared(parameter)
    if isinstance(command, click.Group):
        for below in command.commands.values():
            prepare(below)
    elif not any(parameter.name == "verbose" for parameter in command.params):
        command.params.append(verbose(hidden=True))  # `medzoo generate -v`; the one of `medzoo -v` is in the help
    return command


def verbose(*, hidden: bool = False) -> click.Option:
    """The option ``-v``."""
    return click.Option(
        ["-v", "--verbose"], is_flag=True, is_eager=True, expose_value=False, hidden=hidden, callback=_be_verbose,
        help="Log what is downloaded, tried again, or found on this machine.",
    )  # fmt: skip


@contextmanager
def logged() -> Iterator[None]:
    """Print what medzoo logs on standard error: warnings, and with ``-v`` what it does."""
    handler = _Echo()
    _log.addHandler(handler)
    try:
        yield
    finally:
        _log.removeHandler(handler)
        _log.setLevel(logging.NOTSET)


def _be_verbose(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        _log.setLevel(logging.INFO)


class _Echo(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError, ValueError):  # nobody listens
            click.echo(f"medzoo: {printable(record.getMessage())}", err=True)


class LocalPath(click.Path):
    """A path of this machine: ``s3://bucket`` would be made a folder ``s3:`` here, and reported as a success."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            check_local(value, MedzooError)
        except MedzooError as error:
            self.fail(str(error), param, ctx)
        return super().convert(value, param, ctx)


class Named(click.ParamType[Any]):
    """Text that the shell completes by known names.

    Args:
        names: gives them when they are asked for.
        files: complete file names where no name fits.
    """

    name = "text"

    def __init__(self, names: Callable[[], list[str]], *, files: bool = False) -> None:
        self.names, self.files = names, files

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return click.STRING.convert(value, param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        found: list[str] = []
        with suppress(MedzooError, OSError):  # a shell shows errors in the middle of the line
            found = [name for name in self.names() if name.casefold().startswith(incomplete.casefold())]
        if not found and self.files:
            return [CompletionItem(incomplete, type="file")]
        return [CompletionItem(name) for name in found]


def _prepared(parameter: click.Parameter) -> click.ParamType[Any]:
    kind = parameter.type
    if isinstance(kind, click.Path) and not isinstance(kind, LocalPath):
        local = LocalPath()
        vars(local).update(vars(kind))
        return local
    if isinstance(kind, click.IntRange | click.FloatRange):
        kind.name = "integer" if isinstance(kind, click.IntRange) else "number"  # 'abc' is no "integer range"
    if kind is click.STRING:
        for names, (fits, files) in _COMPLETED.items():
            if parameter.name in fits or set(parameter.opts) & fits:
                return Named(names, files=files)
    return kind


def _models() -> list[str]:
    from medzoo import catalog

    return list(catalog.model_files())


def _families() -> list[str]:
    from medzoo import plugins

    return plugins.builtin("medzoo.families")


def _benchmarks() -> list[str]:
    from medzoo import catalog

    return sorted({path.stem for folder in catalog.folders() for path in folder.glob("benchmarks/*.yaml")})


def _extractors() -> list[str]:
    from medzoo import plugins

    return plugins.builtin("medzoo.features")


# Where names come from -> names of parameters and options that take one of them, and whether they take files too.
_COMPLETED: dict[Callable[[], list[str]], tuple[set[str], bool]] = {
    _models: ({"model_id", "model_ids", "models", "model", "nearest", "--from"}, True),
    _families: ({"--family"}, False),
    _benchmarks: ({"--benchmark"}, False),
    _extractors: ({"--features"}, False),
}
