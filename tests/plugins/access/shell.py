"""`asahi` in this process: the same commands without five seconds of starting Python."""

import os
from types import SimpleNamespace
from unittest import mock

from click.testing import CliRunner

from asahi_kernel.cli import CONFIGURATION, cli
from asahi_kernel.errors import AsahiError, ConfigError
from asahi_kernel.plugins import load_plugins


def asahi(folder, *arguments):
    """Run a command in a folder; what it printed, and its exit code as `main` gives it."""
    before = os.getcwd()
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("ASAHI_", "DATABASE_URL"))}
    load_plugins(tolerant=True).manager.hook.register_commands(cli=cli)
    with mock.patch.dict(os.environ, clean, clear=True):
        os.chdir(folder)
        try:
            ran = CliRunner().invoke(cli, [str(each) for each in arguments])
        finally:
            os.chdir(before)
    code, stderr = ran.exit_code, ran.stderr
    if isinstance(ran.exception, AsahiError):
        code = CONFIGURATION if isinstance(ran.exception, ConfigError) else 1
        stderr += ran.exception.message
    elif ran.exception is not None and not isinstance(ran.exception, SystemExit):
        raise ran.exception
    return SimpleNamespace(returncode=code, stdout=ran.stdout, stderr=stderr)
