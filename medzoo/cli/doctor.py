"""``medzoo doctor``: versions, extras, device, cache, registries and network of this machine, and what is missing."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import click

import medzoo
from medzoo.errors import MedzooError, pip_install
from medzoo.text import one_line, printable

if TYPE_CHECKING:
    from packaging.requirements import Requirement

TIMEOUT = 3.0  # seconds that a host has to answer in
LITTLE_SPACE = 5e9  # bytes; the largest published generator has about 10 GB
# Looked for where medzoo is not installed, only found, so that nothing states what it needs.
LIBRARIES = ("torch", "numpy", "huggingface_hub", "safetensors", "pydantic", "pillow", "click")

Status = Literal["ok", "missing", "problem"]


@dataclass(frozen=True)
class Finding:
    """One line of the examination.

    Attributes:
        section: the heading it stands under.
        name: what was looked at.
        value: what was found.
        status: ``problem`` if medzoo cannot work with it; ``missing`` if it works without.
        advice: what to type; None if there is nothing to do.
    """

    section: str
    name: str
    value: str
    status: Status = "ok"
    advice: str | None = None


@click.command()
@click.option("--offline", is_flag=True, help="Ask no host of the network.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(offline: bool, as_json: bool) -> None:
    """Say what of this machine medzoo can use, and what is missing: for an issue, or before a long run.

    Versions, extras and how to install those that are missing, device and threads, cache and its free space,
    registries, network and proxies (without passwords). Exit code 2 if medzoo cannot work as it is.
    """
    findings = list(examine(offline=offline))
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        _print(findings)
    if any(finding.status == "problem" for finding in findings):
        sys.exit(2)


def examine(*, offline: bool) -> Iterator[Finding]:
    """All findings, section by section; ``offline`` leaves the network alone.

    A library that is missing is a finding, also where a section cannot be looked at without it.
    """
    for section, look in (
        ("versions", _versions), ("extras", _extras), ("device", _device), ("cache", _cache),
        ("registries", _registries), ("network", lambda: _network(offline)),
    ):  # fmt: skip
        try:
            yield from look()
        except (MedzooError, OSError, ImportError) as error:
            yield Finding(section, section, one_line(str(error)), "problem")


def _print(findings: list[Finding]) -> None:
    width = max(len(finding.name) for finding in findings)
    section = ""
    for finding in findings:
        if finding.section != section:
            section = finding.section
            click.echo(click.style(section.capitalize(), bold=True))
        mark = {"ok": " ", "missing": "-", "problem": "!"}[finding.status]
        click.echo(printable(f"{mark} {finding.name:{width}}  {finding.value}"))
        if finding.advice is not None:
            click.echo(printable(f"  {'':{width}}  {finding.advice}"))
    wrong = [finding for finding in findings if finding.status == "problem"]
    click.echo(f"{len(wrong)} to fix (marked !)." if wrong else "Nothing to fix.")


def _versions() -> Iterator[Finding]:
    place = Path(medzoo.__file__).resolve().parent
    kind = "checkout" if (place.parent / "pyproject.toml").is_file() else "installed"
    yield Finding("versions", "medzoo", f"{medzoo.__version__} ({kind}, {place})")
    python = f"{platform.python_version()} ({sys.executable})"
    yield Finding("versions", "python", python)
    yield Finding("versions", "system", f"{platform.system()} {platform.release()} {platform.machine()}")
    for name in [need.name for need in _stated() if _applies(need)] or LIBRARIES:
        version = _version(name)
        if version is None:
            yield Finding("versions", name, "not installed", "problem", f"type: {pip_install(name)}")
        else:
            yield Finding("versions", name, version)


def _extras() -> Iterator[Finding]:
    stated = _stated()
    if not stated:
        yield Finding("extras", "extras", "unknown: medzoo is not installed, only found", "missing")
        return
    for name in metadata.metadata("medzoo").get_all("Provides-Extra") or ():
        requirements = [need for need in stated if need.marker and _applies(need, name)]
        lacking = [str(need.name) + str(need.specifier) for need in requirements if not _is_met(need)]
        if not lacking:
            found = ", ".join(f"{need.name} {_version(need.name)}" for need in requirements)
            yield Finding("extras", name, found if name != "dev" else "installed")
        elif name != "dev":
            advice = f"to have it, type: {pip_install(f'medzoo[{name}]')}"
            yield Finding("extras", name, f"not installed ({', '.join(lacking)})", "missing", advice)


def _stated() -> list[Requirement]:
    """What the installed package states that it needs, for itself and for its extras; [] where it is only found."""
    from packaging.requirements import Requirement

    try:
        return [Requirement(text) for text in metadata.requires("medzoo") or ()]
    except metadata.PackageNotFoundError:
        return []


def _applies(need: Requirement, extra: str = "") -> bool:
    return need.marker is None or need.marker.evaluate({"extra": extra})


def _is_met(need: Requirement) -> bool:
    version = _version(need.name)
    return version is not None and need.specifier.contains(version, prereleases=True)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _device() -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        import torch

        from medzoo import device
    except Exception as error:  # of a broken installation: a missing library, another processor
        words = f"torch does not load: {one_line(str(error))}"
        yield Finding("device", "torch", words, "problem", "install torch again: https://pytorch.org/get-started")
        return
    found = device.find(None)
    yield Finding("device", "used", f"{found} of {', '.join(device.available())}")
    for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        free, total = torch.cuda.mem_get_info(number)
        name = torch.cuda.get_device_name(number)
        yield Finding("device", f"cuda:{number}", f"{name}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free")
    stated = os.environ.get("OMP_NUM_THREADS")
    threads = f"{torch.get_num_threads()} of {cores} cores" + (f" (OMP_NUM_THREADS={stated})" if stated else "")
    yield Finding("device", "threads", threads)
    yield Finding("device", "memory", f"{device.free_memory(torch.device('cpu')) / 2**30:.1f} GiB free")


def _cache() -> Iterator[Finding]:
    from medzoo.files import cache
    from medzoo.weights.sources import hub

    folder = cache.root()
    items = cache.stored()
    held = f"{len(items)} models, {sum(item.size for item in items) / 1e9:.2f} GB"
    yield _folder("medzoo", folder, "MEDZOO_CACHE", held)
    if cache.damaged():
        yield Finding("cache", "damaged", f"{len(cache.damaged())} records", "missing", "type: medzoo cache verify")
    yield _folder("hub", hub.cache_folder(), "HF_HUB_CACHE")


def _folder(name: str, folder: Path, variable: str, held: str = "") -> Finding:
    """A folder of a cache: whether it can be written, and how much room is left."""
    there = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
    free = shutil.disk_usage(there).free
    value = f"{folder}: {f'{held}, ' if held else ''}{free / 1e9:.1f} GB free"
    if not os.access(there, os.W_OK | os.X_OK):
        return Finding("cache", name, f"{value}, cannot be written", "problem", f"set {variable} to another folder")
    if free < LITTLE_SPACE:
        return Finding("cache", name, value, "missing", f"make room, or set {variable} to a folder on another disk")
    return Finding("cache", name, value)


def _registries() -> Iterator[Finding]:
    from medzoo import catalog

    entries, broken = catalog.read_all()
    for folder in catalog.folders():
        yield Finding("registries", f"{sum(raw.registry == folder for raw in entries)} models", str(folder))
    for error in broken:
        yield Finding("registries", "broken", one_line(str(error)), "missing", "type: medzoo check --all")


def _network(offline: bool) -> Iterator[Finding]:
    from medzoo.weights import network_is_off
    from medzoo.weights.sources.mirror import ENVIRONMENT, mirrored

    for name in ("HF_ENDPOINT", ENVIRONMENT, "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"):
        for spelt in dict.fromkeys((name, name.lower())):
            if value := os.environ.get(spelt):
                yield Finding("network", spelt, printable(value))
    yield Finding("network", "HF_TOKEN", "set" if _has_token() else "not set; gated models need one")
    if offline or network_is_off():
        yield Finding("network", "hosts", "not asked: " + ("--offline" if offline else "HF_HUB_OFFLINE is set"))
        return
    hosts = {"hub": os.environ.get("HF_ENDPOINT") or "https://huggingface.co", "http": mirrored("https://zenodo.org/")}
    with ThreadPoolExecutor() as pool:
        yield from pool.map(_asked, hosts, hosts.values())


def _has_token() -> bool:
    from huggingface_hub import get_token

    return get_token() is not None


def _asked(name: str, url: str) -> Finding:
    """Whether a host answers at all, whatever it says."""
    import requests

    from medzoo.weights.sources.retry import reason_of
    from medzoo.weights.sources.session import open_session

    host = urlsplit(url).hostname or url
    began = time.monotonic()
    try:
        with open_session(public_only=False) as session:
            session.head(url, timeout=TIMEOUT, allow_redirects=False)
    except (requests.RequestException, ValueError) as error:
        variable = "HF_ENDPOINT" if name == "hub" else "MEDZOO_MIRROR"
        advice = f"embedded and cached models run without; for a mirror set {variable}, behind a proxy HTTPS_PROXY"
        return Finding("network", name, f"{host} does not answer ({one_line(reason_of(error))})", "missing", advice)
    return Finding("network", name, f"{host} answers in {time.monotonic() - began:.2f} s")
