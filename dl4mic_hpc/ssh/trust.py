"""`dl4mic-hpc cluster trust CLUSTER [NODE]`: accept host keys, of every server on the way."""

from __future__ import annotations

from contextlib import closing

from dl4mic_hpc.errors import HostKeyError
from dl4mic_hpc.profile import ClusterProfile
from dl4mic_hpc.ssh import config
from dl4mic_hpc.ssh.hostkeys import HostKeyQuestion
from dl4mic_hpc.ssh.login import Asker
from dl4mic_hpc.ssh.way import TrustedKey, Way


def trust(
    profile: ClusterProfile,
    node: str | None = None,
    *,
    ask: Asker,
    replace: bool = False,
    fingerprint: str | None = None,
) -> TrustedKey:
    """Asks about each unknown host key on the way to the login node, or on to the compute node `node`.

    `replace` asks about changed ones too. `fingerprint` ("SHA256:…") answers for the last server, so that
    nobody has to be asked. It logs in only where it has to pass: a login node's own key is accepted without
    a password. HostKeyError if the answer is no.
    """
    *jumps, login = config.hops(profile)
    target = node.lower() if node else login.known_as
    with closing(Way(profile, ask=_Answer(ask, target, fingerprint), replace=replace)) as way:
        for hop in jumps if node is None else (*jumps, login):
            way.enter(hop)
        with way.knock(login if node is None else way.node(node), node=node):
            return way.trusted[-1]


class _Answer:
    """The person, or for one server the fingerprint that the person gave beforehand."""

    def __init__(self, ask: Asker, target: str, fingerprint: str | None) -> None:
        self._ask = ask
        self._target = target
        self._fingerprint = fingerprint
        self.secret = ask.secret
        self.tell = ask.tell

    def confirm_host_key(self, question: HostKeyQuestion) -> bool:
        if self._fingerprint is None or question.host != self._target:
            return self._ask.confirm_host_key(question)
        if question.fingerprint == self._fingerprint:
            return True
        raise HostKeyError(
            f"{question.host} shows {question.key_type} {question.fingerprint}, not {self._fingerprint}",
            hint="ask the cluster's support which fingerprint is right; do not connect until you know",
        )
