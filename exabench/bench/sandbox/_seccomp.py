"""Seccomp filter of the jail: the system calls that no model needs and that have been a way out of jails before.

Classic BPF as seccomp(2) reads it. Calls on the list fail with EPERM, calls newer than the list with ENOSYS, as if the
kernel did not have them. No socket but of AF_UNIX can be made (AF_VSOCK knows no network namespace), no memory be had
that no process's size shows (memfd, System V), and no process be begun, only threads: root's own are not bound by any
limit on their number.
"""

from __future__ import annotations

import platform
import struct
from collections.abc import Mapping

_EPERM, _ENOSYS, _EAFNOSUPPORT, _AF_UNIX = 1, 38, 97, 1
_ALLOW, _ERROR, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # BPF_LD|W|ABS, JMP|JEQ|K, JMP|JGE|K, RET|K
_NR, _ARCH, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data
_ANY_BIT = 0x45  # BPF_JMP|JSET|K
_CLONE3, _CLONE_THREAD = 435, 0x00010000
_CLONE = {"x86_64": 56, "aarch64": 220}

# From 424 on a call has the same number on every processor.
_MOUNTING = range(425, 434)  # io_uring, open_tree, move_mount, fsopen, fsconfig, fsmount, fspick
_NEWER = (438, 442, 443, 447, 452)  # pidfd_getfd, mount_setattr, quotactl_fd, memfd_secret, fchmodat2
_ATTRIBUTES = range(463, 470)  # setxattrat, getxattrat, listxattrat, removexattrat, open_tree_attr, file_{get,set}attr
_UNKNOWN = 470
"""The first number that Linux 6.18 does not use: whatever a later kernel puts there, the jail does not have it."""
_DENIED: Mapping[str, tuple[int, ...]] = {
    # ptrace syslog shmget shmat semget msgget personality mount umount2 swapon swapoff reboot sethostname init_module
    # delete_module quotactl pivot_root chroot acct settimeofday add_key request_key keyctl unshare perf_event_open
    # name_to_handle_at open_by_handle_at clock_adjtime setns process_vm_readv process_vm_writev kcmp finit_module
    # kexec_load kexec_file_load bpf userfaultfd; and what changes the mode, the owner or the attributes of a file: the
    # devices are this machine's own, and root's
    "x86_64": (
        *(101, 103, 29, 30, 64, 68, 135, 165, 166, 167, 168, 169, 170, 175, 176, 179, 155, 161, 163, 164, 248, 249),
        *(250, 272, 298, 303, 304, 305, 308, 310, 311, 312, 313, 246, 320, 321, 323),
        *(57, 58, 90, 91, 268, 92, 93, 94, 260, 188, 189, 190, 197, 198, 199, *_MOUNTING, *_NEWER, *_ATTRIBUTES),
    ),
    "aarch64": (
        *(117, 116, 194, 196, 190, 186, 92, 40, 39, 224, 225, 142, 161, 105, 106, 60, 41, 51, 89, 170, 217, 218),
        *(219, 97, 241, 264, 265, 266, 268, 270, 271, 272, 273, 104, 294, 280, 282),
        *(52, 53, 54, 55, 5, 6, 7, 14, 15, 16, *_MOUNTING, *_NEWER, *_ATTRIBUTES),
    ),
}
_ARCHES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_SOCKET = {"x86_64": 41, "aarch64": 198}
_MEMFD = {"x86_64": 319, "aarch64": 279}


def seccomp_filter(machine: str = "") -> bytes:
    """The filter for a processor (x86_64 or aarch64; default: this machine's), empty where it is none of the two."""
    machine = machine or platform.machine()
    if machine not in _ARCHES:
        return b""
    lines = [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 1, 0, _ARCHES[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NR),
        (_AT_LEAST, 0, 1, _UNKNOWN),  # among them those of x32, whose numbers begin at 2**30
        (_RETURN, 0, 0, _ERROR | _ENOSYS),
    ]
    for number in _DENIED[machine]:
        lines += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERROR | _EPERM)]
    for number in (_MEMFD[machine], _CLONE3):  # its flags cannot be read here: whoever calls it takes clone instead
        lines += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERROR | _ENOSYS)]
    lines += [
        (_EQUAL, 0, 4, _CLONE[machine]),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_ANY_BIT, 1, 0, _CLONE_THREAD),
        (_RETURN, 0, 0, _ERROR | _EPERM),
        (_RETURN, 0, 0, _ALLOW),
        (_EQUAL, 0, 3, _SOCKET[machine]),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_EQUAL, 1, 0, _AF_UNIX),
        (_RETURN, 0, 0, _ERROR | _EAFNOSUPPORT),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("=HBBI", *line) for line in lines)
