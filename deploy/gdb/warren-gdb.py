"""Goroutines in gdb: lists them and unwinds the parked ones, in a live process or a core file.

    (gdb) source deploy/gdb/warren-gdb.py
    (gdb) info goroutines               all of them: id, status or what it waits for, where it is, who started it
    (gdb) goroutine 7 bt                runs a gdb command as if goroutine 7 were the current thread
    (gdb) goroutine all bt 5

What the script must know about the program's structures the program itself says (runtime/diag/gdb_layout.cpp), so neither debugging
information nor the sources of the same version are needed; the symbol table is (do not strip it).

How a parked goroutine is unwound. It has a stack and saved registers, but no thread that gdb could select, and registers of a core file
cannot be set. So an unwinder is registered that claims the innermost frame of the selected thread and gives the goroutine's saved registers
as those of its caller: from frame 1 on the backtrace is the goroutine's, by the program's own unwinding tables. Frame 0 is left out of what
is shown.
"""

import struct

import gdb
import gdb.unwinder

STATUS = ["dead", "runnable", "running", "syscall", "waiting"]
# Where the context switch leaves the registers, from the saved stack pointer (runtime/stack/context_*.S), and how much it occupies.
REGISTERS = {
    "i386:x86-64": ({"r15": 0, "r14": 8, "r13": 16, "r12": 24, "rbx": 32, "rbp": 40, "rip": 48}, "rip", "rsp", 56),
    "aarch64": ({**{"x29": 0, "pc": 8}, **{f"x{19 + i}": 16 + 8 * i for i in range(10)}}, "pc", "sp", 160),
}


def fail(text):
    raise gdb.GdbError(text)


def read(address, size):
    try:
        return bytes(gdb.selected_inferior().read_memory(address, size))
    except gdb.MemoryError:
        fail(f"no memory at {address:#x}: not in this core file, or the process has changed; wanted {size} bytes")


def word(address):
    return struct.unpack("<Q", read(address, 8))[0]


def half(address):
    return struct.unpack("<I", read(address, 4))[0]


def text_of(raw):
    return raw.split(b"\0")[0].decode("ascii", "replace")


class Layout:
    """The program's table of offsets and addresses."""

    def __init__(self):
        try:
            at = int(gdb.parse_and_eval("(unsigned long)&warren_gdb_layout"))
            self.reasons_at = int(gdb.parse_and_eval("(unsigned long)&warren_gdb_wait_reasons"))
        except gdb.error:
            fail("no symbol warren_gdb_layout: not a warren program, or stripped; load its symbol file")
        self.values = {}
        while True:
            name = text_of(read(at, 24))
            if not name:
                break
            self.values[name] = word(at + 24)
            at += 32

    def __getitem__(self, name):
        if name not in self.values:
            fail(f"this program's table lacks {name}: use the warren-gdb.py of its version")
        return self.values[name]


class Goroutine:
    def __init__(self, layout, address):
        self.address = address
        self.status = half(address + layout["g.status"])
        self.goid = word(address + layout["g.goid"])
        self.sp = word(address + layout["g.sp"])
        self.red_zone = layout["switch.red_zone"]  # what the switch skipped before it began to save, unknown to the unwinding tables
        self.slot = word(address + layout["g.slot"])
        self.spawn_pc = word(address + layout["g.spawn_pc"])
        self.spawn_goid = word(address + layout["g.spawn_goid"])
        reason = read(address + layout["g.reason"], 1)[0]
        self.state = STATUS[self.status] if self.status < len(STATUS) else "corrupt"
        if self.state == "waiting":
            self.state = text_of(read(layout.reasons_at + 24 * reason, 24)) if reason < 32 else f"reason {reason}"

    @property
    def suspended(self):
        return self.status < len(STATUS) and STATUS[self.status] in ("runnable", "waiting")


def goroutines():
    """All that exist and have run."""
    layout = Layout()
    scheduler = word(layout["running"])
    if scheduler == 0:
        return
    pool = scheduler + layout["scheduler.pool"]
    table = word(pool + layout["pool.all_g"])
    for i in range(half(pool + layout["pool.g_count"])):
        g = Goroutine(layout, word(table + 8 * i))
        if g.status != 0:
            yield g


def machine():
    name = gdb.selected_inferior().architecture().name()
    if name not in REGISTERS:
        fail(f"no layout of a suspended stack for {name}; add it to REGISTERS")
    return REGISTERS[name]


class SuspendedUnwinder(gdb.unwinder.Unwinder):
    """Gives a goroutine's saved registers as those of the caller of the selected thread's innermost frame."""

    def __init__(self):
        super().__init__("warren goroutine")
        self.goroutine = None
        self.real = None  # stack pointer and address of the frame that is replaced

    def __call__(self, pending):
        if self.goroutine is None:
            return None
        saved, pc_name, sp_name, size = machine()
        sp, pc = pending.read_register(sp_name), pending.read_register(pc_name)
        if (int(sp), int(pc)) != self.real:
            return None
        # Its identity lies below the goroutine's frames: gdb takes a caller that is further in for a corrupt stack.
        info = pending.create_unwind_info(FrameId(gdb.Value(self.goroutine.sp).cast(sp.type), pc))
        for name, offset in saved.items():
            kind = pending.read_register(name).type
            info.add_saved_register(name, gdb.Value(word(self.goroutine.sp + offset)).cast(kind))
        info.add_saved_register(sp_name, gdb.Value(self.goroutine.sp + size + self.goroutine.red_zone).cast(sp.type))
        return info


