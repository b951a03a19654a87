"""The service under load, over HTTP on the loopback device: requests a second, times, and memory that stays.

    python tests/benchmarks/serving.py [NAME=EXPORT ...] [--data_path DIR] [--requests 5000] [--connections 8]
        [--rates LinearCADMR=300 best=120] [--memory 100000] [--threads 2] [--output DIR]

Without exports, LinearCADMR is trained on a generated set of Amazon Baby's shape first. For each model, lists of ten
for users drawn at random:

- closed: ``connections`` clients that ask again as soon as they have an answer: what the service can do.
- open: requests begin at the times of a Poisson process of the model's rate, whether earlier ones are answered or not;
  times are from when a request was to begin, so that waiting counts.
- beside both, ``/ready`` in the same way: what HTTP alone takes. The ratio is of requests a second.
- memory: resident memory of the service at tenths of ``memory`` requests, after a first tenth; what it grew by.

Server and client share the machine; both take from its cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from generated import SHAPES, write_set

RATES = {"LinearCADMR": 300.0, "best": 120.0}
K = 10


class Client(asyncio.Protocol):
    """One connection that asks one thing at a time; the answer's length is taken from its head."""

    def __init__(self) -> None:
        self.buffer, self.waiting = b"", None

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport

    async def ask(self, request: bytes) -> None:
        self.waiting = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        status = await self.waiting
        if status != b"200":
            raise RuntimeError(f"answered with {status.decode()}: {self.answer[:200]!r}")

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(body) >= length:
            self.answer, self.buffer = body[:length], b""
            self.waiting.set_result(head.split(b" ", 2)[1])

    def connection_lost(self, error: Exception | None) -> None:
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_exception(error or ConnectionError("the service closed the connection"))


def request(method: str, path: str, body: object = None) -> bytes:
    """A request as it is sent."""
    content = b"" if body is None else json.dumps(body).encode()
    kind = f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n" if content else ""
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{kind}\r\n".encode() + content


async def connect(port: int, n: int) -> list[Client]:
    loop = asyncio.get_running_loop()
    return [(await loop.create_connection(Client, "127.0.0.1", port))[1] for _ in range(n)]


async def closed(port: int, requests: list[bytes], connections: int) -> np.ndarray:
    """Seconds of each request and, at the end, of all."""
    waiting, took = iter(requests), []

    async def work(client: Client) -> None:
        for one in waiting:
            start = time.perf_counter()
            await client.ask(one)
            took.append(time.perf_counter() - start)

    clients, start = await connect(port, connections), time.perf_counter()
    await asyncio.gather(*map(work, clients))
    took.append(time.perf_counter() - start)
    return np.array(took)


async def opened(port: int, requests: list[bytes], rate: float, connections: int = 64) -> np.ndarray:
    """The same, for requests that begin at a rate; the time that one waits for a connection counts."""
    free: asyncio.Queue[Client] = asyncio.Queue()
    for client in await connect(port, connections):
        free.put_nowait(client)
    took: list[float] = []

    async def one(content: bytes, due: float) -> None:
        client = await free.get()
        await client.ask(content)
        took.append(time.perf_counter() - due)
        free.put_nowait(client)

    draw, start = random.Random(1), time.perf_counter()
    due, tasks = start, []
    for content in requests:
        due += draw.expovariate(rate)
        await asyncio.sleep(max(due - time.perf_counter(), 0))
        tasks.append(asyncio.create_task(one(content, due)))
    await asyncio.gather(*tasks)
    took.append(time.perf_counter() - start)
    return np.array(took)


@contextmanager
def service(models: list[str], data_path: str | None, threads: int | None) -> Iterator[tuple[int, psutil.Process]]:
    """A service of models in a process of its own: its port and the process."""
    command = [sys.executable, "-m", "recbole_cadmr", "serve", *models, "--port=0", "--rate=0", "--watch=0"]
    command += [f"--data_path={data_path}"] if data_path else []
    command += [f"--threads={threads}"] if threads else []
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        for line in process.stdout:
            print(line, end="")
            if line.startswith("serving at "):
                yield int(line.split()[2].rstrip(",").rpartition(":")[2]), psutil.Process(process.pid)
                return
        raise RuntimeError("the service did not start")
    finally:
        process.terminate()
        process.wait(60)


