"""Files from addresses: fetched once, checked, and kept by their hash."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.recipe.steps import Url
from dl4mic_hpc.sources import reference, web
from dl4mic_hpc.sources.cache import Cache

LARGEST = 8 * 1024**3  # bytes; what is larger does not belong into an image


def download(url: Url, *, cache: Cache, say: Callable[[str], None]) -> Path:
    """The file at the address, in the cache, where it stays as it is.

    With a checksum (sha256, sha384 or sha512, as BuildKit) a file that was fetched before is fetched no more; without
    one it is fetched each time, since nobody can tell whether it has changed. RecipeError if it cannot be had, has
    another hash, or comes over less protection than the address asks for.
    """
    shown = web.redacted(url.address)
    try:
        known = urlsplit(url.address).scheme in ("https", "http")
    except ValueError:
        known = False
    if not known:
        raise RecipeError(f"{shown} cannot be fetched", hint="write an address that begins with https://")
    if url.checksum and not reference.is_digest(url.checksum):
        hint = "write sha256: and 64 hexadecimal digits in small letters"
        raise RecipeError(f"'{url.checksum}' is no checksum of a file", hint=hint)
    if url.checksum and (before := cache.file(url.checksum)):
        return before
    say(f"fetching {shown}")
    try:
        return _fetch(url, shown, cache)
    except web.UnansweredError as error:
        raise error.refused(f"{shown} cannot be fetched") from error


def _fetch(url: Url, shown: str, cache: Cache) -> Path:
    algorithm = url.checksum.partition(":")[0] or "sha256"
    total = hashlib.new(algorithm)
    with cache.writing() as (file, temporary):
        for chunk in web.body(url.address, largest=LARGEST, what=shown):
            total.update(chunk)
            file.write(chunk)
        file.close()
        found = f"{algorithm}:{total.hexdigest()}"
        if url.checksum not in ("", found):
            raise RecipeError(
                f"{shown} has the checksum {found}, not {url.checksum}",
                hint="the file is another one than the recipe's author had: see why before you change the recipe",
            )
        cache.move(temporary, cache.place(found))
        return cache.place(found)
