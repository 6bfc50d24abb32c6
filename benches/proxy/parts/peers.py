"""The proxies that are compared: how each is started, one worker each."""

import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from configurations import HAPROXY, NGINX
from processes import Server, wait_for

ROOT = Path(__file__).resolve().parents[3]
# A folder of its own, whatever else is built.
TARGET = ROOT / "target/proxy-bench"
OURS = TARGET / "release"
ROUTER = TARGET / "vllm-router"
ROUTER_PACKAGE = "vllm-router==0.1.17"

NAMES = ["direct", "bare", "nginx", "haproxy", "vllm-router", "pass_through", "infermeter"]


@dataclass
class Peer:
    name: str
    server: object  # a Tree
    address: str
    metrics: str | None = None  # the URL of its page


def build():
    command = ["cargo", "build", "--quiet", "--locked", "--release", "--target-dir", TARGET]
    subprocess.run(command, cwd=ROOT / "benches/proxy", check=True)


def install():
    """What cargo does not build and Debian does not have."""
    subprocess.run([sys.executable, "-m", "venv", ROUTER], check=True)
    pip = [ROUTER / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, ROUTER_PACKAGE], check=True)


def binary(name, binaries):
    """The program of a peer, which may not be there."""
    if name in ("nginx", "haproxy"):
        found = shutil.which(name, path="/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin")
        return Path(found or f"/usr/sbin/{name}")
    ours = {"direct": OURS / "simulator", "bare": OURS / "bare", "vllm-router": ROUTER / "bin/vllm-router"}
    return (ours | binaries)[name]


def can_start(name, binaries):
    """Whether what it needs is there."""
    program = binary(name, binaries)
    if name == "infermeter":
        asked = [program, "proxy", "--help"]
        return program.exists() and not subprocess.run(asked, capture_output=True, check=False).returncode
    return name in ("direct", "bare") or program.exists()


def version(name, binaries):
    if name in ("direct", "pass_through"):
        return "of this repository"
    if name == "bare":
        found = packages(ROOT / "benches/proxy/Cargo.lock")
        return ", ".join(f"{each} {found[each]}" for each in ("hyper", "hyper-util", "tokio"))
    if name == "vllm-router":
        return ROUTER_PACKAGE.replace("==", " ")
    option = "--version" if name == "infermeter" else "-v"
    done = subprocess.run([binary(name, binaries), option], capture_output=True, text=True, check=True)
    return (done.stdout + done.stderr).splitlines()[0].partition(" - http")[0]


def packages(lock):
    """Their versions, by name, as Cargo has written them."""
    lines = iter(lock.read_text().splitlines())
    names = (line.split('"')[1] for line in lines if line.startswith("name = "))
    return {name: next(lines).split('"')[1] for name in names}


def start_simulator(processor, folder, servers, *options):
    address = free()
    command = [OURS / "simulator", "--listen", address, *options]
    return ready(Peer("direct", Server("simulator", command, processor, folder), address), servers)


def start(name, binaries, upstream, processor, folder, sockets, servers):
    """`upstream` is the simulator, as a peer. nginx and haproxy take memory for so many `sockets` at once."""
    if name == "direct":
        return upstream
    address, page = free(), free()
    given = {"folder": folder, "upstream": upstream.address, "listen": address}
    given |= {"sockets": sockets, "clients": sockets // 2}
    command, environment = [binary(name, binaries)], {}
    if name == "bare":
        command += ["--listen", address, "--upstream", upstream.address]
    elif name == "nginx":
        command += ["-p", folder, "-c", written(folder, "nginx.conf", NGINX, given)]
    elif name == "haproxy":
        command += ["-db", "-f", written(folder, "haproxy.cfg", HAPROXY, given)]
    elif name == "vllm-router":
        command += router(upstream.address, address, page)
    elif name == "pass_through":
        command += [upstream.address, address, page]
        environment["TOKIO_WORKER_THREADS"] = "1"
    else:
        command += ["proxy", "--upstream", f"http://{upstream.address}"]
        command += ["--listen", address, "--metrics-listen", page, "--workers", "1"]
    metrics = f"http://{page}/metrics" if name in ("pass_through", "infermeter") else None
    server = Server(name, command, processor, folder, environment)
    return ready(Peer(name, server, address, metrics), servers)


def router(upstream, address, page):
    """One engine, and no decision that could be left out."""
    (host, port), (page_host, page_port) = address.split(":"), page.split(":")
    options = ["--worker-urls", f"http://{upstream}", "--policy", "round_robin", "--host", host, "--port", port]
    options += ["--prometheus-host", page_host, "--prometheus-port", page_port, "--log-level", "error"]
    return [*options, "--disable-retries", "--disable-circuit-breaker", "--worker-startup-check-interval", "1"]


def written(folder, name, text, given):
    path = Path(folder, name)
    path.write_text(text.format(**given))
    return path


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