def figures(took: np.ndarray) -> dict[str, float]:
    """Requests a second, and milliseconds below which a half and 99 of 100 are."""
    p50, p99 = np.quantile(took[:-1], [0.5, 0.99]) * 1000
    return {"a second": (len(took) - 1) / took[-1], "p50 ms": p50, "p99 ms": p99, "max ms": took[:-1].max() * 1000}


def trained(folder: Path) -> tuple[list[str], str]:
    """LinearCADMR on a generated set of Baby's shape."""
    write_set(folder, "baby", SHAPES["baby"])
    command = [sys.executable, "-m", "recbole_cadmr", "train", "--model=LinearCADMR", "--dataset=baby"]
    command += [f"--data_path={folder}", "--adaptive_fits=1", f"--output={folder / 'run'}", "--show_progress=False"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return [f"LinearCADMR={folder / 'run' / 'model.pt'}"], str(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="NAME=EXPORT")
    parser.add_argument("--data_path")
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--rates", nargs="*", default=[], metavar="NAME=RATE")
    parser.add_argument("--memory", type=int, default=100_000, help="requests over which memory is watched; 0: none")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    rates = RATES | {name: float(rate) for name, _, rate in (text.partition("=") for text in arguments.rates)}
    rows, grown = [], []
    with tempfile.TemporaryDirectory() as folder:
        models, data_path = (arguments.models, arguments.data_path) if arguments.models else trained(Path(folder))
        for model in models:
            name = model.partition("=")[0]
            with service([model], data_path, arguments.threads) as (port, process):
                users = users_of(port)
                draw = random.Random(0)

                def asked(n: int, users: list[str] = users, draw: random.Random = draw) -> list[bytes]:
                    return [request("POST", "/v1/recommend", {"user": draw.choice(users), "k": K}) for _ in range(n)]

                asyncio.run(closed(port, asked(500), arguments.connections))
                empty = [request("GET", "/ready")] * arguments.requests
                rate = rates.get(name, 100.0)
                for what, requests in (("/ready", empty), (name, asked(arguments.requests))):
                    cpu = sum(process.cpu_times()[:2])
                    row = {"what": what, "load": f"closed, {arguments.connections}"}
                    row |= figures(asyncio.run(closed(port, requests, arguments.connections)))
                    row["server CPU ms"] = (sum(process.cpu_times()[:2]) - cpu) / len(requests) * 1000
                    rows.append(row)
                    row = {"what": what, "load": f"open, {rate:g} a second"}
                    rows.append(row | figures(asyncio.run(opened(port, requests, rate))))
                rows[-2]["of /ready"] = rows[-2]["a second"] / rows[-4]["a second"]
                if arguments.memory:
                    tenth, sizes = arguments.memory // 10, []
                    for _ in range(10):
                        asyncio.run(closed(port, asked(tenth), arguments.connections))
                        sizes.append(process.memory_info().rss / 2**20)
                    sizes = [round(size, 1) for size in sizes]
                    grown.append({"what": name, "requests": arguments.memory, "MiB": sizes[-1]})
                    grown[-1] |= {"grew by": sizes[-1] - sizes[0], "by tenths": " ".join(map(str, sizes))}
            print(f"\n{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
            for name, frame in {"load": pd.DataFrame(rows), "memory": pd.DataFrame(grown)}.items():
                if len(frame):
                    print(frame.round(2).to_markdown(index=False), "\n", flush=True)
                if arguments.output:
                    arguments.output.mkdir(parents=True, exist_ok=True)
                    frame.to_csv(arguments.output / f"{name}.csv", index=False)


def users_of(port: int) -> list[str]:
    """Ids of a thousand users."""

    async def ask() -> list[str]:
        (client,) = await connect(port, 1)
        await client.ask(request("GET", "/v1/users?k=1000"))
        return json.loads(client.answer)["users"]

    return asyncio.run(ask())


if __name__ == "__main__":
    main()
