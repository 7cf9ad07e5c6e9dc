"""The instance's keys: made once, private, in OpenSSH's format; known hosts replaced, others kept."""

from __future__ import annotations

import stat
import subprocess

import pytest

from dl4mic_hpc.sandbox import instance, keys


def test_a_key_pair_is_made_once() -> None:
    here = instance.current()
    first = keys.key_pair(here, "user-ada")
    assert first == keys.key_pair(here, "user-ada")
    assert first != keys.key_pair(here, "host-login")
    assert first.public.startswith("ssh-ed25519 ")


@pytest.mark.posix
def test_ssh_keygen_reads_it_and_others_do_not() -> None:
    pair = keys.key_pair(instance.current(), "user-ada")
    assert stat.S_IMODE(pair.path.stat().st_mode) == 0o600
    shown = subprocess.run(["ssh-keygen", "-y", "-f", pair.path], capture_output=True, text=True, check=True)
    assert shown.stdout.split()[:2] == pair.public.split()


def test_the_munge_key_is_long_random_and_kept() -> None:
    here = instance.current()
    assert len(keys.munge_key(here)) == 128
    assert keys.munge_key(here) == keys.munge_key(here)


def test_known_hosts_replaces_its_own_lines_and_keeps_others() -> None:
    old = "other.site ssh-ed25519 AAAAother\n[127.0.0.1]:1 ssh-ed25519 AAAAold mine\n"
    new = keys.known_hosts(old, own=[], add={"[127.0.0.1]:2": "ssh-ed25519 AAAAnew"}, comment="mine")
    assert new == "other.site ssh-ed25519 AAAAother\n[127.0.0.1]:2 ssh-ed25519 AAAAnew mine\n"
    assert keys.known_hosts(new, own=[], add={}, comment="mine") == "other.site ssh-ed25519 AAAAother\n"


def test_a_line_accepted_by_hand_goes_too() -> None:
    here = instance.current()
    key = keys.key_pair(here, "host-gpu02").public
    keys.key_pair(here, "user-ada")
    assert keys.host_keys(here) == [key]
    assert keys.known_hosts(f"gpu02 {key}\n", own=keys.host_keys(here), add={}, comment="mine") == ""
