"""``medzoo help``: the help of a command, as its ``--help`` prints it."""

from __future__ import annotations

import click


@click.command("help")
@click.argument("commands", nargs=-1, metavar="[COMMAND]...")
@click.pass_context
def help_(context: click.Context, commands: tuple[str, ...]) -> None:
    """Show the help of a COMMAND: medzoo help generate, medzoo help cache warm."""
    assert context.parent is not None
    at = context.parent
    for word in commands:
        if not isinstance(at.command, click.Group):
            raise click.UsageError(f"{at.command_path} has no commands below it; type: {at.command_path} --help")
        name, command, _ = at.command.resolve_command(at, [word])
        assert command is not None
        at = click.Context(command, info_name=name, parent=at)
    click.echo(at.get_help())
