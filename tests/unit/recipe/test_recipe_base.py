"""The configuration of an image, from Docker's JSON and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.recipe.base import as_docker, config_from_docker
from dl4mic_hpc.recipe.steps import Health, ImageConfig, Late

INNER: dict[str, object] = {
    "Env": ["PATH=/bin", "A=b=c", "EMPTY=", "NONE", "A=d", "=x"],
    "Labels": {"l": "m"},
    "Entrypoint": ["e", "f g"],
    "Cmd": None,
    "WorkingDir": "/w",
    "User": "me",
    "Shell": ["/bin/bash", "-c"],
    "OnBuild": ["RUN a"],
    "ExposedPorts": {"80/tcp": {}},
    "Volumes": {"/v": {}},
    "StopSignal": "SIGINT",
    "Healthcheck": {"Test": ["NONE"], "Interval": 5},
    "Tty": False,
}
CONFIG = ImageConfig(
    environment=(("PATH", "/bin"), ("A", "d"), ("EMPTY", ""), ("NONE", "")),
    labels=(("l", "m"),),
    entrypoint=("e", "f g"),
    command=None,
    folder="/w",
    user="me",
    shell=("/bin/bash", "-c"),
    onbuild=("RUN a",),
    ports=("80/tcp",),
    volumes=("/v",),
    stop_signal="SIGINT",
    health=Health(test=("NONE",), interval=5),
    author="somebody",
)


@pytest.mark.parametrize(
    "document",
    [
        {"architecture": "amd64", "author": "somebody", "config": INNER, "rootfs": {}},
        [{"Id": "sha256:0", "Author": "somebody", "Config": INNER}],
        {**INNER, "Author": "somebody"},
    ],
)
def test_the_forms_of_a_configuration(document: object) -> None:
    assert config_from_docker(document) == CONFIG


@pytest.mark.parametrize(
    "document", [{}, {"config": {}}, {"config": None}, {"Env": None, "Labels": None, "Healthcheck": None}]
)
def test_nothing_said(document: object) -> None:
    assert config_from_docker(document) == ImageConfig()


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (None, "no JSON object"),
        ([], "no JSON object"),
        ([{}, {}], "no JSON object"),
        ({"config": []}, "its config is no JSON object"),
        ({"Env": "A=b"}, "Env is no list"),
        ({"Env": [1]}, "Env holds 1"),
        ({"Env": ["A=\0"]}, "Env holds a control character"),
        ({"Labels": ["a"]}, "Labels is no JSON object"),
        ({"Labels": {"a": 1}}, "Labels holds 1"),
        ({"User": 0}, "User holds 0"),
        ({"Healthcheck": {"Test": "x"}}, "Test is no list"),
        ({"Healthcheck": {"Retries": True}}, "Retries holds True, which is no whole number"),
        ({"Healthcheck": {"Timeout": 1.5}}, "Timeout holds 1.5, which is no whole number"),
    ],
)
def test_what_is_no_configuration(document: object, said: str) -> None:
    with pytest.raises(RecipeError, match=said) as caught:
        config_from_docker(document)
    assert "docker inspect" in caught.value.hint


def test_docker_keys() -> None:
    late = Late(parts=("/x:", "PATH", ":", "A_PATH", ""))
    config = ImageConfig(environment=(("PATH", late),), entrypoint=(), command=("c",))
    assert as_docker(config) == {"Env": ["PATH=/x:${PATH}:${A_PATH}"], "Entrypoint": [], "Cmd": ["c"]}
    assert as_docker(ImageConfig()) == {}
    health = Health(test=("CMD", "a"), interval=1, timeout=2, start_period=3, start_interval=4, retries=5)
    assert as_docker(ImageConfig(health=health))["Healthcheck"] == {
        "Test": ["CMD", "a"],
        "Interval": 1,
        "Timeout": 2,
        "StartPeriod": 3,
        "StartInterval": 4,
        "Retries": 5,
    }


texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
words = st.lists(texts, max_size=3).map(tuple)
names = st.text("ABC_d", min_size=1, max_size=4)


@given(
    st.builds(
        ImageConfig,
        environment=st.dictionaries(names, texts, max_size=3).map(lambda found: tuple(found.items())),
        labels=st.dictionaries(texts, texts, max_size=3).map(lambda found: tuple(found.items())),
        entrypoint=st.none() | words,
        command=st.none() | words,
        folder=texts,
        user=texts,
        shell=words,
        onbuild=words,
        ports=st.lists(texts, max_size=3, unique=True).map(tuple),
        volumes=st.lists(texts, max_size=3, unique=True).map(tuple),
        stop_signal=texts,
        health=st.none()
        | st.builds(
            Health,
            test=st.lists(texts, min_size=1, max_size=3).map(tuple),
            interval=st.integers(),
            retries=st.integers(),
        ),
        author=texts,
    )
)
def test_there_and_back(config: ImageConfig) -> None:
    assert config_from_docker(as_docker(config)) == config
