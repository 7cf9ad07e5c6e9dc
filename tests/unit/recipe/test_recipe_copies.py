"""COPY and ADD: their sources of every kind, their flags, their destinations."""

from __future__ import annotations

import pytest
from support.recipes import copies, known

from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.recipe.steps import Context, Copy, FromStage, Git, Source, Text, Url


def copy(text: str) -> Copy:
    (found,) = copies(known(f"FROM base\nWORKDIR /w\nARG V=v F='a b'\n{text}"))
    return found


def context(*paths: str) -> tuple[Source, ...]:
    return tuple(Source(origin=Context(), path=path) for path in paths)


@pytest.mark.parametrize(
    ("text", "sources", "destination"),
    [
        ("COPY $V.txt ./", ("v.txt",), "/w/"),
        ('COPY ["x y", "/z", "sub/"]', ("x y", "z"), "/w/sub/"),
        ("COPY a b /", ("a", "b"), "/"),
        ("ADD dir .", ("dir",), "/w/"),
        ("COPY /./p/ /x/.", ("p",), "/x/"),
        ("COPY . q", (".",), "/w/q"),
        ("COPY / q", (".",), "/w/q"),
        ("COPY a/../b ../q", ("b",), "/q"),
        ("COPY a ../../../q/", ("a",), "/q/"),
        ('COPY ["$F", "/$V"]', ("a b",), "/v"),
        ("COPY a/./b q", ("a/b",), "/w/q"),
        ("COPY --parents a/./b//c ./d /e/", ("a/./b/c", "d"), "/e/"),
    ],
)
def test_sources_and_destinations(text: str, sources: tuple[str, ...], destination: str) -> None:
    found = copy(text)
    assert (found.sources, found.destination) == (context(*sources), destination)


@pytest.mark.parametrize(
    ("written", "path", "glob"),
    [
        ("*.py", "*.py", True),
        ("a/[b-c]/d?", "a/[b-c]/d?", True),
        ('"a\\*b"', "a\\*b", False),
        ("a\\*", "a*", True),
    ],
)
def test_wildcards(written: str, path: str, glob: bool) -> None:
    assert copy(f"COPY {written} x/").sources == (Source(origin=Context(), path=path, glob=glob),)


def test_several_files_for_what_is_not_written_as_a_folder() -> None:
    recipe = known("FROM base\nCOPY a b /home")
    assert copies(recipe)[0].destination == "/home/"
    assert recipe.notes[0].startswith("Dockerfile:2: COPY puts several files onto /home")


def test_flags() -> None:
    found = copy(
        "COPY --chown=$V:1 --chmod=0$V --link --parents --exclude=*.md --exclude=$V a b".replace("0$V", "644")
    )
    assert (found.owner, found.mode, found.parents, found.exclude) == ("v:1", "644", True, ("*.md", "$V"))
    assert (found.unpack, found.line, found.undecided) == (False, 4, False)


@pytest.mark.parametrize(
    ("text", "unpack"),
    [("ADD a b", True), ("ADD --unpack=false a b", False), ("ADD --unpack a b", True), ("COPY a b", False)],
)
def test_what_is_unpacked(text: str, unpack: bool) -> None:
    assert copy(text).unpack is unpack


SUM = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("written", "url", "name"),
    [
        (
            "https://h.org/p/f%20x.txt?a=/b#c",
            Url(address="https://h.org/p/f%20x.txt?a=/b#c", checksum=""),
            "f x.txt",
        ),
        ("http://h.org", Url(address="http://h.org", checksum=""), "__unnamed__"),
        ("http://h.org/d/", Url(address="http://h.org/d/", checksum=""), "d"),
        ("https://h/$V", Url(address="https://h/v", checksum=""), "v"),
        (f"--checksum={SUM} https://h/x", Url(address="https://h/x", checksum=SUM), "x"),
        (
            "https://h/x.git/archive.tar",
            Url(address="https://h/x.git/archive.tar", checksum=""),
            "archive.tar",
        ),
    ],
)
def test_addresses(written: str, url: Url, name: str) -> None:
    flags, _, address = written.rpartition(" ")
    assert copy(f"ADD {flags} {address} x/").sources == (Source(origin=url, path=name),)


def repository(where: str, ref: str = "", folder: str = "", *, keep: bool = False, checksum: str = "") -> Git:
    return Git(repository=where, ref=ref, folder=folder, keep_git=keep, checksum=checksum)


@pytest.mark.parametrize(
    ("written", "git"),
    [
        ("https://h/o/r.git", repository("https://h/o/r.git")),
        ("https://h/o/r.git#v1:/a/../b", repository("https://h/o/r.git", "v1", "b")),
        ("https://h/o/r.git#:b", repository("https://h/o/r.git", "", "b")),
        ("git@h.org:o/r.git#v1", repository("git@h.org:o/r.git", "v1")),
        ("git@h.org:o/r", repository("git@h.org:o/r")),
        ("ssh://git@h.org/o/r", repository("ssh://git@h.org/o/r")),
        ("git://h/r", repository("git://h/r")),
        ("https://h/r.git?branch=b&subdir=s%2Ft", repository("https://h/r.git", "refs/heads/b", "s/t")),
        ("https://h/r.git?tag=t&commit=abc", repository("https://h/r.git", "refs/tags/t", checksum="abc")),
        (
            "https://h/r.git?ref=x&keep-git-dir=1&mtime=commit#x",
            repository("https://h/r.git", "x", keep=True),
        ),
        (
            "--keep-git-dir=true --checksum=abc https://h/r.git",
            repository("https://h/r.git", keep=True, checksum="abc"),
        ),
    ],
)
def test_repositories(written: str, git: Git) -> None:
    flags, _, address = written.rpartition(" ")
    assert copy(f"ADD {flags} {address} x/").sources == (Source(origin=git, path="."),)


