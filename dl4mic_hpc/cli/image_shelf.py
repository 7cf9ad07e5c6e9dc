"""`image list`, `check`, `remove`, `prune`: what images there are, whether they are whole, and away with the old ones."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from dl4mic_hpc.cli import choose, console
from dl4mic_hpc.cli.ask import TerminalAsker
from dl4mic_hpc.errors import ImageError, UsageError

if TYPE_CHECKING:
    from dl4mic_hpc.images.shelf import Image, Leftover, Shelf
    from dl4mic_hpc.images.tidy import Pruning
    from dl4mic_hpc.profile import ClusterProfile
    from dl4mic_hpc.ssh import Connection

ClusterOption = Annotated[
    str | None, typer.Option("--cluster", help="Where; may be left out if you have one cluster only.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Answer as JSON on standard output.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Remove without a question.")]
_WORDS = "A name, a key or its beginning, or a file, as `image list` shows them."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Visit:
    """A cluster, looked at over a connection that is still open."""

    profile: ClusterProfile
    connection: Connection
    steps: console.Steps
    shelf: Shelf


def register(app: typer.Typer) -> None:
    app.command("list", epilog="Example: dl4mic-hpc image list --cluster myuni")(list_)
    app.command(epilog="Example: dl4mic-hpc image check --all")(check)
    app.command(epilog="Example: dl4mic-hpc image remove care_2d")(remove)
    app.command(epilog="Example: dl4mic-hpc image prune --older-than 30d --dry-run")(prune)


def list_(cluster: ClusterOption = None, as_json: JsonOption = False) -> None:
    """List the images on a cluster: yours, and those that others keep for you."""
    with _looked(cluster) as visit:
        shelf = visit.shelf
    if as_json:
        console.answer_json({"version": 1, **shelf.as_json()})
        return
    if shelf.images:
        _table(shelf)
    else:
        console.tell(f"there is no image on {shelf.cluster} yet; the first launch of a notebook makes one")
    if shelf.leftovers:
        console.answer("")
        _leftovers(shelf.leftovers)
    console.answer("")
    console.answer(
        f"Your images take {_size(image for image in shelf.images if image.own)}, "
        f"what Apptainer keeps to pull and build faster {console.size_in_words(shelf.cache)}."
    )
    for one in shelf.folders:
        if not one.there and not one.own:
            console.warn(f"`image_folders` of the profile names {one.path}, which is not there")
    if shelf.slurm_error:
        console.warn(f"Slurm does not answer; which sessions run is not known: {shelf.slurm_error}")


def check(
    image: Annotated[list[str] | None, typer.Argument(metavar="[IMAGE]...", help=_WORDS)] = None,
    every: Annotated[
        bool, typer.Option("--all", "-a", help="All images, also those that others keep.")
    ] = False,
    cluster: ClusterOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read images from end to end and compare them with their records.

    The bytes are read on the login node, at the lowest priority: some seconds for a gigabyte.
    """
    from dl4mic_hpc.images import tidy

    if every == bool(image):
        raise UsageError(
            "which image?" if not every else "--all and IMAGE exclude each other",
            hint="name one, or give --all; `dl4mic-hpc image list` shows them",
        )
    verdicts = []
    with _looked(cluster) as visit:
        shelf = visit.shelf
        named = (one for word in image or () for one in shelf.find(word))
        chosen = _each_once(shelf.images if every else named)
        visit.steps.say(f"reading {len(chosen)} image{'' if len(chosen) == 1 else 's'}, {_size(chosen)}")
        for verdict in tidy.check(visit.connection, chosen):
            verdicts.append(verdict)
            visit.steps.detail(f"{verdict.image.path.name} is read")
    if as_json:
        checks = [verdict.as_json() for verdict in verdicts]
        console.answer_json({"version": 1, "cluster": shelf.cluster, "images": checks})
    else:
        for verdict in verdicts:
            detail = "; ".join(verdict.faults) or "as it was made"
            console.finding("failed" if verdict.faults else "ok", verdict.image.path.name, detail)
    wrong = [verdict.image for verdict in verdicts if verdict.faults]
    if wrong:
        raise ImageError(
            f"{len(wrong)} of {len(verdicts)} images must not be used: "
            + ", ".join(str(image.path) for image in wrong),
            hint="; ".join(map(_what_to_do, wrong)),
        )


def _what_to_do(image: Image) -> str:
    if image.own:
        return f"`dl4mic-hpc image remove {image.key or image.path.name}`, and the next launch makes it anew"
    return f"tell {image.entry.owner}, who keeps {image.path.name}; launches pass it over if its file shows the fault"


