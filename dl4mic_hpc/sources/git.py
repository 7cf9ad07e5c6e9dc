"""Files of git repositories, fetched by the git of this computer and kept by their commit.

What a repository says is not trusted: no hook of it runs, it names no file of this computer as a submodule, and
nothing asks for a password. The person's own settings hold for the way to the server (proxies, certificates,
credentials) and not for the files, which are those of a checkout on Linux without any.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit, urlunsplit

from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.recipe.steps import Git
from dl4mic_hpc.sources import web
from dl4mic_hpc.sources.cache import Cache

TIMEOUT = 900.0  # seconds for one command; a stalled transfer ends long before

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_CHECKSUM = re.compile(r"[0-9a-f]{1,64}")
_REF = re.compile(r"(?!-)[^\x00-\x20\x7f~^:?*\[\\]+")
_PROTOCOLS = ("https", "http", "ssh", "git")
_SETTINGS = {
    "advice.detachedHead": "false",
    "core.attributesFile": os.devnull,
    "core.autocrlf": "false",
    "core.eol": "lf",
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "core.logAllRefUpdates": "false",
    "core.symlinks": "true",
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "60",
    "init.defaultBranch": "master",
    "submodule.recurse": "false",
}
# A program for git (gitcredentials(7)) that answers from the environment: arguments are seen by everybody.
_HELPER = (
    "!answer() { test \"$1\" = get && printf 'username=%s\\npassword=%s\\n' "
    '"$DL4MIC_GIT_USER" "$DL4MIC_GIT_PASSWORD"; }; answer'
)
# By these a surrounding repository or a hook would tell git to work somewhere else.
_FOREIGN = re.compile(
    r"GIT_(DIR|WORK_TREE|INDEX_FILE|OBJECT_DIRECTORY|ALTERNATE_OBJECT_DIRECTORIES|COMMON_DIR|NAMESPACE|PREFIX"
    r"|CEILING_DIRECTORIES|CONFIG_(COUNT|KEY_\d+|VALUE_\d+)|SHALLOW_FILE|TEMPLATE_DIR|TRACE.*)"
)


def checkout(git: Git, *, cache: Cache, say: Callable[[str], None]) -> Path:
    """The folder `git.folder` of the repository at `git.ref`, in the cache, where it stays as it is.

    A ref is looked for as BuildKit does: as it is written below refs/, then as a branch, then as a tag. Submodules
    come along. `.git` is there only if `keep_git` says so and the folder is the whole repository. RecipeError if
    something is missing, if the commit is another one than `git.checksum`, or if there is no git.
    """
    shown = web.redacted(git.repository)
    _check(git, shown)
    repository = _repository(git.repository)
    commit = _commit(git, repository, cache, shown)
    keep = git.keep_git and not git.folder
    place = cache.folder / "git" / _key(repository.address, commit.hash, commit.ref if keep else "")
    if not place.is_dir():
        say(f"fetching {shown} at {git.ref or 'its default branch'}")
        _fetch(repository, commit, place, keep=keep, cache=cache)
    return _inside(place, git.folder, shown)


def commit(git: Git, *, cache: Cache) -> str:
    """The hash of the commit that `git.ref` stands for now; RecipeError as above."""
    shown = web.redacted(git.repository)
    _check(git, shown)
    return _commit(git, _repository(git.repository), cache, shown).hash


@dataclass(frozen=True, slots=True, kw_only=True)
class _Commit:
    """ref: the full name that was found, "" if the hash itself was asked for. tag: of an annotated tag, its own hash."""

    hash: str
    ref: str = ""
    tag: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Repository:
    """address: without user and password of HTTP. secrets: variables by which git gives those to that server alone."""

    address: str
    secrets: Mapping[str, str]

    def run(self, *words: str, folder: Path) -> subprocess.CompletedProcess[str]:
        settings = [word for key, value in _SETTINGS.items() for word in ("-c", f"{key}={value}")]
        try:
            return subprocess.run(
                ["git", *settings, *words],
                cwd=folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=TIMEOUT,
                umask=-1 if sys.platform == "win32" else 0o022,
            )
        except OSError as error:
            what = (
                f"{web.redacted(self.address)} cannot be fetched: there is no git that works on this computer"
            )
            hint = "install git, or fetch the files yourself and COPY them"
            raise RecipeError(what, hint=hint) from error
        except subprocess.TimeoutExpired as error:
            what = f"{web.redacted(self.address)} cannot be fetched: no answer in {TIMEOUT:.0f} s"
            raise RecipeError(what, hint="see whether this computer is online") from error

    def _environment(self) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not _FOREIGN.fullmatch(name)}
        return {
            "GIT_SSH_COMMAND": "ssh -o BatchMode=yes",
            **own,
            **self.secrets,
            "GCM_INTERACTIVE": "never",
            "GIT_ALLOW_PROTOCOL": ":".join(_PROTOCOLS),
            "GIT_ASKPASS": "",
            "GIT_LFS_SKIP_SMUDGE": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "LC_ALL": "C",
        }


def _repository(address: str) -> _Repository:
    parts = urlsplit(address)
    if parts.scheme not in ("https", "http") or parts.username is None:
        return _Repository(address=address, secrets={})
    place = parts.netloc.rpartition("@")[2]
    return _Repository(
        address=urlunsplit(parts._replace(netloc=place)),
        secrets={
            "DL4MIC_GIT_USER": unquote(parts.username),
            "DL4MIC_GIT_PASSWORD": unquote(parts.password or ""),
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"credential.{parts.scheme}://{place}.helper",
            "GIT_CONFIG_VALUE_0": _HELPER,
        },
    )


def _check(git: Git, shown: str) -> None:
    """RecipeError for what git would take for an option or for something else than a repository's address."""
    scheme, colon, _ = git.repository.partition("://")
    over_ssh = not colon and re.fullmatch(r"[\w.-]+@[\w.-]+:.+", git.repository)
    if not (over_ssh or (colon and scheme in _PROTOCOLS and _splits(git.repository))):
        raise RecipeError(f"{shown} cannot be fetched", hint="write the repository's address with https://")
    if git.ref and not _REF.fullmatch(git.ref):
        raise RecipeError(f"'{git.ref}' names no branch, tag or commit", hint="look for a typing error in it")
    if git.checksum and not _CHECKSUM.fullmatch(git.checksum):
        hint = "write the commit's hash, or at least its first seven digits"
        raise RecipeError(f"'{git.checksum}' is no checksum of a commit", hint=hint)


