"""Groups of commands whose modules are imported when a command is used.

A proof by the root digest must not wait for what a forecast needs, nor a look at a header for what reads a policy.
"""

from __future__ import annotations

import gc
import importlib
from typing import TYPE_CHECKING, Any, ClassVar

import typer
from typer.core import TyperGroup

from collapse_guard.plugins import nearest

if TYPE_CHECKING:
    from types import ModuleType


def _imported(name: str) -> ModuleType:
    """Return a module; importing leaves no garbage, and looking for it costs a tenth of the time of a short command."""
    is_collecting = gc.isenabled()
    gc.disable()
    try:
        return importlib.import_module(name)
    finally:
        if is_collecting:
            gc.enable()


class LazyCommands(TyperGroup):
    """The commands of :attr:`modules`, each imported when it is asked for.

    Attributes:
        package: where the modules are.
        modules: command -> its module and what is run: a function, or an app of further commands.
        aliases: other name -> command; help does not list them.
    """

    package: ClassVar[str]
    modules: ClassVar[dict[str, tuple[str, str]]]
    aliases: ClassVar[dict[str, str]] = {}

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names, in the order in which help lists them."""
        del ctx
        return list(self.modules)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command by its name, None if there is none."""
        del ctx
        cmd_name = self.aliases.get(cmd_name, cmd_name)
        if cmd_name not in self.modules:
            return None
        module, name = self.modules[cmd_name]
        found = getattr(_imported(f"{self.package}.{module}"), name)
        if not isinstance(found, typer.Typer):
            alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
            alone.command(cmd_name)(found)
            found = alone
        command = typer.main.get_command(found)
        command.name = cmd_name
        return command

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that the arguments name; one that there is not is told with the nearest name."""
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None and not ctx.resilient_parsing:
            ctx.fail(f"no command is called {name!r}; {nearest(name, self.modules)}")
        return super().resolve_command(ctx, args)
