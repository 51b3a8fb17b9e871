"""The last step before a sandboxed runtime: gives up rights for good, then becomes the runtime.

    python -I -S confine.py [--folder PATH] [--limit NAME=N]… [--user ID] [--unshare] [--no-tcp]
                            [--landlock] [--read PATH]… [--write PATH]… -- COMMAND…

Run by path and inside sandboxes, so it imports nothing of ours, and little else: it is started with
every replica. `cell.Cell` writes its command line; what cannot be done ends it with status
125 and a line that says what.
"""

from __future__ import annotations

import ctypes
import os
import resource
import struct
import sys
from collections.abc import Iterator, Sequence

EXIT_REFUSED = 125

_LIMITS = {
    "core": resource.RLIMIT_CORE,
    "fsize": resource.RLIMIT_FSIZE,
    "nofile": resource.RLIMIT_NOFILE,
    "nproc": resource.RLIMIT_NPROC,
}

_PR_SET_NO_NEW_PRIVS = 38
_NEW_USER, _NEW_NETWORK, _NEW_IPC, _NEW_UTS = 0x10000000, 0x40000000, 0x08000000, 0x04000000
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1
_CAPABILITY_VERSION = 0x20080522

# The same on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG, _PATH_BENEATH = 1, 1
_READ = 0b1101  # run a file, read a file, list a folder
_FILE = 0b0111 | 1 << 14 | 1 << 15  # what has a meaning for a single file
_ALL_OF_VERSION_1 = (1 << 13) - 1
_ADDED = {2: 1 << 13, 3: 1 << 14, 5: 1 << 15}  # by version: refer, truncate, ioctl of devices
_TCP = 0b11  # bind, connect
_SCOPED = 0b11  # abstract Unix sockets, signals

_libc = ctypes.CDLL(None, use_errno=True)


def main(arguments: Sequence[str]) -> None:
    """Give up what the arguments say, and become the command after `--`."""
    end = arguments.index("--")
    options, command = arguments[:end], list(arguments[end + 1 :])
    try:
        confine(options)
        os.execv(command[0], command)  # noqa: S606 - no shell is the point
    except (OSError, ValueError, KeyError) as error:
        sys.stderr.write(f"cannot confine {command[0]}: {error}\n")
        sys.exit(EXIT_REFUSED)


def confine(options: Sequence[str]) -> None:
    """Give up what the options say.

    Raises:
        OSError: The kernel refused.
    """
    if "--unshare" in options:
        _unshare()
    for limit in _values(options, "--limit"):
        name, _, value = limit.partition("=")
        _lower(_LIMITS[name], int(value))
    for user in _values(options, "--user"):
        _become(int(user))
    for folder in _values(options, "--folder"):
        os.chdir(folder)
    if sys.platform != "linux":
        return  # which has limits, and nothing else of all this
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    if "--landlock" in options:
        _landlock(options)
    _drop_capabilities()


def landlock_version() -> int:
    """Version of the kernel's Landlock interface; 0 when it has none."""
    return max(0, int(_libc.syscall(_CREATE_RULESET, None, 0, _VERSION_FLAG)))


def _values(options: Sequence[str], name: str) -> Iterator[str]:
    return (options[at + 1] for at, option in enumerate(options) if option == name)


def _lower(limit: int, wanted: int) -> None:
    _, hard = resource.getrlimit(limit)
    value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(limit, (value, value))


def _become(user: int) -> None:
    """Another user, without other groups; root's capabilities go with it."""
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def _unshare() -> None:
    """A network, semaphores and a host name of our own; nothing is reached but our loopback."""
    own = _NEW_NETWORK | _NEW_IPC | _NEW_UTS
    if os.geteuid() == 0 and _libc.unshare(own) == 0:
        _raise_loopback()
        return
    user, group = os.geteuid(), os.getegid()
    _check(_libc.unshare(own | _NEW_USER), "unshare")
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    _raise_loopback()


def _raise_loopback() -> None:
    import fcntl
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP))


def _landlock(options: Sequence[str]) -> None:
    version = landlock_version()
    handled = _ALL_OF_VERSION_1
    for since, right in _ADDED.items():
        handled |= right if version >= since else 0
    tcp = _TCP if "--no-tcp" in options else 0
    attributes = struct.pack("QQQ", handled, tcp, _SCOPED)
    attributes = attributes[: 24 if version >= 6 else 16 if version >= 4 else 8]
    rules = _check(
        _libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0), "landlock"
    )
    for path in _values(options, "--read"):
        _allow(rules, path, _READ)
    for path in _values(options, "--write"):
        _allow(rules, path, handled)
    _check(_libc.syscall(_RESTRICT_SELF, rules, 0), "landlock")
    os.close(rules)


def _allow(rules: int, path: str, access: int) -> None:
    if not os.path.exists(path):
        return
    if not os.path.isdir(path):
        access &= _FILE
    beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = struct.pack("=Qi", access, beneath)
        _check(_libc.syscall(_ADD_RULE, rules, _PATH_BENEATH, rule, 0), path)
    finally:
        os.close(beneath)


def _drop_capabilities() -> None:
    """Also for root, who gets none back at `exec` after `no_new_privs`."""
    header = struct.pack("Ii", _CAPABILITY_VERSION, 0)
    _check(_libc.capset(header, struct.pack("6I", *(0,) * 6)), "capset")


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


if __name__ == "__main__":
    main(sys.argv[1:])
