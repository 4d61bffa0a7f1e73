"""The command ``medzoo``: one group whose verbs are imported when they are typed."""

from __future__ import annotations

import os
import sys
import warnings
from contextlib import suppress
from importlib import import_module
from typing import Any

import click

import medzoo
from medzoo.errors import MedzooError

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
    "cache": ("medzoo.cli.cache:cache", "Manage the downloaded and converted weights."),
    "train": ("medzoo.cli.train:train", "Train a generator on a folder of images."),
    "export": ("medzoo.cli.train:export", "Export a training run as a model of the registry."),
    "new": ("medzoo.cli.new:new", "Draft the files of a new model or family."),
    "check": ("medzoo.cli.check:check", "Validate entries: schema, licences, hashes, loading, seeds, golden samples."),
    "publish": ("medzoo.cli.publish:publish", "Put a model on the Hugging Face Hub, with card and golden samples."),
}


class LazyGroup(click.Group):
    """A group that imports a command when it is typed, and prints errors that the user can fix without a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module, attribute = VERBS[cmd_name][0].split(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(verb, line) for verb, (_, line) in VERBS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in VERBS:
            import difflib

            close = difflib.get_close_matches(args[0], VERBS, n=1)
            ctx.fail(f"No command '{args[0]}'; " + (f"did you mean '{close[0]}'?" if close else "see medzoo --help"))
        return super().resolve_command(ctx, args)

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run, then exit: 0, 2 for what the user can fix, 130 for Ctrl-C, 1 for a closed pipe (``| head``)."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("default", UserWarning)  # the user should read what this program warns of
                warnings.showwarning = _show_warning
                result = super().main(*args, **{**extra, "standalone_mode": False})
            sys.stdout.flush()  # a closed pipe shows here and not when Python shuts down
        except MedzooError as error:
            click.echo(f"medzoo: {error}", err=True)
            sys.exit(2)
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        except (KeyboardInterrupt, click.Abort):
            click.echo("medzoo: stopped", err=True)
            sys.exit(130)
        except BrokenPipeError:
            _drop_output()
            sys.exit(1)
        except OSError as error:  # not expected by any module; also a full disk behind standard output
            _drop_output()
            click.echo(f"medzoo: {error.filename or 'the output'}: {error.strerror or error}", err=True)
            sys.exit(2)
        sys.exit(result if isinstance(result, int) else 0)  # an int is what context.exit() was given


def _drop_output() -> None:
    """Discard the rest of the buffer of standard output, which Python would otherwise report again when it exits."""
    with suppress(OSError, ValueError):  # a stand-in without a file number
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    click.echo(f"medzoo: {message}", err=True)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(medzoo.__version__, prog_name="medzoo", message="%(prog)s %(version)s")
def main() -> None:
    """Generators of medical images.

    Synthetic images for research; not for clinical use.
    """
