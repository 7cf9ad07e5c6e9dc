"""`cluster`: the profiles of the clusters, and whether one is fit for a launch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dl4mic_hpc.cli import choose, console
from dl4mic_hpc.cli.ask import TerminalAsker
from dl4mic_hpc.errors import ProfileError, UsageError

app = typer.Typer(
    help="Describe clusters, check them, trust their host keys.", no_args_is_help=True, rich_markup_mode=None
)

JsonOption = Annotated[bool, typer.Option("--json", help="Answer as JSON on standard output.")]
Name = Annotated[str, typer.Argument(help="The cluster's name.")]


@app.command(
    epilog="Example: dl4mic-hpc cluster add myuni --host login.myuni.edu --user ada --work-dir /scratch/ada/dl4mic"
)
def add(
    name: Name,
    host: Annotated[str, typer.Option(help="The login node, or an alias of ~/.ssh/config.")],
    work_dir: Annotated[
        str,
        typer.Option(
            help="A folder on the cluster that login and compute nodes share, with room for images (not $HOME)."
        ),
    ],
    user: Annotated[str | None, typer.Option(help="Your user name there.")] = None,
    port: Annotated[int | None, typer.Option(help="The port of its SSH server.")] = None,
    identity_file: Annotated[Path | None, typer.Option(help="The private key to log in with.")] = None,
    partition: Annotated[
        list[str] | None, typer.Option(help="Partition; may be given several times.")
    ] = None,
    account: Annotated[str | None, typer.Option(help="The account that is charged.")] = None,
    qos: Annotated[str | None, typer.Option(help="The QoS.")] = None,
    module: Annotated[
        list[str] | None,
        typer.Option(help="A module to load, such as apptainer; may be given several times."),
    ] = None,
) -> None:
    """Describe a cluster: writes its profile, a YAML file that explains what else can be set."""
    import yaml

    from dl4mic_hpc import profile as profiles
    from dl4mic_hpc import resources

    path = profiles.folder() / f"{name}.yaml"
    if path.exists():
        raise UsageError(
            f"there is already a cluster '{name}'",
            hint=f"edit {path}, or `dl4mic-hpc cluster remove {name}` first",
        )
    profiles.check_name(name)
    values = {
        "host": host,
        "user": user,
        "port": port,
        "identity_file": str(identity_file.expanduser().absolute()) if identity_file else None,
        "work_dir": work_dir,
        "partition": list(partition or ()) or None,
        "account": account,
        "qos": qos,
        "modules": list(module or ()) or None,
    }
    given = {key: value for key, value in values.items() if value is not None}
    explanation = resources.data("templates", "profile.yaml").read_text(encoding="utf-8")
    text = yaml.safe_dump(given, sort_keys=False, allow_unicode=True) + "\n" + explanation
    try:
        profiles.parse(text, name=name)
    except ProfileError as error:
        error.hint = "nothing was written; correct the option and repeat the command"
        raise
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    console.answer(f"Cluster {name} is described in {path}.")
    console.tell(f"  next: dl4mic-hpc cluster check {name}")


@app.command("list", epilog="Example: dl4mic-hpc cluster list")
def list_(as_json: JsonOption = False) -> None:
    """List the clusters there are profiles for."""
    from dl4mic_hpc import profile as profiles

    found = []
    for name in profiles.names():
        try:
            found.append(profiles.load(name))
        except ProfileError as error:
            console.warn(f"{name} is left out: {error.message}")
    if as_json:
        rows = [
            {
                "name": one.name,
                "host": one.host,
                "user": one.user,
                "work_dir": str(one.work_dir),
                "gpus_simulated": one.simulated,
            }
            for one in found
        ]
        console.answer_json({"version": 1, "clusters": rows})
        return
    if not found:
        console.tell("no cluster is known yet; `dl4mic-hpc cluster add NAME` describes one")
        return
    console.table(
        ("CLUSTER", "HOST", "USER", "WORK FOLDER"),
        [(one.name, one.host, one.user or "-", str(one.work_dir)) for one in found],
    )


@app.command(epilog="Example: dl4mic-hpc cluster show myuni")
def show(name: Name, as_json: JsonOption = False) -> None:
    """Print a profile as it is understood, defaults included."""
    import yaml

    profile = choose.profile(name)
    values = profile.model_dump(mode="json")
    if as_json:
        console.answer_json(
            {"version": 1, "name": profile.name, "file": str(profile.path or ""), "profile": values}
        )
        return
    console.tell(f"# {profile.path or 'ships with dl4mic-hpc'}")
    console.answer(yaml.safe_dump(values, sort_keys=False, allow_unicode=True).rstrip())


@app.command(epilog="Example: dl4mic-hpc cluster remove myuni")
def remove(name: Name) -> None:
    """Remove a profile. Nothing on the cluster is touched."""
    from dl4mic_hpc import profile as profiles

    path = profiles.folder() / f"{profiles.check_name(name)}.yaml"
    if not path.is_file():
        choose.profile(name)
        raise UsageError(
            f"the profile of {name} ships with dl4mic-hpc", hint="it cannot be removed; leave it unused"
        )
    path.unlink()
    console.answer(f"The profile {path} is removed.")


@app.command(epilog="Example: dl4mic-hpc cluster trust myuni gpu01")
def trust(
    name: Name,
    node: Annotated[str | None, typer.Argument(help="A compute node; the login node if left out.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Accept a key that has changed.")] = False,
    fingerprint: Annotated[
        str | None,
        typer.Option(
            "--fingerprint", help="Accept without a question if this is its fingerprint (SHA256:…)."
        ),
    ] = None,
) -> None:
    """Accept the host key of the login node or of a compute node, after showing its fingerprint."""
    from dl4mic_hpc import ssh

    profile = choose.profile(name)
    accepted = ssh.trust(profile, node, ask=TerminalAsker(), replace=replace, fingerprint=fingerprint)
    console.answer(f"{accepted.host} is trusted with {accepted.key_type} {accepted.fingerprint}")


@app.command(epilog="Example: dl4mic-hpc cluster check myuni")
def check(
    name: Name,
    fresh: Annotated[
        bool,
        typer.Option("--fresh", help="Ask a compute node again, even if its answer is remembered."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check whether a launch would work: SSH, Slurm, Apptainer, work folder, partitions and GPUs, images."""
    from dl4mic_hpc import ssh
    from dl4mic_hpc.sessions.check import check as examine

    profile = choose.profile(name)
    with console.Steps() as steps:
        steps.say(f"connecting to {name}")
        with ssh.connect(profile, ask=TerminalAsker()) as connection:
            steps.say(f"looking at {name}")
            report = examine(connection, profile, steps, fresh=fresh)
    if as_json:
        console.answer_json(report.as_json(profile))
    else:
        for one in report.findings:
            console.finding(one.verdict, one.what, one.detail)
            if one.hint:
                console.tell(f"       {one.hint}")
        if report.remembered:
            console.tell(f"What it can do for images was asked on {report.looked}; --fresh asks again.")
    wrong = next((one for one in report.findings if one.error is not None), None)
    if wrong is not None and wrong.error is not None:
        raise wrong.error