class FrameId:
    def __init__(self, sp, pc):
        self.sp = sp
        self.pc = pc


UNWINDER = SuspendedUnwinder()
gdb.unwinder.register_unwinder(None, UNWINDER, replace=True)


class Suspended:
    """with Suspended(g) as frame: where the goroutine stands; .level is the frame's number."""

    def __init__(self, goroutine):
        self.goroutine = goroutine

    def __enter__(self):
        _, pc_name, sp_name, _ = machine()
        gdb.newest_frame().select()
        UNWINDER.real = (int(gdb.newest_frame().read_register(sp_name)), int(gdb.newest_frame().read_register(pc_name)))
        UNWINDER.goroutine = self.goroutine
        gdb.invalidate_cached_frames()
        # Frame 0 may be shown as several: functions inlined into one another.
        saved, pc_name, _, _ = machine()
        pc = word(self.goroutine.sp + saved[pc_name])
        frame, self.level = gdb.newest_frame(), 0
        while frame is not None and frame.pc() != pc:
            frame, self.level = frame.older(), self.level + 1
        return frame

    def __exit__(self, *_):
        UNWINDER.goroutine = None
        gdb.invalidate_cached_frames()


def name_at(pc):
    block = gdb.execute(f"info symbol {pc:#x}", to_string=True).strip()
    return block.split(" in section ")[0] if " in section " in block else f"{pc:#x}"


def thread_on(goroutine):
    """The thread that runs it: its stack pointer lies in the goroutine's stack."""
    _, _, sp_name, _ = machine()
    for thread in gdb.selected_inferior().threads():
        thread.switch()
        if goroutine.slot <= int(gdb.newest_frame().read_register(sp_name)) <= goroutine.address:
            return thread
    return None


def shown(goroutine):
    if not goroutine.suspended:
        return "on a thread"
    with Suspended(goroutine) as frame:
        # Where the user's code waits, not where the scheduler does.
        first = None
        while frame is not None:
            name = frame.name() or f"{frame.pc():#x}"
            first = first or name
            if not name.startswith(("warren::", "warren_")):
                return name
            frame = frame.older()
        return first or "?"


class InfoGoroutines(gdb.Command):
    """Lists the goroutines that have run: id, status, where they stand, who started them."""

    def __init__(self):
        super().__init__("info goroutines", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        selected = gdb.selected_thread()
        count = 0
        for g in goroutines():
            count += 1
            born = f", started at {name_at(g.spawn_pc - 1)} by goroutine {g.spawn_goid}" if g.goid != 1 and g.spawn_pc else ""
            print(f"{g.goid:>6} [{g.state}] in {shown(g)}{born}")
        if count == 0:
            print("no goroutines: no runtime is running")
        if selected is not None:
            selected.switch()


class RunOnGoroutine(gdb.Command):
    """goroutine ID COMMAND: runs a gdb command on that goroutine's stack. ID may be `all`."""

    def __init__(self):
        super().__init__("goroutine", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        words = argument.split(None, 1)
        if len(words) != 2 or not (words[0] == "all" or words[0].isdigit()):
            fail("usage: goroutine ID COMMAND, for example: goroutine 7 bt")
        which, command = words
        found = [g for g in goroutines() if which == "all" or g.goid == int(which)]
        if not found:
            fail(f"no goroutine {which}; info goroutines lists them")
        selected = gdb.selected_thread()
        for g in found:
            if which == "all":
                print(f"goroutine {g.goid} [{g.state}]:")
            self.on(g, command)
            selected.switch()

    def on(self, g, command):
        if not g.suspended:
            if thread_on(g) is None:
                print("on no thread's stack at this moment: in a declared blocking region, or between two states")
                return
            gdb.execute(command)
            return
        suspended = Suspended(g)
        with suspended as frame:
            if frame is None:
                fail(f"goroutine {g.goid}: its saved registers lead nowhere; is the program's own executable loaded?")
            frame.select()
            if command.split()[0] in ("bt", "backtrace", "where"):
                print(renumbered(gdb.execute(command, to_string=True), suspended.level), end="")
            else:
                gdb.execute(command)


def renumbered(backtrace, first):
    """From that frame on: those before are the thread's own."""
    lines, number = [], None
    for line in backtrace.splitlines():
        if line.startswith("#"):
            digits, rest = line[1:].split(None, 1)
            number = int(digits) - first
            line = f"#{number:<3}{rest}"
        if number is None or number >= 0:
            lines.append(line)
    return "".join(line + "\n" for line in lines)


InfoGoroutines()
RunOnGoroutine()
