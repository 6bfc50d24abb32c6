"""A network of its own for a check, so that the ports in documents and manifests are free in it."""

import fcntl
import os
import socket
import struct
import sys

MARK = "INFERMETER_CHECK_IS_ALONE"


def be_alone():
    """Starts the program anew in an empty network namespace (Linux), where only loopback is."""
    if MARK not in os.environ:
        unshare = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--net", "--map-root-user"]
        os.execvpe(unshare[0], [*unshare, sys.executable, *sys.argv], {**os.environ, MARK: "yes"})
    # What `ip link set lo up` does.
    set_flags, up_and_running = 0x8914, 0x1 | 0x40
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, set_flags, struct.pack("16sh14x", b"lo", up_and_running))
