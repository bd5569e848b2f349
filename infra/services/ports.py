"""Who listens on a port of 127.0.0.1, and does it answer."""

import http.client
import socket
import urllib.error
import urllib.request

import psutil

HOST = "127.0.0.1"
# A proxy named in the environment must not see calls to this machine.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def is_free(port: int) -> bool:
    """Can a server bind this port now? A connection in TIME_WAIT does not count against it."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def holder(port: int) -> str:
    """Name the process that listens on the port as well as this user may see it."""
    try:
        connections = psutil.net_connections("tcp")
    except psutil.AccessDenied:
        return "another process"
    for connection in connections:
        listens = connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
        if not listens or connection.pid is None:
            continue
        try:
            command = " ".join(psutil.Process(connection.pid).cmdline())
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return f"process {connection.pid}"
        return f"process {connection.pid} ({command[:120]})"
    return "a process of another user"


def answers(url: str, *, timeout_s: float = 2.0) -> bool:
    """Does a GET of the address return a status below 300?"""
    try:
        with _OPENER.open(url, timeout=timeout_s) as response:
            return bool(response.status < 300)
    except (OSError, urllib.error.URLError, http.client.HTTPException):
        return False
