"""The pretrained weights that a notebook will ask for, put on the cluster before it does.

Compute nodes are often without internet, so they are fetched once where there is one: on the login node, else on this
computer, from where they are sent up. What cannot be had is said and left to the notebook.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Literal

from dl4mic_hpc import resources
from dl4mic_hpc.catalog import NotebookSpec
from dl4mic_hpc.catalog.weights import Weights
from dl4mic_hpc.errors import RecipeError, RemoteError
from dl4mic_hpc.profile import ClusterProfile
from dl4mic_hpc.recipe.steps import Url
from dl4mic_hpc.remote import Remote, Teller
from dl4mic_hpc.slurm.weights import WeightsBind

_CHUNK = 256 * 1024
_ELSEWHERE = ("network", "refused")
"""Failures of the login node after which this computer may have more luck."""


def folder(profile: ClusterProfile) -> PurePosixPath:
    return profile.work_dir / "weights"


def recall(listed: str, spec: NotebookSpec) -> frozenset[Weights]:
    """Which of the notebook's weights probe.sh's list of the folder names, whole and with their record."""
    names = {word.removeprefix("./") for word in listed.split()}
    return frozenset(one for one in spec.weights if {one.stored, _record_of(one)} <= names)


def list_of(spec: NotebookSpec) -> str:
    """What the list says where all of the notebook's weights are there: a rehearsal asks nobody."""
    return " ".join(f"./{name}" for one in spec.weights for name in (one.stored, _record_of(one)))


def provide(
    remote: Remote,
    profile: ClusterProfile,
    spec: NotebookSpec,
    *,
    listed: str,
    internet: Literal["auto", "nodes", "login", "laptop"],
    teller: Teller,
) -> WeightsBind | None:
    """The notebook's weights as its job finds them; None if there are none.

    listed: what probe.sh lists there. Where that names them all, nothing is asked. internet: as in the profile; "laptop" if the
    login node has none. A failure is told with `teller.note` and ends nothing; SshError if the connection is lost.
    """
    there = set(recall(listed, spec))
    missing = [one for one in spec.weights if one not in there]
    if missing:
        teller.say(f"fetching pretrained weights for {spec.title}: {_count(missing)}")
        why = dict.fromkeys(missing, "network: the login node has no internet")
        if internet != "laptop":
            why = _on_the_login_node(remote, profile, missing, teller)
        for one in [each for each, told in why.items() if told.startswith(_ELSEWHERE)]:
            why[one] = _from_here(remote, profile, one, teller)
        for one, told in why.items():
            if told:
                teller.note(
                    f"the pretrained weights {one.name} are not brought along ({told.partition(': ')[2]}): "
                    "where the notebook needs them, it has to fetch them itself"
                )
        there |= {one for one in missing if not why[one]}
    return bind(profile, tuple(one for one in spec.weights if one in there))


def bind(profile: ClusterProfile, files: tuple[Weights, ...]) -> WeightsBind | None:
    """These files as a job finds them; None for none."""
    return WeightsBind(folder=folder(profile), files=files) if files else None


def as_json(brought: WeightsBind | None) -> list[dict[str, str | None]]:
    """For the provenance: `sha256` as the configuration has it."""
    files = brought.files if brought else ()
    return [{"name": one.name, "url": one.url, "sha256": one.sha256 or None} for one in files]


def _count(files: list[Weights]) -> str:
    return "1 file" if len(files) == 1 else f"{len(files)} files"


def _record_of(one: Weights) -> str:
    return f"{one.stored.partition('/')[0]}/weights.json"


def _record(one: Weights) -> str:
    """The record without its closing brace: hash, size and time are added where the file is."""
    return json.dumps({"version": 1, "url": one.url, "name": one.name}).removesuffix("}")


def _script() -> str:
    return resources.data("templates", "weights.sh").read_text(encoding="utf-8")


def _on_the_login_node(
    remote: Remote, profile: ClusterProfile, files: list[Weights], teller: Teller
) -> dict[Weights, str]:
    """Why each file was not fetched there, as `kind: reason`; "" if it was."""
    environment = {**profile.build.environment.proxies}
    if profile.build.environment.ca_file is not None:
        environment["CURL_CA_BUNDLE"] = str(profile.build.environment.ca_file)
    lines = [
        *(("set", name, value) for name, value in environment.items()),
        *(("file", one.stored, one.sha256 or "-", one.url, _record(one)) for one in files),
    ]
    why = dict.fromkeys(files, "network: the login node gave no answer")
    by_place = {one.stored: one for one in files}
    said = {"fetching": "fetching", "waiting": "another launch is fetching"}
    with remote.start("bash", "-c", _script(), "weights", str(folder(profile)), "fetch") as process:
        try:
            process.write("".join("\t".join(line) + "\n" for line in lines).encode())
            process.close_stdin()
        except BrokenPipeError:
            pass  # it has ended; what it said is read all the same
        for word, place, text in _answers(iter(process.read, b"")):
            if word == "failed" and not place:  # the folder itself
                return dict.fromkeys(files, text)
            one = by_place.get(place)
            if one is None:
                continue
            if word in said:
                teller.detail(f"{said[word]} {one.name}")
            elif word in ("ready", "failed"):
                why[one] = text
    return why


def _answers(chunks: Iterable[bytes]) -> Iterator[tuple[str, str, str]]:
    """The script's lines, each as soon as it is whole."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            word, _, told = line.decode("utf-8", "replace").partition("\t")
            place, _, text = told.partition("\t")
            yield word, place, text


def _from_here(remote: Remote, profile: ClusterProfile, one: Weights, teller: Teller) -> str:
    """Fetches on this computer and sends up. Answers as `_on_the_login_node` does."""
    from dl4mic_hpc.sources import downloads  # here: importing takes time, and most launches fetch nothing
    from dl4mic_hpc.sources.cache import Cache

    wanted = Url(address=one.url, checksum=f"sha256:{one.sha256}" if one.sha256 else "")
    try:
        file = downloads.download(wanted, cache=Cache(folder=resources.home("cache")), say=teller.detail)
    except RecipeError as error:
        return f"network: {error.message}"
    teller.detail(f"sending {one.name} ({file.stat().st_size / 1e6:.0f} MB)")
    words = ("keep", one.stored, file.name, _record(one))
    with remote.start("bash", "-c", _script(), "weights", str(folder(profile)), *words) as process:
        try:
            with file.open("rb") as stream:
                while chunk := stream.read(_CHUNK):
                    process.write(chunk)
        except BrokenPipeError:
            pass  # a full disk, which the answer says
        try:
            answer = process.wait(600).stdout
        except (RemoteError, TimeoutError):
            return "network: the login node gave no answer"
    told = {word: text for word, _, text in _answers([answer.encode()])}
    return "" if "ready" in told else told.get("failed", "network: the login node gave no answer")
