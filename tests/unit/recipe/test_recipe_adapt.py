"""What is changed so that an image works on a cluster, and what is told of how it differs from Docker's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.apptainer_reader import read_stages
from support.recipes import Bases, known, unknown

from dl4mic_hpc.recipe.adapt import BIND_TARGETS, WIDGET_LIMIT, Adapted, adapt
from dl4mic_hpc.recipe.bundle import convert
from dl4mic_hpc.recipe.steps import ImageConfig, MakeFolder

PLAIN = {"bind-targets", "apt-sandbox", "owners", "temporary-folders", "library-path"}


def adapted(text: str, config: ImageConfig | None = None, *, exact: bool = False) -> Adapted:
    return adapt(known(f"FROM base\n{text}", config or ImageConfig()), exact=exact)


def names(found: Adapted) -> set[str]:
    return {each.name for each in found.deviations}


def test_every_image_has_the_folders_for_binds() -> None:
    found = adapted("RUN a")
    assert [step.path for step in found.recipe.stages[-1].steps if isinstance(step, MakeFolder)] == list(
        BIND_TARGETS
    )
    assert names(found) == PLAIN
    assert found.portable_modes and found.apt_as_root
    assert all(each.what and each.reason for each in found.deviations)


@pytest.mark.parametrize(
    ("text", "added"),
    [
        ("COPY a /b", {"portable-modes", "times"}),
        ("COPY --chmod=700 a /b", {"times"}),
        ("ADD https://x.y/z /b", {"portable-modes", "times", "fetched-modes"}),
        ("ENV HOME=/x", {"home-variable"}),
        ("USER me", {"user", "readable-homes"}),
        ("USER me\nRUN x\nUSER root", {"readable-homes"}),
        ("USER 0", set()),
        ("EXPOSE 1\nVOLUME /x\nSTOPSIGNAL 9", {"docker-only"}),
        ("LABEL 'a b'=c", {"labels"}),
        ("LABEL a=' b'", {"labels"}),
        ("LABEL a='b\\\nc' d='e f'", set()),
        ("RUN --mount=target=/x y", {"writable-mounts"}),
        ("RUN --mount=type=cache,target=/x y", set()),
        ("ENV PATH=/root/.nvm/bin:/bin", {"reachable-root"}),
        ("ENV PATH=/root:/bin X=/root/../etc", set()),
        ("RUN pip install jupyterlab==3.6.0", {"widget-front-end"}),
        ("RUN pip install 'jupyterlab<4'", {"widget-front-end"}),
        ("RUN pip install jupyterlab==4.0 notebook==3", set()),
        ("ENV PIP_CONSTRAINT=/x\nRUN pip install jupyterlab==3.6.0", set()),
    ],
)
def test_what_is_told(text: str, added: set[str]) -> None:
    assert names(adapted(text)) == PLAIN | added


def test_exactly_as_docker_does_it() -> None:
    text = "ENV HOME=/root/x\nUSER me\nCOPY a /b\nRUN pip install jupyterlab==3.6.0"
    found = adapted(text, exact=True)
    assert found.recipe == known(f"FROM base\n{text}", ImageConfig())
    assert not any((found.portable_modes, found.apt_as_root, found.constraints, found.reachable, found.homes))
    assert not found.unset
    assert names(found) == PLAIN - {"bind-targets", "apt-sandbox"} | {"times", "user"}


def test_what_is_opened() -> None:
    config = ImageConfig(environment=(("PATH", "/root/a/:/x:/root/b"), ("NVM", "/root/b")))
    found = adapted("USER me:you\nRUN x\nUSER 5\nRUN y", config)
    assert found.reachable == ("/root/a", "/root/b")
    assert found.homes == ("5", "me")


def test_images_without_a_shell() -> None:
    assert "no-shell" in names(adapt(known("FROM scratch\nCOPY a /a")))
    assert "no-shell" not in names(adapt(known("FROM scratch\nCOPY a /bin/sh\nRUN b")))
    assert "no-shell" in names(adapt(known("FROM gcr.io/distroless/base")))
    assert "no-shell" not in names(adapt(known("FROM gcr.io/distroless/base:debug")))


def test_labels_that_are_lost() -> None:
    config = ImageConfig(labels=(("a b", " c"),))
    assert "labels" not in names(adapted("LABEL d=e", config))
    assert "labels" not in names(adapt(known("FROM scratch\nLABEL 'a b'=c")))
    (lost,) = (
        each
        for each in adapt(known("FROM gcr.io/distroless/base\nLABEL d=e")).deviations
        if each.name == "labels"
    )
    assert "'d'" in lost.what


def test_what_is_presumed_of_bases_that_were_not_read() -> None:
    text = "FROM one AS x\nUSER root\nWORKDIR /\nRUN a\nFROM two\nCOPY --from=x --chown=0:0 /a /a"
    (presumed,) = (each for each in adapt(unknown(text)).deviations if each.name == "base-configuration")
    assert "SHELL and ONBUILD of one, two are presumed" in presumed.what
    assert "base-configuration" not in names(adapt(known(text)))


def test_the_reference_lists_every_difference() -> None:
    source, page = ("dl4mic_hpc/recipe/adapt.py", "docs/reference/recipes.md")
    root = Path(__file__).parents[3]
    listed = re.findall(r"^\| `([a-z-]+)` \|", (root / page).read_text(encoding="utf-8"), re.MULTILINE)
    said = re.findall(r'\bname="([a-z-]+)"', (root / source).read_text(encoding="utf-8"))
    assert len(said) > 15
    assert sorted(listed) == sorted(said)


def test_stages_that_are_left_out() -> None:
    found = adapt(known("FROM base AS a\nFROM a\nFROM a AS c", target="a"))
    (target,) = (each for each in found.deviations if each.name == "target")
    assert "'a'" in target.what and "one without a name, 'c'" in target.what


def test_how_it_reaches_the_definition() -> None:
    text = (
        "FROM base\nENV HOME=/root/h PATH=/root/h/bin\nUSER me\nRUN pip install jupyterlab==3.6.0\n"
        "RUN b\nLABEL 'a b'=c d=e"
    )
    outside = Bases({"base": ImageConfig(labels=(("kept", "by Apptainer"),))})

    def made(*, exact: bool) -> tuple[str, str, set[str]]:
        bundle = convert(text, context=Path("none"), build_args={}, outside=outside, pin=True, exact=exact)
        (stage,) = read_stages(bundle.definition)
        return stage.sections["post"], stage.sections["environment"], {path.name for path in bundle.files}

    post, environment, files = made(exact=False)
    assert "dl4mic_apt as-root\n" in post
    assert "dl4mic_open /root/h /root/h/bin\n" in post
    assert "dl4mic_open_homes me\n" in post
    assert "dl4mic_label \\\n    'd e'\n" in post
    assert "kept" not in post
    assert "HOME" not in environment
    assert "pip-constraints.txt" in files
    post, environment, files = made(exact=True)
    assert "dl4mic_apt as-it-is\n" in post
    assert "dl4mic_open" not in post
    assert "export HOME=/root/h\n" in environment
    assert "pip-constraints.txt" not in files
    assert WIDGET_LIMIT not in post
