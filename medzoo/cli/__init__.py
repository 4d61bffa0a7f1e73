"""The command ``medzoo``: one group whose verbs are imported when they are typed."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import click

import medzoo
from medzoo.cli.common import logged, prepare, verbose
from medzoo.errors import MedzooError, is_temporary
from medzoo.files import streams
from medzoo.text import did_you_mean, one_line, printable

# Verb -> (module:command, the line that --help shows). Kept here so that --help imports nothing else.
VERBS = {
    "list": ("medzoo.cli.registry:list_", "List models, filtered by modality, organ, condition, size, licence, ..."),
    "search": ("medzoo.cli.registry:search", 'Find models by words: medzoo search "mammo mass".'),
    "info": (
        "medzoo.cli.registry:info",
        "Show all that is known about one model: licences, data, scores, how to call it.",
    ),
    "rank": ("medzoo.cli.registry:rank", "Order models by a score, best first: medzoo rank --by FID."),
    "generate": ("medzoo.cli.generate:generate", "Generate images with a model and save them."),
    "bench": ("medzoo.cli.bench:bench", "Measure models or folders of images against real images."),
    "compare": ("medzoo.cli.compare:compare", "Compare two models, folders or results, score by score, in pairs."),
    "report": ("medzoo.cli.report:report", "Write pages, Markdown and CSV of stored results, without measuring."),
    "cache": ("medzoo.cli.cache:cache", "Manage the downloaded and converted weights."),
    "train": ("medzoo.cli.train:train", "Train a generator on a folder of images."),
    "export": ("medzoo.cli.train:export", "Export a training run as a model of the registry."),
    "new": ("medzoo.cli.new:new", "Draft the files of a new model or family."),
    "check": ("medzoo.cli.check:check", "Validate entries: schema, licences, hashes, loading, seeds, golden samples."),
    "publish": ("medzoo.cli.publish:publish", "Put a model on the Hugging Face Hub, with card and golden samples."),
    "doctor": ("medzoo.cli.doctor:doctor", "Say what of this machine medzoo can use, and what is missing."),
    "help": ("medzoo.cli.help:help_", "Show the help of a command: medzoo help generate."),
}
# What other programs call these.
SYNONYMS = {
    "ls": "list", "find": "search", "show": "info", "describe": "info", "sample": "generate", "run": "generate",
    "benchmark": "bench", "evaluate": "bench", "validate": "check", "verify": "check", "download": "cache warm",
    "fetch": "cache warm", "pull": "cache warm", "upload": "publish", "push": "publish", "finetune": "train",
    "version": "--version",
}  # fmt: skip
EX_TEMPFAIL = 75  # of sysexits.h: temporary failure, the user is invited to retry


class LazyGroup(click.Group):
    """A group that imports a command when it is typed, and prints errors that the user can fix without a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module, attribute = VERBS[cmd_name][0].split(":")
        command: click.Command = getattr(import_module(module), attribute)
        return prepare(command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(verb, line) for verb, (_, line) in VERBS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in VERBS:
            ctx.fail(f"No command '{args[0]}'{_meant(args[0])}")
        return super().resolve_command(ctx, args)

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run, then exit.

        0: done. 2: what the user can fix. 75: a network or server that may work again later. 130: Ctrl-C. 143, 129:
        SIGTERM, SIGHUP, with nothing half-written left. 1: a closed pipe (``| head``), or an error that nobody foresaw
        (``_report_unforeseen``).
        """
        streams.make_whole()
        try:
            with warnings.catch_warnings(), logged(), _ended_by_signals():
                warnings.simplefilter("default", UserWarning)  # the user should read what this program warns of
                warnings.showwarning = _show_warning
                result = super().main(*args, **{**extra, "standalone_mode": False})
                sys.stdout.flush()  # a closed pipe shows here and not when Python shuts down
        except MedzooError as error:
            _say(f"medzoo: {error}")
            sys.exit(EX_TEMPFAIL if is_temporary(error) else 2)
        except click.ClickException as error:
            with suppress(OSError):
                error.show()
            sys.exit(error.exit_code)
        except (KeyboardInterrupt, click.Abort):
            _say("medzoo: stopped")
            sys.exit(130)
        except BrokenPipeError:
            _drop_output()
            sys.exit(1)
        except OSError as error:  # not expected by any module; also a full disk behind standard output
            _drop_output()
            place = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else "the output"
            _say(printable(f"medzoo: {place}: {error.strerror or error}"))
            sys.exit(2)
        except SystemExit:
            raise
        except BaseException as error:  # also what Rust calls a panic
            _report_unforeseen(error)
            sys.exit(1)
        sys.exit(result if isinstance(result, int) else 0)  # an int is what context.exit() was given


def _meant(word: str) -> str:
    """The command that somebody may have meant, as a question."""
    synonym = SYNONYMS.get(word.casefold())
    if synonym is not None:
        return f"; did you mean '{synonym}'?"
    return did_you_mean(word, VERBS) or "; see medzoo --help"


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the program as Ctrl-C does: temporary files go, locks are released, 128 + number."""
    owner = os.getpid()

    def end(signum: int, frame: object) -> None:
        signal.signal(signum, signal.SIG_DFL)  # the second one ends it at once
        if os.getpid() != owner:  # a forked worker has nothing to tidy, and its parent waits for this very signal
            os.kill(os.getpid(), signum)
            return
        raise SystemExit(128 + signum)

    watched: list[int] = []
    if threading.current_thread() is threading.main_thread():
        numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
        watched = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]  # nohup ignores one
    for number in watched:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in watched:
            signal.signal(number, signal.SIG_DFL)


