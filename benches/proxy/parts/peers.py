"""The proxies that are compared: how each is started, one worker each."""

import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from processes import Server, wait_for

ROOT = Path(__file__).resolve().parents[3]
# A folder of its own, whatever else is built.
TARGET = ROOT / "target/proxy-bench"
OURS = TARGET / "release"

NGINX = """
daemon off;
worker_processes 1;
worker_rlimit_nofile {files};
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections {files}; }}
http {{
    access_log off;
    tcp_nodelay on;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream engine {{
        server {upstream};
        keepalive 4096;
        keepalive_requests 1000000000;
    }}
    server {{
        listen {listen} backlog=4096;
        location / {{
            proxy_pass http://engine;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_read_timeout 300s;
        }}
    }}
}}
"""


@dataclass
class Peer:
    name: str
    server: object  # a Tree
    address: str
    metrics: str | None = None  # the URL of its page


def build():
    command = ["cargo", "build", "--quiet", "--locked", "--release", "--target-dir", TARGET]
    subprocess.run(command, cwd=ROOT / "benches/proxy", check=True)


def start_simulator(processor, folder, servers):
    address = free()
    server = Server("simulator", [OURS / "simulator", "--listen", address], processor, folder)
    return ready(Peer("direct", server, address), servers)


def start(name, binaries, upstream, processor, folder, files, servers):
    """`upstream` is the simulator, as a peer."""
    if name == "direct":
        return upstream
    address, page, environment = free(), free(), {}
    metrics = None
    if name == "bare":
        command = [OURS / "bare", "--listen", address, "--upstream", upstream.address]
    elif name == "nginx":
        Path(folder, "nginx.conf").write_text(
            NGINX.format(folder=folder, upstream=upstream.address, listen=address, files=files)
        )
        command = [nginx(), "-p", folder, "-c", f"{folder}/nginx.conf"]
    elif name == "pass_through":
        command = [binaries[name], upstream.address, address, page]
        environment["TOKIO_WORKER_THREADS"] = "1"
        metrics = f"http://{page}/metrics"
    else:
        command = [binaries[name], "proxy", "--upstream", f"http://{upstream.address}"]
        command += ["--listen", address, "--metrics-listen", page, "--workers", "1"]
        metrics = f"http://{page}/metrics"
    server = Server(name, command, processor, folder, environment)
    return ready(Peer(name, server, address, metrics), servers)


def can_start(name, binaries):
    """Whether what it needs is there."""
    if name == "nginx":
        return nginx() is not None
    if name == "infermeter":
        asked = [binaries[name], "proxy", "--help"]
        return binaries[name].exists() and not subprocess.run(asked, capture_output=True).returncode
    return name not in binaries or binaries[name].exists()


def nginx():
    return shutil.which("nginx", path="/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin")


def free():
    """An address that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return f"127.0.0.1:{found.getsockname()[1]}"


def ready(peer, servers):
    servers.append(peer.server)
    host, port = peer.address.split(":")

    def answers():
        peer.server.check()
        try:
            socket.create_connection((host, int(port)), 1).close()
        except OSError:
            return False
        return True

    wait_for(f"{peer.name} to listen", answers)
    return peer
