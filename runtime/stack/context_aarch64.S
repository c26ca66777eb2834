// The context switch for aarch64, AAPCS64.
//
// A suspended stack, from its saved stack pointer upwards (160 bytes):
//     x29 x30 | x19 x20 | x21 x22 | x23 x24 | x25 x26 | x27 x28 | d8 d9 | d10 d11 | d12 d13 | d14 d15
// The frame record (x29, x30) is lowest, as the ABI wants it. The two sides of a switch have the same layout, so the CFI that held before
// the stack pointer was exchanged holds after it. Of v8–v15 the callee saves the low halves only. FPCR stays as it is on the thread.
//
// The way back is `br`, not `ret`: the return predictor would expect the address of the matching `bl`, which is never right here. (On
// x86-64 the same choice made a switch five times as fast, see there; on aarch64 it has not been measured.)
//
// The return address is not signed (PAC): the signature's modifier is the stack pointer, so signing would work across threads, but the
// value that make_context writes would have to be signed, too. The object carries no GNU property for BTI, since `br` goes to a return
// address, which is no landing pad: the linker then leaves BTI off. Both are to be added together, by one who can run them.

        .text

        .globl  warren_context_switch
        .hidden warren_context_switch
        .type   warren_context_switch, %function
        .p2align 4
warren_context_switch:                          // x0: where to save the stack pointer, x1: the stack pointer to load
        .cfi_startproc
        stp     x29, x30, [sp, #-160]!
        .cfi_def_cfa_offset 160
        .cfi_rel_offset x29, 0
        .cfi_rel_offset x30, 8
        stp     x19, x20, [sp, #16]
        .cfi_rel_offset x19, 16
        .cfi_rel_offset x20, 24
        stp     x21, x22, [sp, #32]
        .cfi_rel_offset x21, 32
        .cfi_rel_offset x22, 40
        stp     x23, x24, [sp, #48]
        .cfi_rel_offset x23, 48
        .cfi_rel_offset x24, 56
        stp     x25, x26, [sp, #64]
        .cfi_rel_offset x25, 64
        .cfi_rel_offset x26, 72
        stp     x27, x28, [sp, #80]
        .cfi_rel_offset x27, 80
        .cfi_rel_offset x28, 88
        stp     d8, d9, [sp, #96]
        .cfi_rel_offset d8, 96
        .cfi_rel_offset d9, 104
        stp     d10, d11, [sp, #112]
        .cfi_rel_offset d10, 112
        .cfi_rel_offset d11, 120
        stp     d12, d13, [sp, #128]
        .cfi_rel_offset d12, 128
        .cfi_rel_offset d13, 136
        stp     d14, d15, [sp, #144]
        .cfi_rel_offset d14, 144
        .cfi_rel_offset d15, 152
        mov     x9, sp
        str     x9, [x0]
        mov     sp, x1
        ldp     x19, x20, [sp, #16]
        ldp     x21, x22, [sp, #32]
        ldp     x23, x24, [sp, #48]
        ldp     x25, x26, [sp, #64]
        ldp     x27, x28, [sp, #80]
        ldp     d8, d9, [sp, #96]
        ldp     d10, d11, [sp, #112]
        ldp     d12, d13, [sp, #128]
        ldp     d14, d15, [sp, #144]
        ldp     x29, x30, [sp], #160
        .cfi_def_cfa_offset 0
        .cfi_restore x29
        .cfi_restore x30
        .cfi_restore x19
        .cfi_restore x20
        .cfi_restore x21
        .cfi_restore x22
        .cfi_restore x23
        .cfi_restore x24
        .cfi_restore x25
        .cfi_restore x26
        .cfi_restore x27
        .cfi_restore x28
        .cfi_restore d8
        .cfi_restore d9
        .cfi_restore d10
        .cfi_restore d11
        .cfi_restore d12
        .cfi_restore d13
        .cfi_restore d14
        .cfi_restore d15
        br      x30
        .cfi_endproc
        .size   warren_context_switch, .-warren_context_switch

// The bottom of every context. make_context put the entry function into x19, its argument into x20 and the end function into x21.
// "x30 undefined" is how CFI says: there is no caller. x29 = 0 says it to those who walk frame records.
// The first instruction is never executed: unwinders look up a return address minus one, and a context that never ran returns to the label.
        .globl  warren_context_start
        .hidden warren_context_start
        .type   warren_context_start, %function
        .p2align 4
        .cfi_startproc
        .cfi_undefined x30
        nop
warren_context_start:
        mov     x29, xzr
        mov     x30, xzr
        mov     x0, x20
        blr     x19
        cbz     x21, 1f
        mov     x30, xzr                        // as if called, by nobody
        mov     x0, x20
        br      x21
1:      brk     #1                              // entry returned: there is nowhere to go
        .cfi_endproc
        .size   warren_context_start, .-warren_context_start

        .globl  warren_save_registers
        .hidden warren_save_registers
        .type   warren_save_registers, %function
        .p2align 4
warren_save_registers:                          // x0: 16 words
        .cfi_startproc
        mov     x9, sp                          // where a scan of the caller's frames begins
        stp     x19, x20, [x0, #0]
        stp     x21, x22, [x0, #16]
        stp     x23, x24, [x0, #32]
        stp     x25, x26, [x0, #48]
        stp     x27, x28, [x0, #64]
        stp     x29, x9, [x0, #80]
        stp     xzr, xzr, [x0, #96]
        stp     xzr, xzr, [x0, #112]
        ret
        .cfi_endproc
        .size   warren_save_registers, .-warren_save_registers

        .section .note.GNU-stack, "", %progbits
