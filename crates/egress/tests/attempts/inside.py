"""Stands in for an environment: a network namespace in which every address is local, with sockets
that the test's broker serves, and an agent in it that does what tests say."""
import base64, json, os, socket, ssl, struct, subprocess, sys, time

control = socket.socket(fileno=os.dup(0))
ports = [int(port) for port in sys.argv[1].split(",")]
for command in ("link set lo up", "route add local 0.0.0.0/0 dev lo", "-6 route add local ::/0 dev lo"):
    subprocess.run(["ip", *command.split()], check=True, stdin=subprocess.DEVNULL)


def bound(family, kind, port):
    made = socket.socket(family, kind)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    any_address = "0.0.0.0" if family == socket.AF_INET else "::"
    made.bind((any_address, port))
    return made


families = (socket.AF_INET, socket.AF_INET6)
tcp = []
for port in ports:
    for family in families:
        made = bound(family, socket.SOCK_STREAM, port)
        made.listen(1024)
        tcp.append(made)
dns = [bound(family, socket.SOCK_DGRAM, 53) for family in families]
dns[0].setsockopt(socket.IPPROTO_IP, 8, 1)
dns[1].setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
packets.setsockopt(263, 23, 1)
packets.bind(("lo", 3))
sockets = [*tcp, *dns, packets]
socket.send_fds(control, [b"r"], [made.fileno() for made in sockets])
for made in sockets:
    made.close()


def is_whole(received):
    """Whether bytes are an answer of HTTP with all of its body."""
    head, found, body = received.partition(b"\r\n\r\n")
    length = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    if found and b"transfer-encoding: chunked" in head.lower():
        return body.endswith(b"0\r\n\r\n")
    return bool(found and length) and len(body) >= int(length[0])


def talk(wish):
    """Connects, sends parts, and reads until the other side ends or is silent."""
    family = socket.AF_INET6 if ":" in wish["to"][0] else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.settimeout(wish.get("patience", 10))
    received, error = b"", ""
    try:
        made.connect(tuple(wish["to"]))
        if "name" in wish:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            context.set_alpn_protocols(wish.get("alpn", ["http/1.1"]))
            made = context.wrap_socket(made, server_hostname=wish["name"] or None)
        for part in wish["send"]:
            made.sendall(base64.b64decode(part))
        if wish.get("end"):
            made.shutdown(socket.SHUT_WR)
        made.settimeout(wish.get("quiet", 2))
        heads = sum(base64.b64decode(part).count(b"\r\n\r\n") for part in wish["send"])
        while len(received) < (1 << 20):
            part = made.recv(65536)
            if not part:
                break
            received += part
            # One request has one answer; a moment more shows whether there is another.
            if heads == 1 and "quiet" not in wish and is_whole(received):
                made.settimeout(0.05)
    except (OSError, ssl.SSLError) as problem:
        error = f"{type(problem).__name__}: {problem}"
    made.close()
    return {"received": base64.b64encode(received).decode(), "error": error}


def ask(wish):
    """Asks for a name over UDP with the bytes given."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.settimeout(wish.get("quiet", 2))
    try:
        made.connect((wish["at"], 53))
        made.send(base64.b64decode(wish["question"]))
        return {"received": base64.b64encode(made.recv(65536)).decode(), "error": ""}
    except OSError as problem:
        return {"received": "", "error": str(problem)}


def run(wish):
    done = subprocess.run(wish["run"], capture_output=True, timeout=60, stdin=subprocess.DEVNULL,
                          env={**os.environ, **wish.get("environment", {})})
    return {"code": done.returncode, "out": base64.b64encode(done.stdout).decode(),
            "err": base64.b64encode(done.stderr).decode()}


lines = control.makefile("rwb")
for line in lines:
    wish = json.loads(line)
    kind = talk if "to" in wish else ask if "question" in wish else run
    lines.write(json.dumps(kind(wish)).encode() + b"\n")
    lines.flush()
