"""Groups of commands whose modules are imported when a command is used.

A proof by the root digest must not wait for what a forecast needs, nor a look at a header for what reads a policy.
"""

from __future__ import annotations

import importlib
from typing import Any, ClassVar

import typer
from typer.core import TyperGroup


class LazyCommands(TyperGroup):
    """The commands of :attr:`modules`, each imported when it is asked for.

    Attributes:
        package: where the modules are.
        modules: command -> its module and what is run: a function, or an app of further commands.
    """

    package: ClassVar[str]
    modules: ClassVar[dict[str, tuple[str, str]]]

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names, in the order in which help lists them."""
        del ctx
        return list(self.modules)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command by its name, None if there is none."""
        del ctx
        if cmd_name not in self.modules:
            return None
        module, name = self.modules[cmd_name]
        found = getattr(importlib.import_module(f"{self.package}.{module}"), name)
        if not isinstance(found, typer.Typer):
            alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
            alone.command(cmd_name)(found)
            found = alone
        command = typer.main.get_command(found)
        command.name = cmd_name
        return command
