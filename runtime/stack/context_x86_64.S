// The context switch for x86-64, System V ABI.
//
// A suspended stack, from its saved stack pointer upwards:
//     r15  r14  r13  r12  rbx  rbp  return address
// The two sides of a switch have the same layout, so the unwinding rules that held before the stack pointer was exchanged hold after it:
// no instruction of this file has wrong CFI, and a profiler's or debugger's unwinder may come at any of them (the tests single-step it).
//
// rbp lies next to the return address, as in every frame with a frame pointer: a walk by frame pointers from a suspended stack begins
// there.
//
// The way back is `popq; jmp *`, not `ret`. The processor predicts a `ret` to go where the matching call came from, and here it never
// does: a switch by `ret` took 11.7 to 14 ns, by an indirect jump, which is predicted by history, 2.2 ns (with switch_fiber around it 13.3
// to 17 and 2.5 ns; two fibers in turn on one core of a virtual x86-64 machine). `notrack`: the target is a return address, not a landing
// pad.
//
// Control-flow enforcement: `endbr64` at what is called through pointers. The object carries no GNU property for shadow stacks (SHSTK), so
// the loader leaves them off for the whole process: a switch would have to exchange the shadow stack, too. MXCSR and the x87 control word
// stay as they are on the thread (stmxcsr + fnstcw cost as much as the rest of the switch).

        .text

        .globl  warren_context_switch
        .hidden warren_context_switch
        .type   warren_context_switch, @function
        .p2align 4
warren_context_switch:                          // rdi: where to save the stack pointer, rsi: the stack pointer to load
        .cfi_startproc
        endbr64
        pushq   %rbp
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset rbp, 0
        pushq   %rbx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset rbx, 0
        pushq   %r12
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r12, 0
        pushq   %r13
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r13, 0
        pushq   %r14
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r14, 0
        pushq   %r15
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r15, 0
        movq    %rsp, (%rdi)
        movq    %rsi, %rsp
        popq    %r15
        .cfi_adjust_cfa_offset -8
        .cfi_restore r15
        popq    %r14
        .cfi_adjust_cfa_offset -8
        .cfi_restore r14
        popq    %r13
        .cfi_adjust_cfa_offset -8
        .cfi_restore r13
        popq    %r12
        .cfi_adjust_cfa_offset -8
        .cfi_restore r12
        popq    %rbx
        .cfi_adjust_cfa_offset -8
        .cfi_restore rbx
        popq    %rbp
        .cfi_adjust_cfa_offset -8
        .cfi_restore rbp
        popq    %rcx
        .cfi_adjust_cfa_offset -8
        .cfi_register rip, rcx
        notrack jmp *%rcx
        .cfi_endproc
        .size   warren_context_switch, .-warren_context_switch

// The bottom of every context. make_context put the entry function into rbx, its argument into r12 and the end function into r13.
// "rip undefined" is how CFI says: there is no caller. rbp = 0 says it to those who walk frame pointers.
// The first instruction is never executed: unwinders look up a return address minus one, and a context that never ran returns to the label.
        .globl  warren_context_start
        .hidden warren_context_start
        .type   warren_context_start, @function
        .p2align 4
        .cfi_startproc
        .cfi_undefined rip
        nop
warren_context_start:
        endbr64
        xorl    %ebp, %ebp
        movq    %r12, %rdi
        call    *%rbx
        testq   %r13, %r13
        jz      1f
        movq    %r12, %rdi
        pushq   $0                              // as if called, by nobody: what is above is the zero that ends a walk by frame pointers
        .cfi_adjust_cfa_offset 8
        jmp     *%r13
        .cfi_adjust_cfa_offset -8
1:      ud2                                     // entry returned: there is nowhere to go
        .cfi_endproc
        .size   warren_context_start, .-warren_context_start

        .globl  warren_save_registers
        .hidden warren_save_registers
        .type   warren_save_registers, @function
        .p2align 4
warren_save_registers:                          // rdi: 16 words
        .cfi_startproc
        endbr64
        movq    %rbx, 0(%rdi)
        movq    %rbp, 8(%rdi)
        movq    %r12, 16(%rdi)
        movq    %r13, 24(%rdi)
        movq    %r14, 32(%rdi)
        movq    %r15, 40(%rdi)
        leaq    8(%rsp), %rax                   // the caller's stack pointer: where a scan of its frames begins
        movq    %rax, 48(%rdi)
        xorl    %eax, %eax
        movq    %rax, 56(%rdi)
        movq    %rax, 64(%rdi)
        movq    %rax, 72(%rdi)
        movq    %rax, 80(%rdi)
        movq    %rax, 88(%rdi)
        movq    %rax, 96(%rdi)
        movq    %rax, 104(%rdi)
        movq    %rax, 112(%rdi)
        movq    %rax, 120(%rdi)
        ret
        .cfi_endproc
        .size   warren_save_registers, .-warren_save_registers

        .section .note.GNU-stack, "", @progbits
