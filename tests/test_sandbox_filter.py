"""The jail's filter of system calls, as the kernel would read it, for both processors; no jail is needed."""

from __future__ import annotations

import struct

import pytest

from exabench.bench.sandbox import seccomp_filter

ALLOW, KILL, EPERM, ENOSYS, EAFNOSUPPORT = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026, 0x00050061
ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
CALLS = {  # name: (x86_64, aarch64)
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "setxattr": (188, 5),
    "setxattrat": (463, 463), "getxattrat": (464, 464), "listxattrat": (465, 465), "removexattrat": (466, 466),
    "open_tree_attr": (467, 467), "file_getattr": (468, 468), "file_setattr": (469, 469), "mount": (165, 40),
    "ptrace": (101, 117), "bpf": (321, 280), "quotactl_fd": (443, 443), "memfd_secret": (447, 447),
}  # fmt: skip
NEEDED = {"read": (0, 63), "openat": (257, 56), "mmap": (9, 222), "futex": (202, 98), "mseal": (462, 462)}


def answer(machine: str, number: int, first: int = 0, arch: int = 0) -> int:
    """What the filter answers to a call: a small machine for classic BPF."""
    data = struct.pack("=IIQ6Q", number, arch or ARCH[machine], 0, first, 0, 0, 0, 0, 0)
    program = list(struct.iter_unpack("=HBBI", seccomp_filter(machine)))
    place, found = 0, 0
    while True:
        code, yes, no, value = program[place]
        place += 1
        if code == 0x06:
            return value
        if code == 0x20:
            [found] = struct.unpack_from("=I", data, value)
            continue
        holds = {0x15: found == value, 0x35: found >= value, 0x45: bool(found & value)}[code]
        place += yes if holds else no


@pytest.mark.parametrize("machine", ARCH)
def test_what_changes_attributes_or_leaves_the_jail_is_refused(machine: str) -> None:
    which = [*ARCH].index(machine)
    for name, numbers in CALLS.items():
        if (number := numbers[which]) is not None:
            assert answer(machine, number) == EPERM, name
    for name, numbers in NEEDED.items():
        assert answer(machine, numbers[which]) == ALLOW, name


@pytest.mark.parametrize("machine", ARCH)
def test_calls_that_are_newer_than_the_list_are_not_there(machine: str) -> None:
    for number in (470, 471, 500, 1 << 16, 1 << 30, (1 << 30) + 39, (1 << 32) - 1):
        assert answer(machine, number) == ENOSYS
    assert answer(machine, 435) == ENOSYS  # clone3
    assert answer(machine, 0, arch=0x40000003) == KILL


@pytest.mark.parametrize("machine", ARCH)
def test_threads_and_local_sockets_are_let_through_and_processes_and_networks_are_not(machine: str) -> None:
    clone, socket = {"x86_64": (56, 41), "aarch64": (220, 198)}[machine]
    assert answer(machine, clone, first=0x3D0F00) == ALLOW
    assert answer(machine, clone, first=17) == EPERM
    assert answer(machine, socket, first=1) == ALLOW
    assert {answer(machine, socket, first=family) for family in (2, 10, 16, 40)} == {EAFNOSUPPORT}


def test_an_unknown_processor_has_no_filter() -> None:
    assert seccomp_filter("riscv64") == b""
