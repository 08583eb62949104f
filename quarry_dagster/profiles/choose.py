"""Which profile is used: read by name or path from a YAML, or chosen from the hardware found."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from pathlib import Path

import psutil
import yaml
from pydantic import ValidationError

from quarry_dagster.errors import ConfigError
from quarry_dagster.gpu import Gpu, faiss_gpus, list_gpus
from quarry_dagster.profiles.guide import WHERE, translated
from quarry_dagster.profiles.settings import HardwareProfile
from quarry_dagster.settings_files import explained, read_settings


@dataclass(frozen=True)
class Choice:
    """A profile, and why it was chosen."""

    profile: HardwareProfile
    reason: str
    notes: tuple[str, ...] = ()
    """What of its file is read otherwise than it is written: a sentence each."""

    @property
    def remarks(self) -> tuple[str, ...]:
        """The notes, and what is set without effect."""
        said = self.profile.deduplication.without_effect
        return (*self.notes, said) if said else self.notes


def configs_dir() -> Path:
    """The folder of shipped profiles: inside an installed wheel, or beside the package in a checkout."""
    package = Path(__file__).parent.parent
    packaged = package / "configs"
    return packaged if packaged.is_dir() else package.parent / "configs"


def profile_names() -> list[str]:
    """Names that :func:`load_profile` accepts, sorted."""
    return sorted(p.stem for p in configs_dir().glob("*.yaml") if p.stem != "dagster")


def load_profile(name_or_path: str) -> HardwareProfile:
    """The profile of a name in ``configs/``, or of the path of a YAML.

    Raises:
        ConfigError: there is no such profile, it is not YAML, or a key or value is wrong; the message names
            the file, the key, and the nearest valid key.
    """
    return _read(name_or_path)[0]


def _read(name_or_path: str) -> tuple[HardwareProfile, tuple[str, ...]]:
    """As :func:`load_profile`, with the notes of a :class:`Choice`."""
    if name_or_path in profile_names():
        path = configs_dir() / f"{name_or_path}.yaml"
    else:
        path = Path(name_or_path)
        if not path.is_file():
            near = difflib.get_close_matches(name_or_path.lower(), profile_names(), n=1)
            kind = "a folder" if path.is_dir() else "no file" if path.exists() else "not there"
            raise ConfigError(
                f"no profile {name_or_path!r}: it is none of {', '.join(profile_names())}, and as a path it is {kind}"
                + (f"; did you mean {near[0]!r}?" if near else f" (seen from {Path.cwd()})")
            )
    try:
        data = read_settings(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as e:
        raise ConfigError(f"{path}: not a YAML file: {e}") from e
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected a mapping of settings, got {type(data).__name__}")
    try:
        made = translated(data)
    except ConfigError as e:
        raise ConfigError(f"{path}: {e}") from e
    try:
        profile = HardwareProfile.model_validate({"name": path.stem} | made.values)
    except ValidationError as e:
        said = (*explained(e, HardwareProfile, WHERE), *made.notes)
        raise ConfigError("\n".join(f"{path}: {line}" for line in said)) from e
    threshold = profile.deduplication
    states_one = made.notes and "similarity_threshold" in threshold.model_fields_set and not threshold.by_vector
    if states_one and not threshold.without_effect:
        made.notes.append(threshold.threshold_alone)
    return _with_whole_paths(profile, path.parent), tuple(made.notes)


def choose_profile(name_or_path: str | None) -> Choice:
    """The profile of that name or path; without one, the one that fits the hardware found.

    Raises:
        ConfigError: as :func:`load_profile`.
    """
    if name_or_path:
        profile, notes = _read(name_or_path)
        return Choice(profile, f"QUARRY_PROFILE or --profile names {name_or_path!r}", notes)
    gpus = list_gpus()
    with_faiss = faiss_gpus() if len(gpus) > 1 else 0
    return _detect(gpus, with_faiss, psutil.virtual_memory().total / 2**30, os.cpu_count() or 1)


def _detect(gpus: list[Gpu], with_faiss: int, memory_gib: float, cores: int) -> Choice:
    seen = f"{cores} cores, {memory_gib:.0f} GiB memory, {len(gpus)} GPUs"
    if len(gpus) > 1 and with_faiss:
        return Choice(load_profile("enterprise_gpu"), f"detected: several GPUs, and FAISS can use them ({seen})")
    if len(gpus) > 1:
        reason = "several GPUs, but this FAISS cannot use them, which enterprise_gpu needs (docs/hardware.md)"
        return Choice(load_profile("gpu_workstation"), f"detected: {reason} ({seen})")
    if gpus:
        return Choice(load_profile("gpu_workstation"), f"detected: one GPU ({seen})")
    if memory_gib < 6:
        return Choice(load_profile("raspberry_pi"), f"detected: less than 6 GiB memory ({seen})")
    return Choice(load_profile("workstation"), f"detected: no GPU, 6 GiB memory or more ({seen})")


def _with_whole_paths(profile: HardwareProfile, folder: Path) -> HardwareProfile:
    """The profile with its policy and classifiers by paths that are the same wherever a run is started."""

    def whole(path: str) -> str:
        return str((folder / Path(path).expanduser()).absolute())

    quality = profile.quality
    changed = {
        name: each.model_copy(update={"fasttext": whole(each.fasttext)})
        for name, each in quality.classifiers.items()
        if each.fasttext
    }
    is_path = quality.policy.endswith((".yaml", ".yml")) or "/" in quality.policy
    policy = whole(quality.policy) if is_path else quality.policy
    if not changed and policy == quality.policy:
        return profile
    values = {"policy": policy, "classifiers": quality.classifiers | changed}
    return profile.model_copy(update={"quality": quality.model_copy(update=values)})
