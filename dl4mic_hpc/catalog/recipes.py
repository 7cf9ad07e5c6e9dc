"""DL4MicEverywhere's own recipes, for configurations that have no Dockerfile beside them."""

from __future__ import annotations

from dl4mic_hpc.catalog.spec import Pinned

_REPOSITORY = "https://raw.githubusercontent.com/HenriquesLab/DL4MicEverywhere"
_REVISION = "825c8c80d6a53a1c98a751c93e5c921e8b59d4e7"
_SHA256 = {
    "Dockerfile": "20bac2215962b451ac67be3ced8dc9b77dea5443e8d089f2a50fc3963cf45390",
    "Dockerfile.gpu": "171a43ecbfbf7133cc83ad492a0a5f08ef685f59c6dca37cf5ae9d44ed835270",
}


def standard(*, gpu: bool) -> Pinned:
    """The recipe that DL4MicEverywhere's launcher takes, at the revision that this program was tested with."""
    name = _name(gpu)
    return Pinned(url=f"{_REPOSITORY}/{_REVISION}/{name}", sha256=_SHA256[name], name=name)


def moving_url(*, gpu: bool) -> str:
    """The same recipe as it is now."""
    return f"{_REPOSITORY}/main/{_name(gpu)}"


def _name(gpu: bool) -> str:
    return "Dockerfile.gpu" if gpu else "Dockerfile"
