"""`geventjob completion`: scripts that let a shell complete the commands of geventjob. No server is asked."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from geventjob import config
from geventjob.cli.context import Commands
from geventjob.exit_code import ExitCode

if TYPE_CHECKING:
    from geventjob.cli.screen import Screen

SHELLS = ("bash", "zsh", "fish")
EPILOG = """put one of these lines into the file that the shell reads at its start:
  ~/.bashrc                   eval "$(geventjob completion bash)"
  ~/.zshrc, behind compinit   eval "$(geventjob completion zsh)"
  ~/.config/fish/config.fish  geventjob completion fish | source"""


def declare(commands: Commands) -> None:
    """Declare the command and its arguments."""
    from geventjob.cli.command_tree import TableFormatter

    parser = commands.add_local("completion", completion)
    parser.formatter_class = TableFormatter
    parser.epilog = EPILOG
    parser.add_argument("shell", choices=SHELLS, metavar="|".join(SHELLS))


def completion(screen: Screen, args: Namespace) -> int:
    """Print the script of a shell."""
    print("\n".join(script(parser, args.shell) for parser in parsers().values()), file=screen.out)
    return ExitCode.SUCCESS


def parsers() -> dict[str, ArgumentParser]:
    """Return the parser of each command, by its name."""
    from geventjob.cli.command_tree import CommandTree

    tree = CommandTree()
    tree.load()
    daemons = ("executor", "distributor", "server")
    return {"geventjob": tree.parser, **{config.COMMANDS[name]: config.OptionParser(name) for name in daemons}}


def script(parser: ArgumentParser, shell: str) -> str:
    """Return the script that completes the options and words of a parser."""
    import shtab

    return str(shtab.complete(parser, shell))