def _splits(address: str) -> bool:
    try:
        named = bool(urlsplit(address).hostname) and " " not in address
        return named and not re.search(r"[\x00-\x1f\x7f]", unquote(address))
    except ValueError:
        return False


def _commit(git: Git, repository: _Repository, cache: Cache, shown: str) -> _Commit:
    """The commit that the ref stands for now; a hash stands for itself and needs no network."""
    if _COMMIT.fullmatch(git.ref):
        commit = _Commit(hash=git.ref)
    else:
        with cache.new_folder() as folder:
            names = (git.ref, f"{git.ref}^{{}}") if git.ref else ("HEAD",)
            listed = repository.run("ls-remote", "--", repository.address, *names, folder=folder)
        if listed.returncode:
            raise _failed(shown, listed)
        commit = _listed(git.ref, listed.stdout, shown)
    if not any(one.startswith(git.checksum) for one in (commit.tag, commit.hash) if one):
        raise RecipeError(
            f"{shown} at {git.ref or 'its default branch'} is the commit {commit.hash}, not {git.checksum}",
            hint="it is not what the recipe's author had: see why before you change the recipe",
        )
    return commit


def _listed(ref: str, listing: str, shown: str) -> _Commit:
    """What the ref stands for in the answer of `git ls-remote`, which puts ^{} after what a tag points to."""
    found = {name: value for value, _, name in (line.partition("\t") for line in listing.splitlines())}
    bare = ref.removeprefix("refs/")
    for name in (f"refs/{bare}", f"refs/heads/{ref}", f"refs/tags/{ref}") if ref else ("HEAD",):
        if name in found:
            commit = found.get(f"{name}^{{}}", found[name])
            return _Commit(hash=commit, ref=name, tag="" if commit == found[name] else found[name])
    what = f"no branch or tag '{ref}'" if ref else "no default branch"
    raise RecipeError(f"{shown} has {what}", hint="look for a typing error in the name after the #")


def _fetch(repository: _Repository, commit: _Commit, place: Path, *, keep: bool, cache: Cache) -> None:
    """Puts the files of the commit and of its submodules at `place`."""
    with cache.new_folder() as work:
        tree = work / "tree"
        tree.mkdir()
        tree.chmod(0o755)
        history = tree / ".git" if keep else work / "git"
        own = ("--git-dir", str(history), "--work-tree", str(tree))

        def run(*words: str, otherwise: tuple[str, ...] = ()) -> None:
            done = repository.run(*own, *words, folder=tree)
            if done.returncode and otherwise:
                done = repository.run(*own, *otherwise, folder=tree)
            if done.returncode:
                raise _failed(web.redacted(repository.address), done)

        run("init", "--quiet", "--template=")
        run("remote", "add", "origin", repository.address)
        wanted = f"{commit.ref}:{commit.ref}" if keep and commit.ref.startswith("refs/") else commit.hash
        fetch = ("fetch", "--quiet", "--update-head-ok")
        # Some servers give no single commit, some no shallow history: those give everything.
        everything = (*fetch, "--tags", "origin", "+refs/heads/*:refs/remotes/origin/*")
        run(*fetch, "--depth=1", "--no-tags", "origin", wanted, otherwise=everything)
        run("checkout", "--quiet", "--force", "--detach", commit.hash)
        submodules = ("submodule", "--quiet", "update", "--init", "--recursive")
        run(*submodules, "--depth=1", otherwise=submodules)
        if keep:
            (history / "FETCH_HEAD").unlink(missing_ok=True)
        else:
            _without_git(tree)
        cache.move(tree, place)


def _without_git(tree: Path) -> None:
    """Removes the files by which submodules name the place of their history."""
    for path in tree.rglob(".git"):
        if path.is_file() and not path.is_symlink():
            path.unlink()


def _inside(tree: Path, folder: str, shown: str) -> Path:
    """The folder in the tree; no link may stand on the way to it, as in BuildKit."""
    path = tree
    for part in PurePosixPath(folder).parts:
        path /= part
        if part in ("/", "..", ".git") or path.is_symlink() or not path.is_dir():
            raise RecipeError(
                f"{shown} has no folder '{folder}'", hint="look for a typing error after the second colon"
            )
    return path


def _key(address: str, commit: str, ref: str) -> str:
    return hashlib.sha256(f"{address}\n{commit}\n{ref}".encode()).hexdigest()


def _failed(shown: str, done: subprocess.CompletedProcess[str]) -> RecipeError:
    said = [line for line in done.stderr.splitlines() if line.startswith(("fatal:", "error:", "remote:"))]
    reason = " ".join(said[-2:]) or "git gives no reason"
    clean = re.sub(r"[a-z+]+://[^\s'\"]+", lambda found: web.redacted(found.group()), reason)
    return RecipeError(
        f"{shown} cannot be fetched: {clean}",
        hint="see whether `git ls-remote` with this address works here; for a private repository set up git's credentials",
    )
