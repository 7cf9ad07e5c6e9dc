"""The answers that only a person can give: passwords, passphrases, codes, host keys."""

from __future__ import annotations

import getpass
import sys
from typing import TYPE_CHECKING

from dl4mic_hpc.cli import console

if TYPE_CHECKING:
    from dl4mic_hpc.ssh import HostKeyQuestion


class TerminalAsker:
    """Asks on the terminal; without one it has no answer, and the caller's error names the way around."""

    def secret(self, prompt: str) -> str | None:
        if not console.can_ask():
            return None
        console.make_room()
        return getpass.getpass(f"{prompt.rstrip()} ", stream=sys.stderr)

    def tell(self, text: str) -> None:
        console.make_room()
        console.tell(text)

    def confirm_host_key(self, question: HostKeyQuestion) -> bool:
        if not console.can_ask():
            return False
        return console.ask(
            f"{question.host} is not known yet. Its {question.key_type} key has the fingerprint\n"
            f"  {question.fingerprint}\n"
            "Compare it with what the cluster's documentation or support says. Is it the same?"
        )
