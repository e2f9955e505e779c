"""What is left when supervisor and guard are killed at once goes with the next start; what is in use stays."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.supervisor import box, cgroups, stale


@pytest.fixture(autouse=True)
def looked_for_anew() -> Iterator[None]:
    """Otherwise a process looks once."""
    stale.sweep.cache_clear()
    yield
    stale.sweep.cache_clear()


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is young."""
    monkeypatch.setattr(stale, "YOUNG_S", -1.0)
    monkeypatch.setattr(cgroups, "YOUNG_S", -1.0)


def names(folder: Path) -> set[str]:
    """What is in a folder."""
    return {one.name for one in folder.iterdir()}


@pytest.mark.usefixtures("old")
def test_a_box_that_nobody_holds_is_removed(tmp_path: Path) -> None:
    """A held one stays until its holder is gone; links and other files are nobody's business."""
    for name in ("crash-box-1-held", "crash-box-1-left", "precious"):
        (tmp_path / name).touch()
    (tmp_path / "crash-box-1-link").symlink_to("precious")
    holder = os.open(tmp_path / "crash-box-1-held", os.O_RDWR)
    try:
        stale.hold(holder)
        stale.sweep(str(tmp_path))
        assert names(tmp_path) == {"crash-box-1-held", "crash-box-1-link", "precious"}
    finally:
        os.close(holder)
    stale.sweep.cache_clear()
    stale.sweep(str(tmp_path))
    assert names(tmp_path) == {"crash-box-1-link", "precious"}


def test_a_young_box_may_be_about_to_be_held(tmp_path: Path) -> None:
    """It stays for a minute."""
    (tmp_path / "crash-box-1-new").touch()
    stale.sweep(str(tmp_path))
    assert names(tmp_path) == {"crash-box-1-new"}


def test_a_box_has_no_name_before_its_guard_gives_it_one() -> None:
    """A supervisor that dies between the two leaves nothing."""
    page, path = box.create_named(memory_limited=False)
    try:
        assert not Path(path).exists()
        assert len(os.pread(page, box.BOX_BYTES, 0)) == box.BOX_BYTES
    finally:
        os.close(page)


@pytest.mark.usefixtures("old")
def test_an_empty_cgroup_is_removed_and_a_used_one_stays(tmp_path: Path) -> None:
    """Folders stand for cgroups: the kernel removes none that has processes or cgroups in it."""
    for name in ("crash-harness-1-left", "crash-harness-1-used/inner", "others"):
        (tmp_path / name).mkdir(parents=True)
    cgroups.sweep(tmp_path)
    assert names(tmp_path) == {"crash-harness-1-used", "others"}
    cgroups.remove(tmp_path / "crash-harness-1-used", 1.0)
    assert names(tmp_path) == {"others"}
    cgroups.remove(tmp_path / "none", 1.0)
