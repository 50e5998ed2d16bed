"""An engine in streams mode that does as it is told: it answers a host's REST API, and runs nothing.

Run as a program, with a real host's argv. A stream's configuration is JSON, as the puppet's: {"term":
"ignore", "ready": false, "broken": true}. Orders are lines appended to `orders-<stream>` beside the host's
configuration: `exit 0` (the stream ends by itself), `exit CODE` (the whole host does), `ready 0|1`, `say
TEXT` (a line that says not whose it is), `log TEXT` (a line as the engine logs it), `immortal 0|1` (it does
not even end when it is told to end at once). Needs nothing but the standard library.
"""

import asyncio
import json
import os
import signal
import sys
import time

HELP = "Run Bento in streams mode; lint; streams: a puppet says what a real one says"


class Stream:
    def __init__(self, config: dict[str, object], obeyed: int) -> None:
        self.config = config
        self.obeyed = obeyed
        self.ready = bool(config.get("ready", True))
        self.active = True
        self.immortal = False
        self.ended = asyncio.Event()

    def end(self) -> None:
        self.active = False
        self.ended.set()


class Host:
    def __init__(self, root: str) -> None:
        self.folder = os.path.dirname(root)
        with open(root) as file:
            given = json.load(file)
        config = given["http"]
        self.logfile = given["logger"]["file"]["path"]
        self.root = config["root_path"]
        self.address, port = config["address"].rsplit(":", 1)
        self.port = int(port)
        self.streams: dict[str, Stream] = {}
        self.known: set[str] = set()

    def log(self, level: str, message: str, **more: str) -> None:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        entry = {"@service": "bento", "level": level, "msg": message, **more, "time": now}
        with open(self.logfile, "a") as file:
            file.write(json.dumps(entry, separators=(",", ":")) + "\n")

    def orders(self, name: str) -> list[str]:
        try:
            with open(f"{self.folder}/orders-{name}") as file:
                return file.read().split("\n")[:-1]
        except FileNotFoundError:
            return []

    async def answer(
        self, method: str, path: str, body: bytes, reader: asyncio.StreamReader
    ) -> tuple[int, str]:
        if not path.startswith(self.root):
            return 401, "Unauthorized"
        part = path.removeprefix(self.root).strip("/").split("/")
        if part == ["ping"]:
            return 200, "pong"
        if part == ["metrics"]:
            return 200, "".join(f'puppet_up{{stream="{n}"}} 1\n' for n in sorted(self.known))
        if part == ["ready"]:
            away = [n for n, s in self.streams.items() if s.active and not s.ready]
            return (503, f"streams {', '.join(away)} are not connected\n") if away else (200, "OK")
        if part == ["streams"]:
            # A real one knows no "immortal": tests ask whether the order has arrived.
            found = {
                n: {"active": s.active, "uptime": 1.0, "immortal": s.immortal}
                for n, s in self.streams.items()
            }
            return 200, json.dumps(found)
        if part[0] == "streams":
            return await self.crud(method, part[1], body, reader)
        stream = self.streams.get(part[0])
        if stream is None or not stream.active:
            return 404, "Stream terminated"
        return (200, "OK") if stream.ready else (503, "output not connected\n")

    async def crud(
        self, method: str, name: str, body: bytes, reader: asyncio.StreamReader
    ) -> tuple[int, str]:
        stream = self.streams.get(name)
        if method == "POST":
            if stream is not None:
                return 400, "Stream already exists\n"
            config = json.loads(body)
            if config.get("broken"):
                return (
                    502,
                    "Error: failed to init output <no label> path root.output: it is broken\n",
                )
            self.streams[name] = Stream(config, len(self.orders(name)))
            self.known.add(name)
            return 200, ""
        if stream is None:
            return 404, "Stream not found\n"
        if stream.active and stream.config.get("term") != "ignore":
            stream.end()
        gone = asyncio.ensure_future(
            reader.read(1)
        )  # whoever asks says nothing more, until he goes
        ended = asyncio.ensure_future(stream.ended.wait())
        await asyncio.wait({gone, ended}, return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()
        ended.cancel()
        if stream.active and not stream.immortal:
            stream.end()
        if not stream.active and self.streams.get(name) is stream:
            del self.streams[name]
        return 200, ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                first, *lines = head.strip().split("\r\n")
                given = dict(line.lower().split(": ", 1) for line in lines)
                body = await reader.readexactly(int(given.get("content-length", 0)))
                method, path, _ = first.split()
                status, text = await self.answer(method, path, body, reader)
                said = f"HTTP/1.1 {status} x\r\nContent-Length: {len(text)}\r\n\r\n{text}"
                writer.write(said.encode())
                await writer.drain()
        except (EOFError, OSError):
            writer.close()

    def obey(self, name: str, stream: Stream) -> None:
        for line in self.orders(name)[stream.obeyed :]:
            stream.obeyed += 1
            verb, _, rest = line.partition(" ")
            if verb == "exit" and rest != "0":
                os._exit(int(rest))
            elif verb == "exit":
                stream.end()
            elif verb == "ready":
                stream.ready = rest == "1"
            elif verb == "immortal":
                stream.immortal = rest == "1"
            elif verb == "say":
                print(rest, flush=True)
            elif verb == "log":
                self.log("info", rest, stream=name)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, os._exit, 0)
        await asyncio.start_server(self.serve, self.address, self.port)
        while True:
            for name, stream in list(self.streams.items()):
                self.obey(name, stream)
            await asyncio.sleep(0.01)


if __name__ == "__main__":
    if "--help" in sys.argv:
        print(HELP)
    else:
        asyncio.run(Host(sys.argv[sys.argv.index("-c") + 1]).run())
