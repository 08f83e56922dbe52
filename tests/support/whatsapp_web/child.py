"""Wraps the command of a worker: `python child.py URL ROOT_KEY python -m zapd.whatsapp.web.worker SOCKET CAPACITY …`.

It runs the module that it wraps, unchanged. As soon as that loads neonize's library, the address of WhatsApp and the
root of its certificates are overwritten in memory: nothing on disk changes.
"""

import ctypes
import mmap
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = bytes.fromhex("142375574d0a587166aae71ebe516437c4a28b73e3695c6ce1f7f9545da8ee6b")
ADDRESS = b"wss://web.whatsapp.com/ws/chat"
_WRITABLE = 7  # read, write, execute


def main() -> None:
    address, root = sys.argv[1].encode(), bytes.fromhex(sys.argv[2])
    module = sys.argv.index("-m") + 1
    sys.argv = sys.argv[module:]
    load = ctypes.CDLL

    class Loading(load):  # type: ignore[misc, valid-type]  # a class that is chosen at run time
        def __init__(self, name: str | None, *args: object, **kwargs: object) -> None:
            super().__init__(name, *args, **kwargs)
            if name and Path(name).name.startswith("neonize-"):
                ctypes.CDLL = load  # type: ignore[misc]
                retarget(name, {ROOT: root, ADDRESS: address + b"?" + b"x" * (len(ADDRESS) - len(address) - 1)})

    ctypes.CDLL = Loading  # type: ignore[misc]
    runpy.run_module(sys.argv[0], run_name="__main__")


def retarget(library: str, changes: dict[bytes, bytes]) -> None:
    """Overwrite each of these once, in the pages of a library that is loaded."""
    libc = ctypes.CDLL(None, use_errno=True)
    for old, new in changes.items():
        assert len(old) == len(new), "the address is too long"
        places = [place for start, content in pages(library) for place in found(content, old, start)]
        assert len(places) == 1, f"{old!r} stands there {len(places)} times: neonize is another build"
        start = places[0] // mmap.PAGESIZE * mmap.PAGESIZE
        length = ctypes.c_size_t(places[0] + len(new) - start)
        assert libc.mprotect(ctypes.c_void_p(start), length, _WRITABLE) == 0, ctypes.get_errno()
        ctypes.memmove(places[0], new, len(new))


def pages(library: str) -> Iterator[tuple[int, bytes]]:
    """The readable parts of a library in memory, each with its address."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        where, rights, *_ = line.split()
        if line.endswith(library) and rights.startswith("r"):
            start, end = (int(side, 16) for side in where.split("-"))
            yield start, ctypes.string_at(start, end - start)


def found(content: bytes, part: bytes, start: int) -> Iterator[int]:
    at = content.find(part)
    while at != -1:
        yield start + at
        at = content.find(part, at + 1)


if __name__ == "__main__":
    main()
