"""A person at the terminal, or nobody; and what the program knows about servers on their behalf."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from dl4mic_hpc.ssh import HostKeyQuestion
from dl4mic_hpc.ssh.hostkeys import own_file


@dataclass
class Person:
    """Implements `Asker`. Gives `answers` in turn; None where they have run out, as without a terminal."""

    answers: list[str] = field(default_factory=list)
    trusts: bool = False
    prompts: list[str] = field(default_factory=list)
    questions: list[HostKeyQuestion] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def secret(self, prompt: str) -> str | None:
        self.prompts.append(prompt)
        return self.answers.pop(0) if self.answers else None

    def confirm_host_key(self, question: HostKeyQuestion) -> bool:
        self.questions.append(question)
        return self.trusts

    def tell(self, text: str) -> None:
        self.told.append(text)


def know(*lines: str) -> Path:
    """Writes the program's own known_hosts file."""
    path = own_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(lines))
    return path
