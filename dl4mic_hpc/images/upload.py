"""An image of this computer, copied to the cluster: checked there, recorded, and only then under its name."""

from __future__ import annotations

import datetime
import getpass
import hashlib
import json
import platform
import secrets
from pathlib import Path, PurePosixPath

from dl4mic_hpc import __version__
from dl4mic_hpc.errors import TransferError
from dl4mic_hpc.images.choice import Wish
from dl4mic_hpc.remote import Remote, Teller

_CHUNK = 1024 * 1024
_PATIENCE = 3600.0  # seconds to write and to read 12 GB on a slow network disk
_RECEIVE = """\
umask 022
part=$1.$2.part record=${1%.sif}.json
trap 'rm -f "$part" "$record.$2.part"' EXIT
mkdir -p "${1%/*}" && cat > "$part" && sync "$part" || exit 1
sum=$(sha256sum "$part") || exit 1
[ "${sum%% *}" = "$3" ] || { echo 'what arrived is not what was sent' >&2; exit 1; }
printf '%s, "modified": %d}\\n' "$4" "$(stat --format=%Y "$part")" > "$record.$2.part" && sync "$record.$2.part" || exit 1
mv -f "$record.$2.part" "$record" && mv -f "$part" "$1" && sync "${1%/*}"
"""


def image(
    remote: Remote, file: Path, place: PurePosixPath, *, wish: Wish, apptainer: str, teller: Teller
) -> None:
    """Copies `file` to `place`. TransferError if it does not arrive whole; then nothing is left there."""
    assert wish.bundle is not None
    size, sha256 = file.stat().st_size, _sha256(file)
    facts = {
        "version": 1,
        "key": wish.bundle.key,
        "name": wish.name,
        "source": {
            "kind": "recipe",
            "reference": "",
            "digest": f"sha256:{hashlib.sha256(wish.bundle.manifest).hexdigest()}",
        },
        "cuda": wish.cuda,
        "size": size,
        "sha256": sha256,
        "builder": {
            "program": f"dl4mic-hpc {__version__}",
            "apptainer": apptainer,
            "node": platform.node(),
            "job_id": None,
            "user": getpass.getuser(),
        },
        "probe": {},
        "built": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    head = json.dumps(facts).removesuffix("}")
    mark = f"sent{secrets.token_hex(4)}"  # a number alone would be a job's
    argv = ("sh", "-c", _RECEIVE, "receive", str(place), mark, sha256, head)
    with remote.start(*argv) as process, file.open("rb") as source:
        sent = 0
        try:
            while chunk := source.read(_CHUNK):
                process.write(chunk)
                sent += len(chunk)
                teller.detail(f"{sent / size:.0%} of {size / 1e9:.1f} GB")
        except BrokenPipeError:
            pass  # what it says below tells why
        try:
            result = process.wait(timeout=_PATIENCE)
        except TimeoutError as error:
            raise TransferError(
                f"the image was sent, but {remote.cluster} did not have it on its disk within an hour",
                hint="try again when the file system there is less busy",
            ) from error
    if result.exit_code:
        raise TransferError(
            f"the image did not arrive on {remote.cluster}: {result.stderr.strip() or 'no reason was given'}",
            hint="`dl4mic-hpc image prune` makes room there; then try again",
        )


def _sha256(file: Path) -> str:
    with file.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()
