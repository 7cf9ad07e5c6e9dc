"""What a recipe comes to once everything in it is evaluated: the form between a Dockerfile and a definition.

No variable is left in it but those that only the base image can give (`Late`). `line` says where in the Dockerfile
a step comes from; it is for people and never part of an image's key.
"""

from __future__ import annotations

from dataclasses import dataclass

from dl4mic_hpc.errors import RecipeError


@dataclass(frozen=True, slots=True, kw_only=True)
class Late:
    """A value that is completed while the image is built, where the base image's environment is at hand.

    parts: literal texts at even places, names of variables of the base image at odd ones: `/opt/bin:$PATH` is
    ("/opt/bin:", "PATH", ""). A name without a value there gives nothing, as in Docker.
    """

    parts: tuple[str, ...]


Value = str | Late
Variables = tuple[tuple[str, Value], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Files come from the build context."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FromStage:
    """Files come from the stage at this place in `Recipe.stages`, which stands before the one that says so."""

    stage: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """One file with this content, from a here-document. `source` of the copy is its name."""

    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Url:
    """One file from an address, checked against `checksum` ("sha256:…", "" for none)."""

    address: str
    checksum: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Git:
    """The files of a git repository at `ref` ("" for its default branch), below `folder` ("" for all)."""

    repository: str
    ref: str
    folder: str
    keep_git: bool
    checksum: str


Origin = Context | FromStage | Text | Url | Git


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One source of a COPY or ADD: where it comes from, and its path there.

    path: for `Context` and `FromStage` clean and relative to the root ("." is all of it), with Go's wildcards if
    `glob`, and with the `/./` of `--parents`; "." for `Git`; for the others the name that the file gets in a folder.
    """

    origin: Origin
    path: str
    glob: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """Files put into the image, by COPY or ADD.

    destination: absolute; it ends with / exactly if the recipe names a folder. owner: as `--chown` gives it, with
    names or numbers, "" for 0:0 (files from a stage keep theirs). mode: as `--chmod` gives it, octal or symbolic,
    "" to keep. unpack: archives of the context are unpacked (ADD). parents, exclude: as the flags of that name.
    undecided: a source depends on a base image that is not known; such a copy is only ever hashed.
    """

    sources: tuple[Source, ...]
    destination: str
    owner: str = ""
    mode: str = ""
    unpack: bool = False
    parents: bool = False
    exclude: tuple[str, ...] = ()
    undecided: bool = False
    line: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """What a RUN finds at `target` and the image does not keep. kind: bind, cache, tmpfs or secret.

    target: "" for a secret that only a variable carries. source: of a bind, what it shows. id: of a secret, the name
    of its file; of a cache, its own. owner, mode: of a cache or secret, as numbers in text, "" for Docker's own.
    required: of a secret. variable: of a secret, the environment variable that carries it, "" for none.
    """

    kind: str
    target: str
    source: Source | None = None
    id: str = ""
    owner: str = ""
    mode: str = ""
    required: bool = False
    variable: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A program run while the image is built.

    environment: all that ENV and ARG say so far, those that the base image sets among them if its configuration
    is known. user: as USER gives it ("" is root). script: of a here-document that begins with #!, the file that is
    run, its path appended to `argv`.
    """

    argv: tuple[str, ...]
    environment: Variables
    folder: str
    user: str = ""
    mounts: tuple[Mount, ...] = ()
    script: bytes | None = None
    line: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeFolder:
    """A folder made with mode 0755 where there is none, for `owner`; `line` is 0 for one that no line asks for."""

    path: str
    owner: str = ""
    line: int
    text: str


Step = Run | Copy | MakeFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How Docker asks whether a container works (HEALTHCHECK). Nanoseconds, 0 for Docker's own; Apptainer never asks.

    test: the kind (NONE, CMD, CMD-SHELL), then the words.
    """

    test: tuple[str, ...]
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """What an image says about itself (https://github.com/opencontainers/image-spec/blob/main/config.md).

    Everything that holds at this point, the base image's part included if that is known. entrypoint, command: None
    if nothing sets it; () if something sets it to nothing. folder: "" if nothing sets it, which means /.
    user: "" means root. shell: () means /bin/sh -c. onbuild: instructions for the images that stand on this one.
    """

    environment: Variables = ()
    labels: tuple[tuple[str, str], ...] = ()
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    folder: str = ""
    user: str = ""
    shell: tuple[str, ...] = ()
    onbuild: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    stop_signal: str = ""
    health: Health | None = None
    author: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseImage:
    """An image that a stage stands on.

    reference: as the recipe names it, without the tag if it has a digest. digest: "sha256:…" of the manifest for
    the platform, "" if it is not known. file: a file on this computer that holds the image in the form that
    `agent` names (oci-archive, docker-archive, localimage), "" for one that a registry has. config: None if it
    could not be read, and `unknown` says why. shell: whether it holds /bin/sh, None if nobody has looked.
    """

    reference: str
    platform: str = ""
    digest: str = ""
    agent: str = "docker"
    file: str = ""
    config: ImageConfig | None = None
    unknown: str = ""
    shell: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scratch:
    """Nothing at all: `FROM scratch`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One image on the way to the last: what it stands on, its steps in order, its configuration at the end.

    name: in small letters, "" if it has none. A stage that only serves `COPY --from=IMAGE` has no steps.
    """

    name: str
    base: BaseImage | FromStage | Scratch
    steps: tuple[Step, ...]
    config: ImageConfig
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """The stages that the wanted one needs, in the order in which they are built; the wanted one is the last.

    needs: refusals for what depends on a base image whose configuration is not known, in the order of the lines. A
    recipe with needs has a key and no definition. presumed: names of which an expansion presumed that the base
    image gives them no value; the build looks. notes: what Docker would warn of. left_out: names of the stages
    after the wanted one, "" for an unnamed one.
    """

    name: str
    stages: tuple[Stage, ...]
    needs: tuple[RecipeError, ...] = ()
    presumed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