def _report_unforeseen(error: BaseException) -> None:
    """A few lines for an error that nobody foresaw: what, where, how to report it; ``MEDZOO_TRACEBACK=1`` shows all."""
    if os.environ.get("MEDZOO_TRACEBACK", "").strip() not in ("", "0"):
        _say(printable("".join(traceback.format_exception(error))).rstrip())
    home = Path(medzoo.__file__).parent
    place = "medzoo"
    for frame, line in traceback.walk_tb(error.__traceback__):
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(home):
            parts = path.relative_to(home).with_suffix("").parts
            place = f"{'.'.join(('medzoo', *parts)).removesuffix('.__init__')}:{line}"
    error.__traceback__ = None  # its frames hold what filled the memory
    what = "the memory is not enough" if isinstance(error, MemoryError) else one_line(str(error), most=500)
    _say(f"medzoo: unforeseen {type(error).__name__}: {what}")
    _say(f"  at {place} (medzoo {medzoo.__version__}, Python {sys.version.split()[0]})")
    _say(f"  Please report these lines, the command and what `medzoo doctor` prints {_where_to_report()};")
    _say("  MEDZOO_TRACEBACK=1 shows the traceback")


def _where_to_report() -> str:
    """The tracker that the installed package states, else where a copy without one comes from."""
    from importlib import metadata

    with suppress(metadata.PackageNotFoundError):
        for stated in metadata.metadata("medzoo").get_all("Project-URL") or ():
            name, _, address = stated.partition(", ")
            if name.casefold() in ("issues", "tracker", "bug tracker"):
                return f"at {address}"
    return "as an issue of the repository that this medzoo was installed from"


def _say(line: str) -> None:
    with suppress(OSError, ValueError):  # nobody listens
        click.echo(line, err=True)


def _drop_output() -> None:
    """Discard the rest of the buffer of standard output, which Python would otherwise report again when it exits."""
    with suppress(OSError, ValueError):  # a stand-in without a file number
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    _say(f"medzoo: {printable(str(message))}")


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    params=[verbose()],
    epilog="Exit codes: 0 done; 2 something that you can fix; 75 a network or server that may work again later; "
    "130 Ctrl-C; 1 an error that nobody foresaw.",
)
@click.version_option(medzoo.__version__, prog_name="medzoo", message="%(prog)s %(version)s")
def main() -> None:
    """Generators of medical images.

    Synthetic images for research; not for clinical use.
    """
