"""Brings the practice cluster up: images, network, volumes, containers, then waits for Slurm, writes the profile."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from ipaddress import IPv4Network

from dl4mic_hpc import profile
from dl4mic_hpc.errors import SandboxError
from dl4mic_hpc.sandbox import engine as engines
from dl4mic_hpc.sandbox import files, holdings, image, instance, keys, plan, ready, report
from dl4mic_hpc.sandbox import machine as machines
from dl4mic_hpc.sandbox import site as sites
from dl4mic_hpc.sandbox.engine import Engine, tail
from dl4mic_hpc.sandbox.files import Keys
from dl4mic_hpc.sandbox.instance import LABEL, Instance, Record
from dl4mic_hpc.sandbox.lock import held
from dl4mic_hpc.sandbox.machine import Machine
from dl4mic_hpc.sandbox.plan import Container, Plan
from dl4mic_hpc.sandbox.report import SandboxStatus
from dl4mic_hpc.sandbox.site import Site

Say = Callable[[str], None]


def up(*, site: str = "default", engine: str | None = None, say: Say) -> SandboxStatus:
    """The practice cluster, running: made, started afresh or left as it is. `say` hears of every step.

    `site` names a file of templates/sandbox/sites/, `engine` is "podman", "docker" or None (whichever works).
    Home and work disks, accounting and registry live on through a fresh start. SandboxError, in plain words,
    where this machine cannot run it.
    """
    description = sites.load(site)
    here = instance.current()
    with held(here.state / "sandbox.lock", say):
        record = instance.load(here)
        chosen = _engine(here, record, engine)
        machine = machines.look()
        images = image.ensure(chosen, machine, say)
        if record is None:
            chosen = engines.probe(chosen, images.node)
            engines.probe_namespaces(chosen, images.node)
        record = _recorded(here, chosen, record)
        secrets = _keys(here, description)

        def planned(record: Record) -> Plan:
            return plan.make(here, description, record, secrets, image=images.node, hosts=machine.hosts)

        seen = report.look(here, record, chosen)
        if not _is_running(here, chosen, seen, planned(record)):
            if seen.containers:
                say("the sandbox is stopped, or was made by another version; starting it afresh …")
                holdings.remove(here, chosen, "container")
            record = _with_free_ports(here, record, say)
            _start(here, chosen, planned(record), say)
            ready.wait(here, chosen, record)
            ready.end_lost_jobs(here, chosen)
        if record.pushed != images.base or not ready.has_base(record):
            say("putting the base image into the cluster's registry …")
            ready.push(chosen, record)
            record = replace(record, pushed=images.base)
            instance.save(here, record)
        _lend(here, description, chosen, machine)
        _introduce(here, description, machine, record, secrets)
        return seen if seen.state == "up" else report.look(here, record, chosen)


def _engine(here: Instance, record: Record | None, wanted: str | None) -> Engine:
    """The engine that the instance was made with; for a new one, the one `wanted` or the one that works."""
    if record is not None and wanted not in (None, record.engine):
        raise SandboxError(
            f"this sandbox runs on {record.engine}, not on {wanted}",
            hint="`dl4mic-hpc sandbox down` first; then `up` may use another engine",
        )
    if record is not None:
        return report.recorded(record)
    chosen = engines.find(wanted)
    # What an instance without a record left behind: its addresses and keys are not known any more.
    holdings.remove(here, chosen, "container")
    holdings.remove(here, chosen, "network")
    return chosen


def _is_running(here: Instance, engine: Engine, seen: SandboxStatus, wanted: Plan) -> bool:
    """Whether everything lives, takes jobs, and is what this version would start."""
    names = {container.name for container in wanted.containers}
    alive = {container.name for container in seen.containers if container.state == "running"}
    nodes = bool(seen.nodes) and all(node.ready for node in seen.nodes)
    return alive == names and nodes and report.made_from(here, engine, wanted.fingerprint) == names


def _recorded(here: Instance, engine: Engine, record: Record | None) -> Record:
    """The record with network and ports, chosen at the first `up` and kept from then on."""
    if record is None:
        ports = instance.free_ports(2)
        record = Record(
            engine=engine.kind,
            subnet="",
            ssh_port=ports[0],
            registry_port=ports[1],
            runtime=engine.runtime,
            ulimits=engine.ulimits,
        )
    record = replace(record, subnet=_network(here, engine, record.subnet))
    instance.save(here, record)
    return record


def _network(here: Instance, engine: Engine, known: str) -> str:
    """The instance's network, made if it is not there; the first of its subnets that nothing else uses."""
    if known and engine.call("network", "inspect", here.network).returncode == 0:
        return known
    said = b""
    for subnet in ([IPv4Network(known)] if known else []) + list(here.subnets()):
        words = (*engine.network_options(), f"--subnet={subnet}", f"--label={LABEL}={here.id}")
        made = engine.call("network", "create", *words, here.network)
        if made.returncode == 0:
            return str(subnet)
        said = made.stderr
    raise SandboxError(
        f"{engine.kind} cannot make a network: {tail(said)}",
        hint=f"`{engine.kind} network ls` shows the networks that are there",
    )


