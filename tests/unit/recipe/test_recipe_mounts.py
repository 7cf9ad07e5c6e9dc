"""RUN --mount: every kind and key, what it comes to, and what is refused."""

from __future__ import annotations

import pytest
from support.recipes import known, mounts

from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.recipe.steps import Context, FromStage, Mount, Source


def read(written: str) -> Mount:
    text = f"FROM i AS s\nRUN 1\nFROM base\nWORKDIR /w\nARG V=v\nRUN --mount={written} a"
    (mount,) = mounts(known(text))
    return mount


def bind(target: str, path: str = ".", *, stage: int | None = None) -> Mount:
    origin = Context() if stage is None else FromStage(stage=stage)
    return Mount(kind="bind", target=target, source=Source(origin=origin, path=path))


@pytest.mark.parametrize(
    ("written", "mount"),
    [
        ("target=/x", bind("/x")),
        ("type=bind,source=$V/a,target=b/../c/,rw", bind("/w/c", "v/a")),
        ("type=bind,src=/a,dst=/$V,readonly=false", bind("/v", "a")),
        ("from=s,source=../a,destination=/x,ro", bind("/x", "a", stage=0)),
        ("from=0,target=/x", bind("/x", stage=0)),
        ("from=img:1,target=/x", bind("/x", stage=0)),
        ("source=a", bind("/w", "a")),
        ("'\"source=a,b\",target=/x'", bind("/x", "a,b")),
        ("type=cache,target=/c", Mount(kind="cache", target="/c")),
        (
            "TYPE=Cache,target=/c/,id=k$V,sharing=locked,mode=0700,uid=07,gid=8",
            Mount(kind="cache", target="/c", id="kv", owner="7:8", mode="0700"),
        ),
        ("type=cache,target=/c,gid=8", Mount(kind="cache", target="/c", owner="0:8")),
        ("type=tmpfs,target=/t,size=10MiB", Mount(kind="tmpfs", target="/t")),
        ("type=secret,id=k", Mount(kind="secret", target="/run/secrets/k", id="k")),
        ("type=secret,target=/a/k", Mount(kind="secret", target="/a/k", id="k")),
        ("type=secret,src=k,dst=f,required", Mount(kind="secret", target="/w/f", id="k", required=True)),
        ("type=secret,id=k,env=K", Mount(kind="secret", target="", id="k", variable="K")),
        (
            "type=secret,id=k,env=K,target=/f,mode=0444,uid=1,required=false",
            Mount(kind="secret", target="/f", id="k", owner="1:0", mode="0444", variable="K"),
        ),
    ],
)
def test_mounts(written: str, mount: Mount) -> None:
    assert read(written) == mount


def test_several_mounts_keep_their_order() -> None:
    found = mounts(known("FROM base\nRUN --mount=target=/b --mount=type=tmpfs,target=/a a"))
    assert [mount.target for mount in found] == ["/b", "/a"]


@pytest.mark.parametrize(
    ("written", "said", "hint"),
    [
        ("type=ssh", "--mount=type=ssh is not converted", "secret"),
        ("type=bnd,target=/x", "no --mount of the type 'bnd'", "perhaps you meant 'bind'"),
        ("type=bind,trget=/x", "--mount knows no 'trget=/x'", "perhaps you meant 'target'"),
        ("type=bind,target", "--mount has target without a value", "target=VALUE"),
        ("type=tmpfs,target=/", "has the target /", "FOLDER"),
        ("source=../a,target=/x", "the mounted ../a leads out of the build context", "folder"),
        ("type=cache,target=/x,from=s", "cache with from is not converted", "COPY --from=s"),
        ("type=bind,target=/x,mode=0700", "--mount=type=bind takes no mode", "delete mode"),
        ("type=tmpfs,target=/x,required", "--mount=type=tmpfs takes no required", "delete required"),
        ("type=cache,target=/x,size=1", "--mount=type=cache takes no size", "delete size"),
        ("type=secret,id=a,sharing=shared", "--mount=type=secret takes no sharing", "delete"),
        ("type=cache,target=/x,sharing=some", "sharing=some, which is no value", "lists"),
        ("type=cache,target=/x,mode=9", "mode=9, which is no value", "lists"),
        ("type=cache,target=/x,uid=me", "uid=me, which is no value", "lists"),
        ("type=bind,target=/x,ro=perhaps", "ro=perhaps, which is no value", "lists"),
        ("type=secret", "names no secret", "id=NAME"),
        ("type=secret,id=a,source=b", "both source and id", "id=NAME"),
        ("type=secret,id=a,from=s", "secret takes no from", "delete"),
        ("type=secret,id=../k", "'../k' cannot name a secret", "letters"),
        ("'\"target=/x'", "--mount=", "quotes"),
    ],
)
def test_what_is_refused(written: str, said: str, hint: str) -> None:
    with pytest.raises(RecipeError) as caught:
        read(written)
    assert said in caught.value.message
    assert caught.value.message.startswith("Dockerfile:6: ")
    assert hint in caught.value.hint
