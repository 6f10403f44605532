"""Which C compiler there is, and how it is called for one kind of build."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from dataclasses import dataclass
from enum import StrEnum

_ALWAYS = (
    "-std=c11",
    "-D_GNU_SOURCE",
    "-O2",
    "-g",
    "-fPIC",
    "-shared",
    "-pthread",
    "-fno-semantic-interposition",
    "-Wall",
    "-Wextra",
    "-Wshadow",
    "-Wvla",
    "-Wstrict-prototypes",
    "-Wmissing-prototypes",
    "-Werror",
    # Envoy calls dlclose once no configuration names the module. Its thread and its table stay.
    "-Wl,-z,nodelete,-z,relro,-z,now,-z,noexecstack",
)
_ZIG_TARGET = "{machine}-linux-gnu.2.28"


class NoCompiler(Exception):
    """There is no C compiler on this machine; the message says what to install."""


class Sanitizer(StrEnum):
    """What a build watches for while it runs."""

    MEMORY = "memory"
    THREADS = "threads"


_SANITIZING = {
    None: (),
    Sanitizer.MEMORY: (
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=all",
        "-fno-omit-frame-pointer",
    ),
    Sanitizer.THREADS: ("-fsanitize=thread", "-fno-omit-frame-pointer"),
}


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of build.

    Attributes:
        library: Without Envoy's hooks, and with every function visible: for Python.
        sanitizer: What it watches for.
        machine: The processor that it is for ("x86_64", "aarch64"); None: this machine's, with the
            C library that is here.
    """

    library: bool = False
    sanitizer: Sanitizer | None = None
    machine: str | None = None

    @property
    def flags(self) -> tuple[str, ...]:
        """What the compiler is told, whichever it is."""
        visible = "default" if self.library else "hidden"
        return (*_ALWAYS, f"-fvisibility={visible}", *_SANITIZING[self.sanitizer])


def compiler(kind: Kind) -> tuple[str, ...]:
    """Return the command that compiles: `cc`, else the one that the wheel `ziglang` brings.

    Raises:
        NoCompiler: there is neither, or the build is for another machine and only `cc` is there.
    """
    zig = importlib.util.find_spec("ziglang") is not None
    if kind.machine is not None:
        if not zig:
            text = f'a build for {kind.machine} needs the wheel ziglang: "pip install ziglang"'
            raise NoCompiler(text)
        target = _ZIG_TARGET.format(machine=kind.machine)
        return (sys.executable, "-m", "ziglang", "cc", "-target", target)
    found = shutil.which("cc")
    if found is not None:
        return (found,)
    if zig:
        return (sys.executable, "-m", "ziglang", "cc")
    raise NoCompiler('there is no C compiler: install cc (gcc or clang), or "pip install ziglang"')
