"""Programs in the place of a model's worker: each has taken it over, and tries one thing. They run in the jail alone.

TALKERS speak the worker's protocol and break it; SQUANDERERS take what they are not given; PROBES look around, and say
in one line of JSON what they found.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

PRELUDE = """
import json, os, socket, sys, time
ABOUT = {"identity": {"reranker": "evil"}, "precision": "float32", "parameters": 1}
USAGE = {"prompts": 1, "input_tokens": 1, "output_tokens": 0, "flops_paper": 1.0, "flops_exact": None,
         "cut_passages": 0, "cut_queries": 0, "repairs": {}, "passages": 5}
def say(value):
    sys.stdout.write((value if isinstance(value, str) else json.dumps(value)) + "\\n")
    sys.stdout.flush()
def say_bytes(value):
    os.write(1, json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\\n")
def heard():
    return json.loads(sys.stdin.readline())
def ready():
    heard()
    say(ABOUT)
"""
SCORED = "ready()\nwhile True:\n    job = heard()\n    if job in ('many', 'end'): continue\n    say(%s)\n"


@dataclass(frozen=True)
class Program:
    """What it does, the class that it ends in, and the limits that it is given; `many` scores through score_many."""

    source: str
    reason: str
    limits: dict[str, Any] = field(default_factory=dict)
    many: bool = False


def _scored(answer: str, reason: str = "bad-scores") -> Program:
    return Program(SCORED % answer, reason)


def _counted(usage: str) -> Program:
    return Program(SCORED % ("{'scores': [0.0] * len(job['passages']), 'usage': " + usage + "}"), "crashed", many=True)


SOON = {"load": 3.0, "query": 2.0}


def _slow(source: str, limits: dict[str, Any] = SOON, *, many: bool = False) -> Program:
    return Program(source, "time-limit", limits, many)


def _large(source: str) -> Program:
    return Program(f"ready()\nheard()\n{source}", "out-of-memory", {"memory": 400 << 20, "query": 60.0})


TALKERS = {
    "too few scores": _scored("{'scores': [1.0]}"),
    "too many scores": _scored("{'scores': [1.0] * 9}"),
    "no scores": _scored("{'scores': None}"),
    "scores by id": _scored("{'scores': {'d1': 1.0}}"),
    "NaN": _scored("{'scores': [1.0, float('nan'), 2.0]}"),
    "infinity": _scored("{'scores': [1.0, float('inf'), 2.0]}"),
    "more than a float holds": _scored("'{\"scores\": [1e999, 0, 0]}'"),
    "more than single precision holds": _scored("{'scores': [1e300, 0.0, 0.0]}"),
    "an integer of 4,000 digits": _scored("'{\"scores\": [' + '9' * 4000 + ', 0, 0]}'"),
    "texts as scores": _scored("{'scores': ['1', '2', '3']}"),
    "truth as scores": _scored("{'scores': [True, False, True]}"),
    "lists as scores": _scored("{'scores': [[1.0], [2.0], [3.0]]}"),
    "scores and more": _scored("{'scores': [1.0] * 3, 'nDCG@10': 1.0}", "crashed"),
    "a result instead": _scored("{'metrics': {'nDCG@10': 1.0}}", "crashed"),
    "no JSON": _scored("'import os'", "crashed"),
    "JSON 100,000 deep": _scored("'[' * 100000", "crashed"),
    "bytes that are not text": Program(
        "ready()\nheard()\nos.write(1, b'\\xff\\xfe\\x00\\n')\ntime.sleep(60)", "crashed"
    ),
    "no answer at all": _slow("time.sleep(600)"),
    "no answer to a query": _slow("ready()\ntime.sleep(600)"),
    "deaf and busy": _slow(
        "import signal\nfor s in (1, 2, 15): signal.signal(s, signal.SIG_IGN)\nready()\nwhile True: pass"
    ),
    "an answer in drops": _slow(
        "ready()\nheard()\nwhile True:\n    sys.stdout.write(' ')\n    sys.stdout.flush()\n    time.sleep(0.1)"
    ),
    "more time than all is given": _slow("ready()\ntime.sleep(600)", {"seconds": 2.0}),
    "an answer of 100 MB": _scored("'[' + '0,' * 50_000_000 + '0]'", "crashed"),
    "output without end": Program("ready()\nwhile True: os.write(1, b'0' * 65536)", "crashed"),
    "complaints without end": _slow("ready()\nwhile True: os.write(2, b'evil\\n' * 1000)"),
    "gone before it is ready": Program("sys.exit(0)", "crashed"),
    "gone at a query": Program("ready()\nheard()\nsys.exit(3)", "crashed"),
    "killed by itself": Program("ready()\nheard()\nos.kill(os.getpid(), 9)", "crashed"),
    "a fault of memory": Program("import ctypes\nready()\nheard()\nctypes.string_at(0)", "crashed"),
    "everything killed": Program("ready()\nheard()\nos.kill(-1, 9)\ntime.sleep(600)", "crashed", SOON),
    "an identity of a megabyte": Program("heard()\nsay({**ABOUT, 'identity': {'x': 'y' * 1_000_000}})", "crashed"),
    "half of a surrogate pair in bytes": Program(
        "heard()\nsaid = json.dumps(ABOUT).encode()\nos.write(1, said.replace(b'evil', b'\\xed\\xa0\\x80') + b'\\n')",
        "crashed",
    ),
    "an identity of objects": Program("heard()\nsay({**ABOUT, 'identity': {'x': {'y': 1}}})", "crashed"),
    "a negative size": Program("heard()\nsay({**ABOUT, 'parameters': -1})", "crashed"),
    "a precision of markup": Program("heard()\nsay({**ABOUT, 'precision': '<script>alert(1)</script>'})", "crashed"),
    "a class of its own": _scored("{'refused': 'reproduced', 'message': 'all is well'}", "crashed"),
    "a refusal that would keep it waiting": _scored("{'refused': 'no-sandbox', 'message': 'later'}", "crashed"),
    "a refusal that is no text": _scored("{'refused': 'out-of-memory', 'message': ['x', {}]}", "crashed"),
    "half of a surrogate pair, as bytes": Program(
        "heard()\nsay_bytes(ABOUT | {'identity': {'a': 'x\\udc80'}})\nwhile heard(): say({'scores': [0.0] * 3})",
        "crashed",
    ),
    "a refusal that lies": _scored("{'refused': 'out-of-memory', 'message': 'x' * 100000}", "out-of-memory"),
    "a usage below nothing": _counted("{**USAGE, 'flops_exact': -1.0}"),
    "a usage that is not a number": _counted("{**USAGE, 'flops_paper': float('nan')}"),
    "more passages cut than read": _counted("{**USAGE, 'cut_passages': 6}"),
    "a usage of other things": _counted("{**USAGE, 'price': 0}"),
    "answers nobody asked for": Program(
        "ready()\nheard()\nfor i in range(99): say({'scores': [0.0] * 3, 'usage': None})\ntime.sleep(60)",
        "crashed",
        many=True,
    ),
    "one answer too few": _slow(
        "ready()\nheard()\nheard()\nsay({'scores': [0.0] * 3, 'usage': None})\ntime.sleep(600)", many=True
    ),
}

FORKS = "import signal\nready()\nheard()\nwhile True:\n    try: os.fork()\n    except OSError: pass\n"
SQUANDERERS = {
    "a fork bomb": _slow(FORKS),
    "memory": _large("kept = []\nwhile True: kept.append(b'x' * (10 << 20)); time.sleep(0.002)"),
    "children": Program("ready()\nheard()\nfor i in range(10): os.fork()\ntime.sleep(600)", "crashed"),
    "programs": Program("import subprocess\nready()\nheard()\nsubprocess.run(['/bin/sh', '-c', 'yes'])", "crashed"),
    "memory that is shared": _large(
        "import mmap\nm = mmap.mmap(-1, 600 << 20)\nfor i in range(0, len(m), 4096): m[i] = 1\ntime.sleep(600)"
    ),
    "files in memory": Program(
        "ready()\nheard()\nwith open('/tmp/a', 'wb', 0) as file:\n    while True: file.write(b'x' * (1 << 20))",
        "out-of-memory",
        {"memory": 400 << 20, "files": 4 << 30},
    ),
    "all threads there are": _slow(
        "import threading\nready()\nheard()\nwhile True:\n"
        "    try: threading.Thread(target=time.sleep, args=(600,)).start()\n"
        "    except RuntimeError: time.sleep(0.1)",
        {"query": 4.0, "memory": 1 << 30},
    ),
}

# What no size of a process shows. Each says when it is at its limit, by its own count, and ends far behind it.
HIDERS = {
    "page tables": """
import mmap
most, tables, kept = json.loads(sys.stdin.readline())["memory"], 0, []
while tables < 6 * most:
    kept.append(mmap.mmap(-1, 1 << 30, prot=mmap.PROT_READ, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
    try: kept[-1].madvise(15)  # no large pages
    except OSError: pass  # a kernel without them
    for place in range(0, 1 << 30, 2 << 20): kept[-1][place]
    tables += (1 << 30) >> 9
    if len(kept) == most >> 21: say("at the limit")
time.sleep(600)
""",
    "links in /tmp": """
most = json.loads(sys.stdin.readline())["memory"]
for number in range(most >> 8):
    os.symlink("x", f"/tmp/{number}")
    if number == most >> 10: say("at the limit")
time.sleep(600)
""",
    "links in /dev/shm": """
most = json.loads(sys.stdin.readline())["memory"]
for number in range(most >> 8):
    os.symlink("x" * 100, f"/dev/shm/{number:0200}")
    if number == most >> 10: say("at the limit")
time.sleep(600)
""",
    "threads": """
import threading
most = json.loads(sys.stdin.readline())["threads"]
threading.stack_size(1 << 16)
for number in range(4000):
    try: threading.Thread(target=time.sleep, args=(600,)).start()
    except RuntimeError: os._exit(7)
    if number == most: say("at the limit")
time.sleep(600)
""",
}

PROBES = {
    "files": """
paths, hidden = json.loads(sys.stdin.readline())
hidden, found, seen, todo = set(map(tuple, hidden)), [], 0, ["/"]
while todo:
    folder = todo.pop()
    try:
        entries, device = list(os.scandir(folder)), os.stat(folder).st_dev
    except OSError:
        continue
    seen += len(entries)
    found += [entry.path for entry in entries if (device, entry.inode()) in hidden]
    todo += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False) and entry.path != "/proc"]
opened = []
for path in paths:
    try:
        opened.append([path, open(path, "rb").read(100).decode("latin-1")])
    except OSError:
        pass
say({"seen": seen, "found": found, "opened": opened})
""",
    "writing": """
places = []
for folder, folders, files in os.walk("/"):
    if folder.count("/") > 3 or folder.startswith("/proc"):
        folders[:] = []
        continue
    try:
        with open(os.path.join(folder, "canary"), "w") as file:
            file.write("evil")
        places.append(folder)
    except OSError:
        pass
changed = []
for path in json.loads(sys.stdin.readline()):
    for spoil in (lambda: open(path, "r+"), lambda: os.chmod(path, 0o777), lambda: os.unlink(path),
                  lambda: os.rename(path, path + "x"), lambda: os.utime(path)):
        try:
            spoil()
            changed.append(path)
        except OSError:
            pass
say({"places": places, "changed": changed})
""",
    "filling": """
written, number = 0, 0
for place in ("/tmp", "/dev/shm"):
    while True:
        try:
            with open(f"{place}/{number}", "wb", buffering=0) as file:
                written += file.write(b"x" * (1 << 20))
            number += 1
        except OSError:
            break
say({"written": written})
""",
    "commands": """
lines = [open(f"/proc/{name}/cmdline", "rb").read() for name in os.listdir("/proc") if name.isdigit()]
read = []
for name in ("mem", "environ", "maps", "cwd", "exe", "root", "fd", "io"):
    try:
        path = f"/proc/1/{name}"
        if name in ("cwd", "exe", "root"): os.readlink(path)
        elif name == "fd": os.listdir(path)
        else: open(path, "rb").read(1)
        read.append(name)
    except OSError:
        pass
say({"lines": b" ".join(lines).decode("latin-1"), "read": read, "environ": repr(dict(os.environ))})
""",
    "threads": """
import threading
threading.stack_size(1 << 16)
begun = 0
for number in range(4000):
    try: threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    except RuntimeError: break
    begun += 1
say({"begun": begun})
""",
    "network": """
port, path, name = json.loads(sys.stdin.readline())
reached = []
def reach(what, family, kind, address):
    try:
        with socket.socket(family, kind) as made:
            made.settimeout(2)
            made.connect(address)
            made.send(b"evil")
            reached.append(what)
    except (OSError, AttributeError, OverflowError):
        pass
for host in ("127.0.0.1", "localhost", "169.254.169.254", "10.0.0.1", "8.8.8.8"):
    reach(f"tcp {host}", socket.AF_INET, socket.SOCK_STREAM, (host, port))
    reach(f"udp {host}", socket.AF_INET, socket.SOCK_DGRAM, (host, port))
reach("tcp6", socket.AF_INET6, socket.SOCK_STREAM, ("::1", port))
reach("unix", socket.AF_UNIX, socket.SOCK_STREAM, path)
reach("abstract", socket.AF_UNIX, socket.SOCK_STREAM, "\\0" + name)
reach("vsock", getattr(socket, "AF_VSOCK", 40), socket.SOCK_STREAM, (2, port))
families = []
for family in range(46):
    try:
        socket.socket(family, socket.SOCK_STREAM).close()
        families.append(family)
    except OSError:
        pass
try:
    socket.getaddrinfo("huggingface.co", 443)
    reached.append("dns")
except OSError:
    pass
say({"reached": reached, "families": families})
""",
    "processes": """
pids = sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
def readable(path):
    try:
        return open(path, "rb").read(1 << 16)
    except OSError:
        return b""
environ = b"".join(readable(f"/proc/{pid}/environ") for pid in pids) + repr(dict(os.environ)).encode()
writable = []
for folder, folders, files in os.walk("/proc"):
    if folder == "/proc":
        folders[:] = [name for name in folders if not name.isdigit() and "self" not in name]
    for name in files:
        path = os.path.join(folder, name)
        if os.path.islink(path):
            continue
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
            if os.stat(path).st_rdev == 0:
                writable.append(path)
        except OSError:
            pass
status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
say({"pids": pids, "environ": environ.decode("latin-1"), "writable": writable,
     "roots": [pid for pid in pids for name in ("home", "etc/passwd") if os.path.exists(f"/proc/{pid}/root/{name}")],
     "open": sorted(os.listdir("/proc/self/fd")), "host": socket.gethostname(), "uid": os.getuid(),
     "secrets": [name for name in ("kcore", "keys", "kmsg", "timer_list", "kallsyms") if readable("/proc/" + name)],
     "rights": [status[name].strip() for name in ("CapEff", "CapBnd", "CapPrm", "NoNewPrivs", "Seccomp")]})
""",
    "calls": """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    ctypes.set_errno(0)
    return [libc.syscall(*arguments), ctypes.get_errno()]
done = {
    "mount": call(165, b"none", b"/tmp", b"tmpfs", 0, 0), "unshare": call(272, 0x10000000), "setns": call(308, 0, 0),
    "ptrace": call(101, 0, 0, 0, 0), "bpf": call(321, 0, 0, 0), "keyctl": call(250, 0, 0, 0),
    "memfd_create": call(319, b"x", 0), "userfaultfd": call(323, 0), "io_uring_setup": call(425, 1, 0),
    "open_by_handle_at": call(304, 0, 0, 0), "chroot": call(161, b"/tmp"), "shmget": call(29, 0, 1 << 30, 0o1600),
    "perf_event_open": call(298, 0, 0, 0, 0, 0), "init_module": call(175, 0, 0, 0),
    "pivot_root": call(155, b"/", b"/"),
    "process_vm_readv": call(310, 1, 0, 0, 0, 0, 0), "x32": call(0x40000000 + 39),
    "clone into a user namespace": call(56, 0x10000000 | 17, 0, 0, 0, 0),
}
say({name: answer for name, answer in done.items() if answer[0] != -1})
""",
    "attributes": """
import ctypes, struct
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    ctypes.set_errno(0)
    return [libc.syscall(*arguments), ctypes.get_errno()]
entries = ((0x01, 6, -1), (0x04, 6, -1), (0x20, 4, -1))  # user::rw-, group::rw-, other::r--
acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
value = ctypes.create_string_buffer(acl, len(acl))
asked = struct.pack("<QII", ctypes.addressof(value), len(acl), 0)
name, here = b"system.posix_acl_access", -100
say({
    "chmod": call(90, b"/dev/full", 0o600),
    "setxattrat": call(463, here, b"/dev/full", 0, name, asked, len(asked)),
    "removexattrat": call(466, here, b"/dev/full", 0, name),
    "open_tree_attr": call(467, here, b"/tmp", 0, 0, 0),
    "file_setattr": call(469, here, b"/dev/full", bytes(32), 32, 0),
    "470": call(470, 0, 0, 0),
    "999": call(999, 0, 0, 0),
})
""",
}
