"""The one line that a command becomes on its way through the login shell, whichever shell that is.

sshd gives the line to the user's login shell: bash, zsh, tcsh, fish. All of them agree on words in single
quotes, except that csh expands `!` and breaks at newlines, and fish takes two backslashes for one; words with
such characters travel in octal and are restored by `printf %b` (POSIX, XCU printf). What the shell's start-up
files print is cut off by a marker before the real output, on both streams.

The first command of a connection also learns the login environment from `bash -l`: on many clusters sbatch
and apptainer are found by nobody else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

LEARNED = ("PATH", "LD_LIBRARY_PATH", "MODULEPATH", "SLURM_CONF")

_TRAPS = re.compile(rb"[^ -~]|[!\\]")

# In each script $0 is the marker. No newline, ! or single quote in them, for the reasons above.
_RESTORE = 'for w do shift; w=$(printf %b_ "$w"); set -- "$@" "${w%_}"; done; '
_ASK = (
    'printf %s "$0"; for v in '
    + " ".join(LEARNED)
    + '; do eval "w=\\$$v"; case $w in ""|*[[:cntrl:]]*) ;; *) printf "%s=%s\\n" "$v" "$w";; esac; done'
)
_LEARN = (
    'e=$(bash -l -c "$1" "$0" </dev/null 2>/dev/null); shift; e=${e##*"$0"}; '
    'printf %s "$0$e$0"; printf %s "$0" >&2; '
    'n=$(printf "%b_" "\\012"); IFS=${n%_}; set -f; exec env $e "$@"'
)
_RUN = 'printf %s "$0$0"; printf %s "$0" >&2; exec env "$@"'


def line(argv: Sequence[str], *, marker: str, environment: Sequence[str] | None) -> bytes:
    """What is sent. `environment` holds NAME=value words learned earlier; None: this command learns them.

    Standard output then is: noise, `marker`, the learned environment, `marker`, the command's own output;
    standard error: noise, `marker`, the command's own.
    """
    script, words = (_LEARN, [_ASK, *argv]) if environment is None else (_RUN, [*environment, *argv])
    encoded = [word.encode("utf-8", "surrogateescape") for word in words]
    if any(_TRAPS.search(word) for word in encoded):
        script = _RESTORE + script
        encoded = [_TRAPS.sub(lambda match: b"\\0%03o" % match[0][0], word) for word in encoded]
    sent = ["/bin/sh", "-c", script, marker, *(word.decode("ascii") for word in encoded)]
    # Not shlex.join: it leaves `=word` and `%word` bare, which zsh and fish expand.
    return " ".join("'" + word.replace("'", "'\"'\"'") + "'" for word in sent).encode("ascii")


def learned(text: str) -> tuple[str, ...]:
    """The NAME=value words in what stood between the markers."""
    return tuple(line for line in text.splitlines() if line.partition("=")[0] in LEARNED)