def document(name: str, content: str) -> Source:
    return Source(origin=Text(content=content.encode()), path=name)


@pytest.mark.parametrize(
    ("text", "sources"),
    [
        ("COPY <<EOF /x\n$V \"$F\" \\$V 'q'\nEOF", (document("EOF", "v \"a b\" $V 'q'\n"),)),
        ("COPY <<'EOF' /x\n$V \\$V\nEOF", (document("EOF", "$V \\$V\n"),)),
        ("COPY <<-EOF /x\n\t\ta\n\tEOF", (document("EOF", "a\n"),)),
        ("COPY <<A f <<B /x/\na\nA\nb\nB", (*context("f"), document("A", "a\n"), document("B", "b\n"))),
        ("COPY <<EOF /x\nEOF", (document("EOF", ""),)),
    ],
)
def test_here_documents(text: str, sources: tuple[Source, ...]) -> None:
    assert copy(text).sources == sources


def test_a_here_document_is_read_with_the_backslash() -> None:
    (found,) = copies(known("# escape=`\nFROM base\nARG V=v\nCOPY <<E /x\n$V \\$V `$V\nE"))
    assert found.sources == (document("E", "v $V `v\n"),)


def test_files_of_a_stage() -> None:
    text = "FROM a AS s\nRUN 1\nFROM base\nWORKDIR /w\nCOPY --from=S --chown=1 ../x /y/ z* t/"
    (found,) = copies(known(text))
    stage = FromStage(stage=0)
    assert found.sources == (
        Source(origin=stage, path="x"),
        Source(origin=stage, path="y"),
        Source(origin=stage, path="z*", glob=True),
    )
    assert (found.destination, found.owner) == ("/w/t/", "1")


def test_files_of_a_stage_beside_a_here_document_are_two_copies() -> None:
    first, second = copies(known("FROM base\nCOPY --from=i a <<E /x/\nt\nE"))
    assert first.sources == (Source(origin=FromStage(stage=0), path="a"),)
    assert second.sources == (document("E", "t\n"),)
    assert first.destination == second.destination == "/x/"


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("COPY a", "COPY has no destination", "COPY SOURCE"),
        ("ADD []", "ADD has no destination", "ADD SOURCE"),
        ("COPY ../a x", "../a leads out of the build context", "folder"),
        ("COPY a/../../b x", "a/../../b leads out of the build context", "folder"),
        ("COPY /../a x", "/../a leads out of the build context", "folder"),
        ("COPY $NONE x", "a source of COPY is empty", "write . if"),
        ("COPY a <<E\nt\nE", "a here-document cannot be a destination", "last"),
        ("COPY https://h/x y", "COPY fetches nothing: https://h/x", "ADD"),
        ("COPY git@h:r y", "COPY fetches nothing: git@h:r", "ADD"),
        ("COPY --chmod=9 a b", "--chmod=9 is no mode", "755"),
        ("COPY --chmod=77777 a b", "--chmod=77777 is no mode", "755"),
        ("COPY --chmod=u+q a b", "--chmod=u+q is no mode", "755"),
        (f"ADD --checksum={SUM} a b", "--checksum is for one file", "delete"),
        (f"ADD --checksum={SUM} https://h/x https://h/y b/", "--checksum is for one file", "one address"),
        ("ADD --checksum=md5:1 https://h/x b", "'md5:1' is no checksum", "sha256"),
        ("COPY --checksum=x a b", "COPY knows no option --checksum", "there is: chmod"),
        ("ADD --from=x a b", "ADD knows no option --from", ""),
        ("ADD --unpack https://h/x b", "ADD --unpack of what is fetched", "tar"),
        ("ADD https://h/r.git?ref=a#b x", "ref is said twice: b and a", "once"),
        (
            "ADD --keep-git-dir=false https://h/r.git?keep-git-dir=true&ref=a&ref=b x",
            "'ref' stands twice",
            "once",
        ),
        ("ADD https://h/r.git?depth=1 x", "'depth' in https://h/r.git?depth=1", "branch"),
        ("ADD https://h/r.git?submodules=false x", "leaves the submodules out", "git clone"),
        ("ADD https://h/r.git?keep-git-dir=often x", "keep-git-dir=often is neither", "true"),
    ],
)
def test_what_is_refused(text: str, said: str, hint: str) -> None:
    with pytest.raises(RecipeError) as caught:
        copy(text)
    assert said in caught.value.message
    assert caught.value.message.startswith("Dockerfile:4: ")
    assert hint in caught.value.hint