def _keys(here: Instance, site: Site) -> Keys:
    hosts = ["login", *(node.name for node in site.nodes)]
    return Keys(
        munge=keys.munge_key(here),
        hosts={name: keys.key_pair(here, f"host-{name}") for name in hosts},
        users={user.name: keys.key_pair(here, f"user-{user.name}") for user in site.users if user.login},
    )


def _with_free_ports(here: Instance, record: Record, say: Say) -> Record:
    """The record, with other ports where somebody has taken the old ones while the sandbox was down."""
    if instance.port_is_free(record.ssh_port) and instance.port_is_free(record.registry_port):
        return record
    ports = instance.free_ports(2)
    say(f"another program has taken a port of the sandbox; SSH is on {ports[0]} from now on")
    record = replace(record, ssh_port=ports[0], registry_port=ports[1])
    instance.save(here, record)
    return record


def _start(here: Instance, engine: Engine, wanted: Plan, say: Say) -> None:
    """All containers; disks that are there already stay as they are."""
    present = holdings.names(here, engine, "volume")
    for volume in wanted.volumes:
        if volume.name not in present:
            engine.run("volume", "create", f"--label={LABEL}={here.id}", *volume.options, volume.name)
    say(f"starting {len(wanted.containers)} containers: {', '.join(one.host for one in wanted.containers)} …")
    for container in wanted.containers:
        options = (*engine.create_options(), wanted.label, *container.options)
        engine.run("create", *options, wanted.image, container.role)
    engine.run("start", *(container.name for container in wanted.containers), timeout=120)
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda container: _equip(engine, container), wanted.containers))
    say("waiting until Slurm answers and every node is idle …")


def _equip(engine: Engine, container: Container) -> None:
    """Gives a container its files; it waits for them. Not by the engine's `cp`: podman 4 leaves copies behind."""
    script = "tar --extract --no-same-owner --directory=/ && touch /etc/dl4mic/ready"
    words = ("exec", "--interactive", container.name, "sh", "-c", script)
    engine.run(*words, stdin=files.pack(container.files))


def _lend(here: Instance, site: Site, engine: Engine, machine: Machine) -> None:
    """Puts the build environment on the work disk. What may hold a password is for the profile's user alone."""
    lent = files.build_environment(machine).values()
    private = [file.path for file in lent if file.mode == 0o600]
    script = 'tar --extract --no-same-owner --directory=/ && { [ $# -lt 2 ] || chown "$@"; }'
    words = ("exec", "--interactive", here.name("login"), "sh", "-c", script, "sh")
    engine.run(*words, site.profile.user, *private, stdin=files.pack(lent))


def _introduce(here: Instance, site: Site, machine: Machine, record: Record, secrets: Keys) -> None:
    """Writes the profile and the known host keys, and reads the profile back."""
    names = {f"[127.0.0.1]:{record.ssh_port}": secrets.hosts["login"].public}
    names |= {
        f"{node.name}@{here.profile_file.stem}": secrets.hosts[node.name].public
        for node in site.nodes
        if not node.refuses_login_node
    }
    old = here.known_hosts.read_text(encoding="utf-8") if here.known_hosts.is_file() else ""
    new = keys.known_hosts(old, own=keys.host_keys(here), add=names, comment=here.name("sandbox"))
    instance.write_private(here.known_hosts, new)
    environment: dict[str, object] = {
        key: file.path for key, file in files.build_environment(machine).items()
    }
    if machine.proxies:
        environment["proxies"] = machine.proxies
    text = files.profile_text(
        site, record, identity_file=str(secrets.users[site.profile.user].path), environment=environment
    )
    instance.write_private(here.profile_file, text)
    profile.load("sandbox")
