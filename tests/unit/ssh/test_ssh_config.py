"""What the profile and ~/.ssh/config say about the servers on the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dl4mic_hpc.errors import SshError
from dl4mic_hpc.profile import ClusterProfile
from dl4mic_hpc.ssh import config
from dl4mic_hpc.ssh.config import hops

Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def no_system_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's ssh_config is an empty folder of the test."""
    folder = tmp_path / "etc"
    folder.mkdir()
    monkeypatch.setattr(config, "_system_folder", lambda: folder)
    return folder


@pytest.fixture
def write() -> Write:
    def write(text: str, name: str = "config") -> Path:
        path = Path.home() / ".ssh" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


def profile(host: str = "uni", **values: object) -> ClusterProfile:
    return ClusterProfile.model_validate({"name": "myuni", "host": host, "work_dir": "/scratch"} | values)


def test_without_a_configuration_the_profile_decides() -> None:
    (hop,) = hops(profile("login.uni.edu", user="ada"))
    assert str(hop) == "ada@login.uni.edu:22"
    assert hop.known_as == "login.uni.edu"
    assert hop.identity_files[0] == Path.home() / ".ssh" / "id_ed25519"
    assert (hop.chosen, hop.identities_only, hop.connect_timeout) == (False, False, 15)
    assert hop.known_hosts[0] == Path.home() / ".ssh" / "known_hosts"


def test_an_alias_is_resolved(write: Write) -> None:
    write(
        "Host other\n  User nobody\n"
        "Host uni\n  HostName Login.Uni.Edu\n  User ada\n  Port=2222  # since 2024\n"
        "  IdentityFile ~/.ssh/uni\n  IdentityFile ~/.ssh/old\n  IdentitiesOnly yes\n  ConnectTimeout 7\n"
        '  UserKnownHostsFile ~/.ssh/known_uni "/etc/known uni"\n  GlobalKnownHostsFile none\n'
    )
    (hop,) = hops(profile())
    assert str(hop) == "ada@Login.Uni.Edu:2222"
    assert hop.known_as == "[login.uni.edu]:2222"
    assert hop.identity_files == (Path.home() / ".ssh/uni", Path.home() / ".ssh/old")
    assert (hop.chosen, hop.identities_only, hop.connect_timeout) == (True, True, 7)
    assert hop.known_hosts == (Path.home() / ".ssh/known_uni", Path("/etc/known uni"))


def test_the_profile_wins(write: Write) -> None:
    write("Host uni\n  HostName login.uni.edu\n  User nobody\n  Port 2222\n  IdentityFile ~/.ssh/uni\n")
    write("a key", "mine")
    (hop,) = hops(profile(user="ada", port=22, identity_file="~/.ssh/mine"))
    assert str(hop) == "ada@login.uni.edu:22"
    assert hop.identity_files == (Path.home() / ".ssh/mine",)
    assert hop.identities_only


def test_the_users_file_comes_before_the_systems(write: Write, no_system_configuration: Path) -> None:
    (no_system_configuration / "ssh_config").write_text("Host *\n  User system\n  Port 99\n")
    write("Host uni\n  User ada\n")
    (hop,) = hops(profile())
    assert (hop.user, hop.port) == ("ada", 99)


def test_a_host_key_alias(write: Write) -> None:
    write("Host uni\n  HostKeyAlias cluster\n  Port 2222\n")
    assert hops(profile())[0].known_as == "cluster"


def test_jump_hosts_one_behind_the_other(write: Write) -> None:
    write(
        "Host uni\n  HostName login.uni.edu\n  User ada\n  ProxyJump eve@gate:2022,inner\n"
        "Host gate\n  HostName gate.uni.edu\n  ProxyJump outer\n"
        "Host inner\n  HostName inner.uni.edu\n  User bob\n  ProxyJump ignored\n"
        "Host outer\n  HostName outer.uni.edu\n  User eva\n"
    )
    assert [str(hop) for hop in hops(profile())] == [
        "eva@outer.uni.edu:22",
        "eve@gate.uni.edu:2022",
        "bob@inner.uni.edu:22",
        "ada@login.uni.edu:22",
    ]


@pytest.mark.parametrize(
    ("jump", "expected"),
    [
        ("gate", "ada@gate:22"),
        ("ssh://eve@gate:2022", "eve@gate:2022"),
        ("eve@[fe80::1]:2022", "eve@fe80::1:2022"),
        ("fe80::1", "ada@fe80::1:22"),
    ],
)
def test_how_a_jump_host_is_written(write: Write, jump: str, expected: str) -> None:
    write(f"Host uni\n  ProxyJump {jump}\nHost *\n  User ada\n")
    assert str(hops(profile())[0]) == expected


