"""Seccomp filter of the jail: the system calls that no model needs and that have been a way out of jails before.

Classic BPF as seccomp(2) reads it. Calls on the list fail with EPERM, calls newer than the list with ENOSYS, as if the
kernel did not have them. No socket but of AF_UNIX can be made (AF_VSOCK knows no network namespace), no memory be had
that no process's size shows (memfd, System V), and no process be begun, only threads: root's own are not bound by any
limit on their number.
"""

from __future__ import annotations

import platform
import struct

# Calls that fail, with their numbers on x86_64 and aarch64. Some change the mode, the owner or the attributes of a
# file: the devices are this machine's own, and root's.
_DENIED = """
ptrace              101  117
syslog              103  116
shmget               29  194
shmat                30  196
semget               64  190
msgget               68  186
personality         135   92
mount               165   40
umount2             166   39
swapon              167  224
swapoff             168  225
reboot              169  142
sethostname         170  161
init_module         175  105
delete_module       176  106
quotactl            179   60
pivot_root          155   41
chroot              161   51
acct                163   89
settimeofday        164  170
add_key             248  217
request_key         249  218
keyctl              250  219
unshare             272   97
perf_event_open     298  241
name_to_handle_at   303  264
open_by_handle_at   304  265
clock_adjtime       305  266
setns               308  268
process_vm_readv    310  270
process_vm_writev   311  271
kcmp                312  272
finit_module        313  273
kexec_load          246  104
kexec_file_load     320  294
bpf                 321  280
userfaultfd         323  282
fork                 57    -
vfork                58    -
chmod                90    -
fchmod               91   52
fchmodat            268   53
chown                92    -
fchown               93   55
lchown               94    -
fchownat            260   54
setxattr            188    5
lsetxattr           189    6
fsetxattr           190    7
removexattr         197   14
lremovexattr        198   15
fremovexattr        199   16
io_uring_setup      425  425
io_uring_enter      426  426
io_uring_register   427  427
open_tree           428  428
move_mount          429  429
fsopen              430  430
fsconfig            431  431
fsmount             432  432
fspick              433  433
pidfd_getfd         438  438
mount_setattr       442  442
quotactl_fd         443  443
memfd_secret        447  447
fchmodat2           452  452
setxattrat          463  463
getxattrat          464  464
listxattrat         465  465
removexattrat       466  466
open_tree_attr      467  467
file_getattr        468  468
file_setattr        469  469
"""

# The first number that Linux 6.18 does not use: whatever a later kernel puts there, the jail does not have it.
_UNKNOWN = 470

_CLONE3 = 435
_CLONE_THREAD = 0x00010000
_AF_UNIX = 1
_MACHINES = {  # column of _DENIED, AUDIT_ARCH, and the numbers of memfd_create, clone and socket
    "x86_64": (1, 0xC000003E, 319, 56, 41),
    "aarch64": (2, 0xC00000B7, 279, 220, 198),
}

_LOAD = 0x20  # BPF_LD|W|ABS
_EQUAL = 0x15  # BPF_JMP|JEQ|K
_AT_LEAST = 0x35  # BPF_JMP|JGE|K
_ANY_BIT = 0x45  # BPF_JMP|JSET|K
_RETURN = 0x06  # BPF_RET|K

# Offsets in struct seccomp_data.
_NUMBER = 0
_ARCH = 4
_FIRST_ARGUMENT = 16

_ALLOW = 0x7FFF0000
_KILL = 0x80000000
_EPERM = 0x00050000 | 1
_ENOSYS = 0x00050000 | 38
_EAFNOSUPPORT = 0x00050000 | 97


def seccomp_filter(machine: str = "") -> bytes:
    """The filter for a processor (x86_64 or aarch64; default: this machine's), empty where it is none of the two."""
    machine = machine or platform.machine()
    if machine not in _MACHINES:
        return b""
    column, arch, memfd_create, clone, socket = _MACHINES[machine]
    lines = [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 1, 0, arch),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _UNKNOWN),  # among them those of x32, whose numbers begin at 2**30
        (_RETURN, 0, 0, _ENOSYS),
    ]
    for call in _DENIED.strip().splitlines():
        number = call.split()[column]
        if number != "-":
            lines += [(_EQUAL, 0, 1, int(number)), (_RETURN, 0, 0, _EPERM)]
    # The flags of clone3 are in memory, where no filter can read them: C libraries fall back to clone.
    for missing in (memfd_create, _CLONE3):
        lines += [(_EQUAL, 0, 1, missing), (_RETURN, 0, 0, _ENOSYS)]
    lines += [
        (_EQUAL, 0, 4, clone),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_ANY_BIT, 1, 0, _CLONE_THREAD),
        (_RETURN, 0, 0, _EPERM),
        (_RETURN, 0, 0, _ALLOW),
        (_EQUAL, 0, 3, socket),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_EQUAL, 1, 0, _AF_UNIX),
        (_RETURN, 0, 0, _EAFNOSUPPORT),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("=HBBI", *line) for line in lines)
