from __future__ import annotations

import json
from pathlib import Path, PurePosixPath

import pytest

from dl4mic_hpc.errors import UsageError
from dl4mic_hpc.sessions import store
from dl4mic_hpc.sessions.session import JupyterEndpoint, Session, new_id


def session(session_id: str = "bcdfgh", **values: object) -> Session:
    facts: dict[str, object] = {
        "id": session_id,
        "cluster": "uni",
        "notebook": "pixel_segmentation",
        "notebook_file": "N.ipynb",
        "created": "2026-11-22T10:00:00+00:00",
        "submit_token": "0123",
        "session_dir": PurePosixPath("/scratch/me/sessions") / session_id,
        "image": PurePosixPath("/scratch/me/images/x.sif"),
        "gpus": "1",
        "simulated": False,
    }
    return Session(**{**facts, **values})  # type: ignore[arg-type]


def test_a_record_comes_back_as_it_was():
    kept = session(
        job_id=7,
        results=Path("/home/me/out"),
        build_dir=PurePosixPath("/scratch/me/builds/x"),
        local_port=8888,
    )
    store.save(kept)
    assert store.find("bcdfgh") == kept
    assert store.every() == [kept]


@pytest.mark.posix
def test_records_are_private_and_leave_no_temporary_files():
    store.save(session())
    assert [(path.name, path.stat().st_mode & 0o777) for path in store.folder().iterdir()] == [
        ("bcdfgh.json", 0o600)
    ]
    assert store.folder().stat().st_mode & 0o777 == 0o700


def test_a_record_that_cannot_be_written_leaves_the_old_one(monkeypatch: pytest.MonkeyPatch):
    store.save(session())

    def full(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(json, "dump", full)
        with pytest.raises(OSError, match="No space"):
            store.save(session(job_id=9))
    assert store.find("bcdfgh") == session()
    assert len(list(store.folder().iterdir())) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "cannot be read"), ('{"version": 99}', "another version"), ('{"version": 1}', "damaged")],
)
def test_a_damaged_record_is_named_and_the_way_out_told(text: str, words: str):
    store.folder().mkdir(parents=True)
    (store.folder() / "bcdfgh.json").write_text(text)
    with pytest.raises(UsageError, match=words) as problem:
        store.every()
    assert "bcdfgh.json" in problem.value.message
    assert problem.value.hint


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "a/b", "bcdfgx"])
def test_an_id_is_never_a_path(name: str):
    store.save(session())
    assert store.find(name) is None


def test_the_clusters_copy_holds_nothing_of_the_laptop():
    record = session(results=Path("/home/me/Secret project"), local_port=8888).as_cluster_record()
    assert not {"results", "local_port", "cluster"} & set(record)
    assert "Secret" not in json.dumps(record)


def test_ids_are_short_say_nothing_and_start_with_a_letter():
    ids = {new_id() for _ in range(500)}
    assert len(ids) == 500
    assert all(len(one) == 6 and one[0].isalpha() and one.isalnum() for one in ids)


def test_an_endpoint_does_not_show_its_token():
    assert "s3cret" not in f"{JupyterEndpoint(node='gpu01', port=1, token='s3cret')!r}"


def test_simulated_gpus_are_never_passed_off_as_real():
    assert "SIMULATED" in session(simulated=True).gpus_in_words
    assert "SIMULATED" not in session().gpus_in_words
    assert session(gpus="0", simulated=True).gpus_in_words == "no GPU"