def remove(
    image: Annotated[list[str], typer.Argument(metavar="IMAGE...", help=_WORDS)],
    yes: YesOption = False,
    cluster: ClusterOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove images of yours. One that a session or a build needs is not removed."""
    from dl4mic_hpc.images import tidy

    with _looked(cluster) as visit:
        chosen = _each_once(visit.shelf.find_own(word) for word in image)
        tidy.require_unused(visit.shelf, chosen)
        what = f"{', '.join(image.path.name for image in chosen)} ({_size(chosen)})"
        if _agreed(visit, f"Remove {what} from {visit.profile.name}?", yes=yes):
            visit.steps.say("removing")
            tidy.remove(visit.connection, visit.profile, visit.shelf, chosen)
        else:
            chosen = []
    if as_json:
        rows = [image.as_json() for image in chosen]
        console.answer_json({"version": 1, "cluster": visit.profile.name, "removed": rows})
    else:
        console.answer(f"Removed {what}." if chosen else "Nothing was removed.")


def prune(
    older_than: Annotated[
        str,
        typer.Option(
            "--older-than", metavar="AGE", help="Not used for so long: hours, days or weeks (12h, 30d, 2w)."
        ),
    ] = "30d",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would go, and how much room that gives.")
    ] = False,
    yes: YesOption = False,
    cluster: ClusterOption = None,
    as_json: JsonOption = False,
) -> None:
    """Clear away images that no session has used for long, and what broken-off builds have left.

    Sessions, results and weights are never touched, nor is what others keep.
    """
    from dl4mic_hpc.images import tidy

    age = tidy.age(older_than)
    with _looked(cluster, unread_for=age) as visit:
        planned = tidy.plan(visit.shelf, unused_for=age)
        done = None
        if not dry_run and not planned.is_empty:
            if not as_json:
                visit.steps.close()
                _show(planned)
            if _agreed(visit, f"Clear this away on {visit.profile.name}?", yes=yes):
                visit.steps.say("clearing away")
                done = tidy.prune(visit.connection, visit.profile, planned)
    shown = done or planned
    if as_json:
        removed = done is not None
        console.answer_json(
            {"version": 1, "cluster": visit.profile.name, "removed": removed, **shown.as_json()}
        )
        return
    if planned.is_empty:
        console.answer(
            f"Nothing to clear away: no image is unused for {older_than}, no broken-off build has left anything."
        )
    elif dry_run:
        _show(planned)
    else:
        console.answer(
            f"{console.size_in_words(done.size)} are free again." if done else "Nothing was removed."
        )
    for path, why in shown.kept:
        console.tell(f"  kept: {path.name}, {why}")


# ---- Shared ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _looked(cluster: str | None, *, unread_for: int | None = None) -> Iterator[_Visit]:
    from dl4mic_hpc import ssh
    from dl4mic_hpc.images import inventory

    profile = choose.profile(cluster)
    with console.Steps() as steps:
        steps.say(f"connecting to {profile.name}")
        with ssh.connect(profile, ask=TerminalAsker()) as connection:
            steps.say(f"looking at the images on {profile.name}")
            found = inventory.look(connection, profile, unread_for=unread_for)
            yield _Visit(profile=profile, connection=connection, steps=steps, shelf=found)


def _each_once(images: Iterable[Image]) -> list[Image]:
    return list({image.path: image for image in images}.values())


def _size(images: Iterable[Image]) -> str:
    return console.size_in_words(sum(image.entry.size for image in images))


def _agreed(visit: _Visit, question: str, *, yes: bool) -> bool:
    if yes:
        return True
    visit.steps.close()
    if not console.can_ask():
        raise UsageError("nothing is removed without an answer, and there is no terminal", hint="add --yes")
    return console.ask(question)


def _show(pruning: Pruning) -> None:
    console.table(
        ("WHAT", "SIZE", "FILE"),
        [
            *(
                (f"image {one.name}, {_last_used(one)}", console.size_in_words(one.entry.size), str(one.path))
                for one in pruning.images
            ),
            *((one.what, console.size_in_words(one.size), str(one.path)) for one in pruning.leftovers),
            *(
                [("cached parts of images", console.size_in_words(pruning.cache), "-")]
                if pruning.cache
                else []
            ),
        ],
    )
    console.answer(f"{console.size_in_words(pruning.size)} in all.")


def _last_used(image: Image) -> str:
    from dl4mic_hpc.images.shelf import iso

    return (
        f"last used {iso(image.used)[:10]}"
        if image.used is not None
        else f"made {iso(image.built)[:10]}, never used"
    )


def _table(shelf: Shelf) -> None:
    from dl4mic_hpc.images.shelf import iso

    console.table(
        ("NAME", "KEY", "SOURCE", "DIGEST", "SIZE", "MADE", "LAST USED", "IN USE BY", "STATE", "FOLDER"),
        [
            (
                one.name,
                one.key or "-",
                one.source or "-",
                one.record.source.digest[:19] or "-" if one.record else "-",
                console.size_in_words(one.entry.size),
                iso(one.built)[:10],
                iso(one.used)[:10] if one.used is not None else "-",
                one.in_use or "-",
                one.fault or "usable",
                "yours" if one.own else str(one.path.parent),
            )
            for one in shelf.images
        ],
    )


def _leftovers(leftovers: Iterable[Leftover]) -> None:
    console.table(
        ("ALSO THERE", "SIZE", "STATE", "FILE"),
        [
            (
                one.what,
                console.size_in_words(one.size),
                _fate(one),
                str(one.path),
            )
            for one in leftovers
        ],
    )


def _fate(leftover: Leftover) -> str:
    if not leftover.dead:
        return "in use, or recent"
    return "`image prune` removes it" + (", once it is old" if leftover.written is not None else "")
