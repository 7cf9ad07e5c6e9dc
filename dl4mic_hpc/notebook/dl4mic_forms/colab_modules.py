"""What google.colab holds on a cluster, by module. Python 3.7 syntax only."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import Any, Callable, Iterator

from IPython.display import clear_output

from . import colab_files, pictures
from .plain import PlainError, say


def contents() -> dict[str, dict[str, Any]]:
    """The names in every module of google.colab."""
    uploads = colab_files.Uploads()
    parts: dict[str, dict[str, Any]] = {
        "drive": {"mount": _mount, "flush_and_unmount": _nothing},
        "files": {
            "upload": uploads.upload,
            "upload_file": uploads.upload_file,
            "download": colab_files.download,
            "view": colab_files.view,
        },
        "patches": {"cv2_imshow": pictures.show},
        "auth": {"authenticate_user": _authenticate, "authenticate_service_account": _authenticate},
        "userdata": {"get": _secret, "SecretNotFoundError": SecretNotFoundError},
        "output": {
            "clear": lambda wait=False, output_tags=(): clear_output(wait),
            "eval_js": _javascript,
            "enable_custom_widget_manager": _nothing,
            "disable_custom_widget_manager": _nothing,
            "no_vertical_scroll": _nothing,
            "register_callback": _nothing,
            "use_tags": _as_it_is,
        },
        "runtime": {"unassign": _end},
        "data_table": {
            "DataTable": _DataTable,
            "enable_dataframe_formatter": _nothing,
            "disable_dataframe_formatter": _nothing,
        },
        "widgets": {},
    }
    modules = {
        "google.colab." + name: dict(names, __getattr__=_missing(name)) for name, names in parts.items()
    }
    return dict(modules, **{"google": {}, "google.colab": {}})


class SecretNotFoundError(PlainError):
    """A secret that the notebook asks for is not set."""


class _DataTable:
    """A table is shown as JupyterLab shows it."""

    def __new__(cls, dataframe: Any, *_: Any, **__: Any) -> Any:
        return dataframe


def _mount(*_: Any, **__: Any) -> None:
    say(
        "There is no Google Drive here, and none is needed: your data is in /home/data, results go to /home/results."
    )


def _authenticate(*_: Any, **__: Any) -> None:
    say("Nobody is signed in to Google here: what needs a Google account will not work.")


def _end(*_: Any, **__: Any) -> None:
    say("To end this session: dl4mic-hpc stop, on your computer.")


def _secret(name: str) -> str:
    if name in os.environ:
        return os.environ[name]
    raise SecretNotFoundError(
        f"The secret '{name}' is not set. Run this in a cell of its own, and type the secret when asked:\n"
        f"import getpass, os; os.environ['{name}'] = getpass.getpass()"
    )


def _javascript(*_: Any, **__: Any) -> None:
    raise PlainError("This asks Colab's web page for something (eval_js), which JupyterLab cannot do.")


def _nothing(*_: Any, **__: Any) -> None:
    pass


@contextmanager
def _as_it_is(*_: Any, **__: Any) -> Iterator[None]:
    yield


def _missing(module: str) -> Callable[[str], Any]:
    def __getattr__(name: str) -> Any:  # noqa: N807
        raise AttributeError(f"google.colab.{module} has no '{name}' on a cluster")

    return __getattr__
