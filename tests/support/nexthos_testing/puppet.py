"""An engine that does as it is told: it takes a real engine's argv and answers its HTTP, and is no engine.

Run as a program. Its configuration is JSON: {"term": "ignore", "fork": "group" | "away", "http": false,
"flood": true, "env": true, "exit": 3}. Orders are lines appended to `orders` beside the configuration:
`exit CODE`, `ready 0|1`, `say TEXT` (a line of output), `log TEXT` (a line as an engine logs it).
Needs nothing but the standard library, and starts in some 20 ms.
"""

import base64
import hashlib
import json
import os
import selectors
import signal
import socket
import sys
import time

HELP = "Run Bento in streams mode; lint; streams: a puppet says what a real one says"


class Puppet:
    def __init__(self, argv: list[str]) -> None:
        config = argv[argv.index("-c") + 1]
        flags = [argv[i + 1] for i, part in enumerate(argv) if part == "-s"]
        self.given = dict(flag.split("=", 1) for flag in flags)
        self.folder = os.path.dirname(config)
        with open(config) as file:
            self.config = json.load(file)
        self.orders = os.path.join(self.folder, "orders")
        self.done = 0
        self.ready = bool(self.config.get("ready", True))
        self.selector = selectors.DefaultSelector()
        self.server: socket.socket | None = None

    def log(self, level: str, message: str) -> None:
        pipeline = self.given["logger.static_fields.pipeline"]
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        entry = {"level": level, "msg": message, "pipeline": pipeline, "time": now}
        print(json.dumps(entry), flush=True)

    def end(self, code: int) -> None:
        path = self.given.get("metrics.prometheus.file_output_path")
        if path:
            with open(path, "w") as file:
                file.write("puppet_ended 1\n")
        os._exit(code)

    def terminated(self, *_: object) -> None:
        if self.config.get("term") == "ignore":
            self.log("info", "ignoring it")
            return
        self.end(self.config.get("term_code", 0))

    def fork(self, how: str) -> None:
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if how == "away":
                os.setpgid(0, 0)
            while True:
                time.sleep(60)

    def listen(self) -> None:
        host, port = self.given["http.address"].rsplit(":", 1)
        self.server = socket.socket()
        try:
            self.server.bind((host, int(port)))
        except OSError:
            words = f"HTTP Server error: listen tcp {host}:{port}: bind: address already in use"
            self.log("error", words)
            return
        self.server.listen(16)
        self.selector.register(self.server, selectors.EVENT_READ)

    def answer(self, path: str, request: str) -> tuple[int, str]:
        if not self.knows(request):
            return 401, "Unauthorized"
        if path == "/ping":
            return 200, "pong"
        if path == "/ready":
            return (200, "OK") if self.ready else (503, "output not connected")
        if path == "/metrics":
            return 200, "puppet_up 1\n"
        return 404, "not found"

    def knows(self, request: str) -> bool:
        for line in request.split("\r\n"):
            if line.startswith("Authorization: Basic "):
                user, _, password = base64.b64decode(line.split()[2]).decode().partition(":")
                hashed = base64.b64encode(hashlib.sha256(password.encode()).digest()).decode()
                wanted = ("http.basic_auth.username", "http.basic_auth.password_hash")
                return (user, hashed) == tuple(self.given[name] for name in wanted)
        return False

    def serve(self, connection: socket.socket) -> None:
        try:
            request = connection.recv(4096).decode()
            if request:
                status, body = self.answer(request.split()[1], request)
                head = f"HTTP/1.1 {status} x\r\nContent-Length: {len(body)}\r\n\r\n"
                connection.sendall((head + body).encode())
                return
        except OSError:
            pass  # who asked went away in the middle, as a controller that is closed does
        self.selector.unregister(connection)
        connection.close()

    def obey(self) -> None:
        try:
            with open(self.orders) as file:
                lines = file.read().split("\n")[:-1]
        except FileNotFoundError:
            return
        for line in lines[self.done :]:
            self.done += 1
            verb, _, rest = line.partition(" ")
            if verb == "exit":
                self.end(int(rest))
            elif verb == "ready":
                self.ready = rest == "1"
            elif verb == "say":
                print(rest, flush=True)
            elif verb == "log":
                self.log("info", rest)

    def run(self) -> None:
        signal.signal(signal.SIGTERM, self.terminated)
        if os.path.exists(self.orders):  # those were for an earlier life
            with open(self.orders) as file:
                self.done = file.read().count("\n")
        if self.config.get("env"):
            print(json.dumps(dict(os.environ)), flush=True)
        if "fork" in self.config:
            self.fork(self.config["fork"])
        if "exit" in self.config:
            for level, message in self.config.get("log", []):
                self.log(level, message)
            self.end(self.config["exit"])
        if self.config.get("http", True):
            self.listen()
        flood = b"x" * 99 + b"\n"
        while True:
            if self.config.get("flood"):
                os.write(1, flood * 600)
            for key, _ in self.selector.select(0 if self.config.get("flood") else 0.01):
                if key.fileobj is self.server:
                    connection, _ = self.server.accept()
                    self.selector.register(connection, selectors.EVENT_READ)
                else:
                    self.serve(key.fileobj)  # type: ignore[arg-type]
            self.obey()


if __name__ == "__main__":
    if "--help" in sys.argv:
        print(HELP)
    else:
        Puppet(sys.argv).run()
