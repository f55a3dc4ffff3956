"""What every command needs first: the settings, pointing at the stack that runs here, and quiet logs."""

from __future__ import annotations

from atalaia.infra import logs, settings
from atalaia.infra.local import stack
from atalaia.infra.settings import Settings


def start() -> Settings:
    """The settings of a command that a person types; `SettingsError` names each fault.

    If a stack runs in this home, on whatever ports, they point at it, but never against what the user set. Logs
    say warnings and worse unless `ATALAIA_LOG_LEVEL` wants more.
    """
    loaded = settings.load()
    quiet = loaded if loaded.log_level else loaded.model_copy(update={"log_level": "WARNING"})
    logs.configure(quiet, service="cli")
    return stack.running(loaded)
