"""Every exception of paramiko becomes one of ours."""

from __future__ import annotations

import inspect
import pkgutil
from importlib import import_module

import paramiko
import pytest

from dl4mic_hpc.errors import SshError
from dl4mic_hpc.ssh.failures import FOREIGN, map_ssh_errors

# Caught inside paramiko, or raised by parts that this program does not use: old key formats, known_hosts files.
ELSEWHERE = {"NeedRekeyException", "BERException", "InvalidHostKey"}


def exceptions() -> dict[str, type[Exception]]:
    found = {}
    for module in pkgutil.iter_modules(paramiko.__path__, "paramiko."):
        if module.name.rpartition(".")[2].startswith(("_win", "win_")):
            continue  # those import on Windows only, and define none
        for name, value in inspect.getmembers(import_module(module.name), inspect.isclass):
            if issubclass(value, Exception) and value.__module__.startswith("paramiko"):
                found[name] = value
    return found


def test_every_exception_class_of_paramiko_is_mapped() -> None:
    known = exceptions()
    assert "SSHException" in known
    assert "UnknownKeyType" in known
    unmapped = {name for name, kind in known.items() if not issubclass(kind, FOREIGN)}
    assert unmapped == ELSEWHERE


CHANNEL = paramiko.ChannelException


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (paramiko.SSHException("odd"), "failed: odd"),
        (paramiko.SSHException(), "failed: SSHException"),
        (EOFError(), "closed the connection"),
        (ConnectionResetError(), "closed the connection"),
        (TimeoutError(), "did not answer in time"),
        (OSError(113, "No route to host"), "cannot be reached: No route to host"),
        (OSError(5, "Input/output error"), "failed: [Errno 5] Input/output error"),
        (CHANNEL(1, "open failed"), "refused to open a channel: that is forbidden there (open failed)"),
        (CHANNEL(2, "Connection refused"), "refused to open a channel: nothing answers (Connection refused)"),
        (CHANNEL(4, ""), "refused to open a channel: it is short of resources"),
        (CHANNEL(99, ""), "refused to open a channel: for no known reason"),
        (paramiko.SSHException("Timeout opening channel."), "did not answer in time"),
        (paramiko.SSHException("SSH session not active"), "closed the connection"),
    ],
)
def test_what_is_said(error: Exception, words: str) -> None:
    with pytest.raises(SshError) as caught, map_ssh_errors("ada@uni:22", hint="do this"):
        raise error
    assert caught.value.message == f"ada@uni:22 {words}"
    assert caught.value.hint == "do this"
    assert caught.value.__cause__ is error


def test_other_exceptions_pass() -> None:
    with pytest.raises(ValueError, match="a bug"), map_ssh_errors("ada@uni:22", hint=""):
        raise ValueError("a bug")
