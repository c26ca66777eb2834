// void register_probe_switch(void** save_sp, void* load_sp, const uint64_t in[18], uint64_t out[18])
// Fills every callee-saved register (x19–x28, d8–d15) from in, switches, and stores what they are afterwards to out.
// void register_probe_save(const uint64_t in[18], void* regs): the same around warren_save_registers.
        .text
        .macro enter
        stp     x29, x30, [sp, #-176]!
        stp     x19, x20, [sp, #16]
        stp     x21, x22, [sp, #32]
        stp     x23, x24, [sp, #48]
        stp     x25, x26, [sp, #64]
        stp     x27, x28, [sp, #80]
        stp     d8, d9, [sp, #96]
        stp     d10, d11, [sp, #112]
        stp     d12, d13, [sp, #128]
        stp     d14, d15, [sp, #144]
        .endm
        .macro fill from
        ldp     x19, x20, [\from, #0]
        ldp     x21, x22, [\from, #16]
        ldp     x23, x24, [\from, #32]
        ldp     x25, x26, [\from, #48]
        ldp     x27, x28, [\from, #64]
        ldp     d8, d9, [\from, #80]
        ldp     d10, d11, [\from, #96]
        ldp     d12, d13, [\from, #112]
        ldp     d14, d15, [\from, #128]
        .endm
        .macro leave
        ldp     x19, x20, [sp, #16]
        ldp     x21, x22, [sp, #32]
        ldp     x23, x24, [sp, #48]
        ldp     x25, x26, [sp, #64]
        ldp     x27, x28, [sp, #80]
        ldp     d8, d9, [sp, #96]
        ldp     d10, d11, [sp, #112]
        ldp     d12, d13, [sp, #128]
        ldp     d14, d15, [sp, #144]
        ldp     x29, x30, [sp], #176
        ret
        .endm

        .globl  register_probe_switch
        .type   register_probe_switch, %function
register_probe_switch:
        enter
        str     x3, [sp, #160]
        fill    x2
        bl      warren_context_switch
        ldr     x3, [sp, #160]
        stp     x19, x20, [x3, #0]
        stp     x21, x22, [x3, #16]
        stp     x23, x24, [x3, #32]
        stp     x25, x26, [x3, #48]
        stp     x27, x28, [x3, #64]
        stp     d8, d9, [x3, #80]
        stp     d10, d11, [x3, #96]
        stp     d12, d13, [x3, #112]
        stp     d14, d15, [x3, #128]
        leave

        .globl  register_probe_save
        .type   register_probe_save, %function
register_probe_save:
        enter
        fill    x0
        mov     x0, x1
        bl      warren_save_registers
        leave
        .section .note.GNU-stack, "", %progbits
