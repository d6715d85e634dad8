"""Web workers that share one cache, and go on when one of them is killed.

usage: web_cache.py [WORKERS]

Each worker is a process that answers on the same socket, as under a pre-forking
server. A page takes long to make, so it is made once and kept in a segment,
where all workers find it. The cache is a table of pointers; the page is behind
the pointer. Whoever replaces a page frees the old one, whoever has made it.
"""

import multiprocessing
import os
import signal
import socket
import sys
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from zlib import crc32

import psm

PLACES = 64
psm.cdef(
    """
    struct page { uint32_t path_length, body_length; char bytes[]; };
    struct cache {
      uint32_t lock;
      uint64_t made, found;
      struct page *place[64];
      struct page *fresh, *stale; /* a page on its way in, and one on its way out */
    };
    """
)
ffi = psm.ffi


class Cache:
    """This process's view of the cache; the root of the segment is its table."""

    def __init__(self, segment):
        if segment.root is None:
            segment.root = segment.block_at(segment.new("struct cache *"))
        self.segment = segment
        self.table = segment.cast("struct cache *", segment.root)
        self.lock = segment.lock(ffi.addressof(self.table[0], "lock"))
        self.fresh = ffi.addressof(self.table[0], "fresh")
        self.stale = ffi.addressof(self.table[0], "stale")

    def take_lock(self):
        """If its owner was killed, a page on its way is given back or has its place."""
        if self.lock.acquire():
            for way in (self.fresh, self.stale):
                if way[0] in list(self.table.place):
                    way[0] = ffi.NULL
                self.segment.free_from(way)

    def get(self, path, make):
        """The page of a path, from the cache or from `make`."""
        place = crc32(path) % PLACES
        self.take_lock()
        try:
            page = self.table.place[place]
            if page and ffi.buffer(page.bytes, page.path_length)[:] == path:
                self.table.found += 1
                return ffi.buffer(page.bytes + page.path_length, page.body_length)[:]
        finally:
            self.lock.release()
        body = make(path)  # long, and others go on meanwhile
        self.take_lock()
        try:
            self.put(place, path, body)
        finally:
            self.lock.release()
        return body

    def put(self, place, path, body):
        size = ffi.sizeof("struct page") + len(path) + len(body)
        self.segment.alloc_to(self.fresh, size)
        page = self.table.fresh
        page.path_length, page.body_length = len(path), len(body)
        ffi.memmove(page.bytes, path + body, len(path) + len(body))
        self.table.stale = self.table.place[place]
        self.table.place[place] = page
        self.table.fresh = ffi.NULL
        self.segment.free_from(self.stale)
        self.table.made += 1


def make_page(path):
    """Stands for templates and queries."""
    return b"<h1>%s</h1>" % path + b"." * 5000


def work(segment, listener):
    cache = Cache(segment)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/die":  # in the middle of a change
                cache.take_lock()
                segment.alloc_to(cache.fresh, 1000)
                os.kill(os.getpid(), signal.SIGKILL)
            body = cache.get(self.path.encode(), make_page)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = HTTPServer(listener.getsockname(), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(0.05)
    segment.close()


def ask(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
        body = answer.read()
    assert body == make_page(path.encode()), path


def run(segment, listener, workers):
    port = listener.getsockname()[1]
    context = multiprocessing.get_context("fork")
    cache = Cache(segment)
    pool = [context.Process(target=work, args=(segment, listener)) for _ in range(workers)]
    for process in pool:
        process.start()
    paths = [f"/page/{i % 20}" for i in range(400)]
    with ThreadPoolExecutor(4) as clients:
        list(clients.map(lambda path: ask(port, path), paths[:200]))
        try:
            ask(port, "/die")
        except OSError:
            pass
        list(clients.map(lambda path: ask(port, path), paths[200:]))

    dead = segment.deaths().members
    for process in pool:
        process.terminate()
    for process in pool:
        process.join()
    killed = [process.pid for process in pool if process.exitcode == -signal.SIGKILL]
    assert [member.pid for member in dead] == killed and len(killed) == 1
    pages = sum(bool(page) for page in cache.table.place)
    made, found = cache.table.made, cache.table.found
    assert made + found == len(paths)
    assert segment.stat().blocks == pages + 1  # the pages and the table: nothing is lost
    segment.check()
    print(f"{made} pages made, {found} found; {len(killed)} of {workers} workers was killed")


def main(workers="3"):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)  # several wake up for one client: no one waits for the next
        with psm.open(f"shm:web-cache-{os.getpid()}", "8MiB") as segment:
            run(segment, listener, int(workers))


if __name__ == "__main__":
    main(*sys.argv[1:])
