/* A QEMU plugin (API version 1, QEMU 5 and later) that counts the instructions that a program executes between marks.
 *
 * A mark is an instruction without effect that compilers do not write: see `mark` in instructions.rs. At each mark, and at the end, the number of
 * instructions since the one before is written as a line `instructions N` (qemu: `-d plugin`). Meant for one thread.
 *
 *   gcc -O2 -shared -fPIC instructions.c -o instructions.so
 *   qemu-aarch64 -cpu cortex-a76 -plugin ./instructions.so -d plugin PROGRAM
 *
 * The interface is declared here, since distributions ship the emulator without its header. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef uint64_t plugin_id;
enum { NO_REGISTERS = 0, ADD_U64 = 0 };

size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *block, size_t index);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, void (*translated)(plugin_id, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *insn, int operation, void *counter, uint64_t value);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn, void (*executed)(unsigned, void *), int flags, void *data);
void qemu_plugin_register_atexit_cb(plugin_id id, void (*ended)(plugin_id, void *), void *data);
void qemu_plugin_outs(const char *text);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

static uint64_t count;

static void report(void)
{
    char line[48];
    snprintf(line, sizeof line, "instructions %llu\n", (unsigned long long)count);
    qemu_plugin_outs(line);
    count = 0;
}

static void marked(unsigned cpu, void *data)
{
    (void)cpu;
    (void)data;
    report();
}

static void ended(plugin_id id, void *data)
{
    (void)id;
    (void)data;
    report();
}

/* `hint #127` on 64-bit ARM, `mov r11, r11` on 32-bit ARM. */
static int is_mark(const struct qemu_plugin_insn *insn)
{
    uint32_t word;
    if (qemu_plugin_insn_size(insn) != sizeof word)
        return 0;
    memcpy(&word, qemu_plugin_insn_data(insn), sizeof word);
    return word == 0xd5032fff || word == 0xe1a0b00b;
}

static void translated(plugin_id id, struct qemu_plugin_tb *block)
{
    size_t n = qemu_plugin_tb_n_insns(block);
    (void)id;
    for (size_t i = 0; i < n; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(block, i);
        if (is_mark(insn))
            qemu_plugin_register_vcpu_insn_exec_cb(insn, marked, NO_REGISTERS, NULL);
        else
            qemu_plugin_register_vcpu_insn_exec_inline(insn, ADD_U64, &count, 1);
    }
}

__attribute__((visibility("default"))) int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
    (void)info;
    (void)argc;
    (void)argv;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, ended, NULL);
    return 0;
}
