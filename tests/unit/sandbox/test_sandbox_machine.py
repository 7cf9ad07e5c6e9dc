"""What is taken from this machine for the cluster's builds, and what is not."""

from __future__ import annotations

from dl4mic_hpc.sandbox import machine

LISTING = """\
:env:.default-timeout='180'
:env:.find-links='/srv/wheels'
global.cert='/etc/ssl/certs/ca-certificates.crt'
global.default-timeout='15'
global.extra-index-url='file:///srv/simple https://pkgs.example/simple'
global.index-url='https://mirror.example/simple'
global.find-links='/srv/wheels'
install.user='true'
"""


def test_pip_settings_leave_local_folders_and_other_keys_out() -> None:
    assert machine.pip_settings(LISTING) == {
        "default-timeout": "180",
        "extra-index-url": "https://pkgs.example/simple",
        "index-url": "https://mirror.example/simple",
    }


def test_an_index_in_a_folder_is_no_index_at_all() -> None:
    assert machine.pip_settings("global.index-url='file:///srv/simple'\n") == {}
    assert machine.pip_configuration({}) == ""


def test_a_pip_configuration_holds_several_values_on_lines_of_their_own() -> None:
    text = machine.pip_configuration(
        {"extra-index-url": "https://a.example https://b.example", "retries": "2"}
    )
    assert text == "[global]\nextra-index-url = https://a.example\n    https://b.example\nretries = 2\n"


def test_the_mirror_is_debians_main_archive() -> None:
    targets = (
        "Ubuntu|Ubuntu|http://u.example/ubuntu/|main\n"
        "Debian|Debian-Security|http://d.example/security/|main\n"
        "Debian|Debian|http://d.example/debian/|contrib\n"
        "Debian|Debian|http://d.example/debian/|main\n"
    )
    assert machine.debian_mirror(targets) == "http://d.example/debian"
    assert machine.debian_mirror("Ubuntu|Ubuntu|http://u.example/ubuntu/|main\n") is None
    assert machine.debian_mirror("Debian|Debian|file:/srv/debian/|main\n") is None
    assert machine.debian_mirror("") is None


def test_apt_options_are_those_about_reaching_a_mirror() -> None:
    dump = (
        'Acquire::http::Proxy "http://proxy.example:3128";\n'
        'Acquire::http::Proxy::local.example "DIRECT";\n'
        'Acquire::https::CAInfo "/etc/own.pem";\n'
        'Acquire::Check-Valid-Until "false";\n'
        'Acquire::Retries "";\n'
        'DPkg::Post-Invoke:: "rm -rf /";\n'
    )
    assert machine.apt_options(dump).splitlines() == [
        'Acquire::http::Proxy "http://proxy.example:3128";',
        'Acquire::http::Proxy::local.example "DIRECT";',
        'Acquire::Check-Valid-Until "false";',
    ]


def test_a_proxy_on_loopback_is_of_no_use_in_a_container() -> None:
    environ = {
        "http_proxy": "http://127.0.0.1:3128",
        "https_proxy": "http://proxy.example:3128",
        "no_proxy": "localhost",
        "HOME": "/root",
        "ftp_proxy": "",
    }
    assert machine.proxy_settings(environ) == {
        "https_proxy": "http://proxy.example:3128",
        "no_proxy": "localhost",
    }
    assert machine.proxy_settings({"no_proxy": "localhost", "http_proxy": "http://localhost:1"}) == {}


def test_hosts_that_only_this_machine_knows() -> None:
    table = "127.0.0.1 localhost mirror.example\n10.0.0.5 mirror.example alias # the mirror\n10.0.0.6 other.example\n"
    assert machine.hosts_entries(table, {"mirror.example"}) == {"mirror.example": "10.0.0.5"}


def test_this_machine_can_be_looked_at() -> None:
    found = machine.look()
    assert "file:" not in found.pip
    assert found.ca is None or b"BEGIN CERTIFICATE" in found.ca