def test_jump_hosts_in_a_circle(write: Write) -> None:
    path = write("Host uni\n  ProxyJump gate\nHost gate\n  ProxyJump uni\n")
    with pytest.raises(SshError, match="in a circle: uni -> gate -> uni") as caught:
        hops(profile())
    assert str(path) in caught.value.hint


def test_proxy_jump_none(write: Write) -> None:
    write("Host uni\n  ProxyJump none\nHost *\n  ProxyJump gate\n")
    assert len(hops(profile())) == 1


def test_a_proxy_command(write: Write) -> None:
    write("Host uni\n  HostName login.uni.edu\n  ProxyCommand nc -X 5 %h %p\n  ProxyJump gate\n")
    (hop,) = hops(profile())
    assert hop.proxy_command == "nc -X 5 login.uni.edu 22"


def test_proxy_command_none(write: Write) -> None:
    write("Host uni\n  ProxyCommand none\nHost *\n  ProxyCommand nc %h %p\n")
    assert hops(profile())[0].proxy_command is None


def test_files_are_included(write: Write) -> None:
    write("Include config.d/*.conf\nHost uni\n  User late\n  Port 23\n")
    (Path.home() / ".ssh" / "config.d").mkdir()
    write("Host uni\n  User ada\nHost *\n  ConnectTimeout 3\n", "config.d/10.conf")
    write("Host uni\n  User second\n", "config.d/20.conf")
    write("Host uni\n  User unread\n", "config.d/30.txt")
    (hop,) = hops(profile())
    assert (hop.user, hop.port, hop.connect_timeout) == ("ada", 23, 3)


@pytest.mark.parametrize(("alias", "user"), [("uni", "ada"), ("other", "fallback")])
def test_a_file_included_for_one_host_is_for_that_host_only(write: Write, alias: str, user: str) -> None:
    write("Host uni !nobody\n  Include only\n  Port 23\nHost *\n  User fallback\n")
    write("User ada\nHost other\n  User wrong\n", "only")
    (hop,) = hops(profile(alias))
    assert (hop.user, hop.port) == (user, 23 if alias == "uni" else 22)


def test_match_final_all_as_some_systems_have_it(write: Write, no_system_configuration: Path) -> None:
    (no_system_configuration / "ssh_config").write_text("Match final all\n  Include policy\n  User last\n")
    (no_system_configuration / "policy").write_text("ConnectTimeout 4\n")
    write("Host uni\n  Port 23\n")
    (hop,) = hops(profile())
    assert (hop.user, hop.port, hop.connect_timeout) == ("last", 23, 4)


def test_match_by_host_and_user(write: Write) -> None:
    write("Match host uni,uni2 !localuser nobody\n  User ada\nMatch user ada\n  Port 23\n")
    (hop,) = hops(profile())
    assert (hop.user, hop.port) == ("ada", 23)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Host uni\n  HostName\n", ":2: 'HostName' is no SSH setting"),
        ("# fine\n\nnonsense\n", ":3: 'nonsense' is no SSH setting"),
        ("Match tagged vpn\n  User ada\n", ":1: this program does not understand 'Match tagged'"),
        ("Host uni\n  Port http\n", "'Port http', which is no number"),
        ("Host uni\n  Port 99999\n", "uni cannot have the port 99999"),
        ("Match host uni\n  Include more\n", "included by 'Match host uni'"),
        ("Host uni\n  ProxyJump @\n", "'@' is no SSH server"),
    ],
)
def test_a_wrong_configuration_is_named_with_its_line(write: Write, text: str, words: str) -> None:
    write("Host uni\n  User ada\n", "more")
    path = write(text)
    with pytest.raises(SshError) as caught:
        hops(profile())
    assert words in caught.value.message
    assert caught.value.hint
    if words.startswith(":"):
        assert caught.value.message.startswith(f"{path}{words}")


def test_an_included_file_with_blanks_in_its_name(write: Write) -> None:
    write('Include "my config"\n')
    write("User ada\n", "my config")
    assert hops(profile())[0].user == "ada"


def test_files_that_include_each_other(write: Write) -> None:
    write("Include config\n")
    with pytest.raises(SshError, match="Include goes deeper than 16 files"):
        hops(profile())
