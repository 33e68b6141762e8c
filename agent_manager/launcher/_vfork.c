/* Children that share the memory of this process for a while, instead of copying it.

   An ordinary fork of an interpreter costs milliseconds: page tables are copied, and every page that either side writes
   to. All of that is thrown away when a program is executed, or when the child only forks once more.

   `spawn`: a child that executes a program. Unlike vfork(2) the launcher goes on meanwhile: a program on a file system
   that hangs must not hold it up. Therefore the child
   - has a stack of its own, in a block that the launcher keeps until the child has closed its status pipe, which it
     does by executing or by ending, after it has left this memory;
   - makes raw system calls only, since `errno` is shared, too;
   - touches nothing outside its block but constants.

   `fork_away`: a grandchild by an ordinary fork, whose parent in between is a vfork(2). */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#define _GNU_SOURCE
#include <Python.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#if __has_include(<sys/rseq.h>)
#include <sys/rseq.h>
#endif

#if !defined(__x86_64__) || !defined(__GLIBC__)
#error "written for x86-64 and the GNU C library only; without this module the launcher forks"
#endif

#define STACK_BYTES (32 * 1024)
#define REPORT_BYTES 2048
#define SIGNALS 64
#define WITH_RESTORER 0x04000000
#define RSEQ_BYTES 32 /* what every kernel takes */
#define INTO_CGROUP 0x200000000ULL

struct clone_arguments {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};

/* What rt_sigaction(2) takes; of its mask 64 bits. */
struct kernel_action {
    uint64_t handler, flags, restorer, mask;
};

struct plan {
    char **argv, **env, **candidates;
    const char *cwd, *cwd_report, *exec_report;
    int descriptors[3]; /* what it has as 1, 2 and 3; -1: what is there */
    int status, launcher_pid, no_new_privileges;
    int cgroup; /* which is yet to be entered, or -1 */
    struct rlimit open_files;
};

static inline long call(long number, long a, long b, long c, long d)
{
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = 0; /* prctl(2) wants its unused ones to be 0 */
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "0"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return result;
}

__attribute__((noreturn)) static void end(void)
{
    for (;;)
        call(SYS_exit_group, 127, 0, 0, 0);
}

static char *append(char *to, const char *limit, const char *text)
{
    while (*text && to < limit)
        *to++ = *text++;
    return to;
}

/* `report` is the step and what it was done with; the kernel's reason is appended. */
__attribute__((noreturn)) static void fail(const struct plan *plan, const char *report, long result)
{
    char text[REPORT_BYTES];
    const char *limit = text + sizeof text;
    const char *reason = strerrordesc_np((int)-result);
    char *stop = append(text, limit, report);
    stop = append(stop, limit, reason ? reason : "unknown error");
    call(SYS_write, plan->status, (long)text, stop - text, 0);
    end();
}

static void check(const struct plan *plan, const char *report, long result)
{
    if (result < 0)
        fail(plan, report, result);
}

__attribute__((noreturn)) static void execute(const struct plan *plan)
{
    long reason = 0;
    for (char **candidate = plan->candidates; *candidate; candidate++) {
        long result = call(SYS_execve, (long)*candidate, (long)plan->argv, (long)plan->env, 0);
        if (reason == 0 || reason == -ENOENT || reason == -ENOTDIR)
            reason = result;
    }
    fail(plan, plan->exec_report, reason);
}

static void enter(const struct plan *plan)
{
    const char *report = "limits\ncgroup.procs: ";
    long entrance = call(SYS_openat, plan->cgroup, (long)"cgroup.procs", O_WRONLY, 0);
    check(plan, report, entrance);
    check(plan, report, call(SYS_write, entrance, (long)"0", 1, 0));
    call(SYS_close, entrance, 0, 0, 0);
}

__attribute__((noreturn)) static void die(void)
{
    for (;;)
        call(SYS_kill, call(SYS_getpid, 0, 0, 0, 0), SIGKILL, 0, 0);
}

/* As they are by default. Before Linux 5.16 a core dump kills all who have the same memory, and this process has the
   launcher's for a few steps more: until its program is executed, which resets handlers, it ends by SIGKILL instead. */
static void set_signals(void)
{
    static const int dumping[] = {SIGQUIT, SIGILL,  SIGTRAP, SIGABRT, SIGBUS,
                                  SIGFPE,  SIGSEGV, SIGXCPU, SIGXFSZ, SIGSYS};
    struct kernel_action action = {0};
    for (int number = 1; number <= SIGNALS; number++)
        call(SYS_rt_sigaction, number, (long)&action, 0, sizeof action.mask);
    action.handler = action.restorer = (uint64_t)die;
    action.flags = WITH_RESTORER;
    for (size_t at = 0; at < sizeof dumping / sizeof *dumping; at++)
        call(SYS_rt_sigaction, dumping[at], (long)&action, 0, sizeof action.mask);
    uint64_t none = 0;
    call(SYS_rt_sigprocmask, SIG_SETMASK, (long)&none, 0, sizeof none);
}

static void take_descriptors(const struct plan *plan)
{
    long null = call(SYS_openat, AT_FDCWD, (long)"/dev/null", O_RDONLY | O_CLOEXEC, 0);
    check(plan, "output\n/dev/null: ", null);
    check(plan, "output\n", call(SYS_dup2, null, 0, 0, 0));
    for (int at = 0; at < 3; at++)
        if (plan->descriptors[at] >= 0)
            check(plan, "output\n", call(SYS_dup2, plan->descriptors[at], at + 1, 0, 0));
}

__attribute__((noreturn)) static void child(struct plan *plan)
{
    check(plan, "fork\n", call(SYS_setsid, 0, 0, 0, 0));
    take_descriptors(plan);
    if (plan->cgroup >= 0)
        enter(plan);
    check(plan, "limits\nopen_files: ", call(SYS_prlimit64, 0, RLIMIT_NOFILE, (long)&plan->open_files, 0));
    if (plan->no_new_privileges)
        check(plan, "user\n", call(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0));
    if (plan->launcher_pid) {
        check(plan, "user\n", call(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0));
        if (call(SYS_getppid, 0, 0, 0, 0) != plan->launcher_pid)
            end();
    }
    check(plan, plan->cwd_report, call(SYS_chdir, (long)plan->cwd, 0, 0, 0));
    set_signals();
    execute(plan);
}

/* How a child with the memory of this process begins, on a stack of its own (`clone`, `clone3`). It never comes back. */
__attribute__((noinline)) static long fork_sharing(long number, long first, long second, struct plan *plan)
{
    long result;
    register long third __asm__("r10") = 0;
    register long fourth __asm__("r8") = 0;
    register struct plan *given __asm__("r12") = plan;
    register void (*run)(struct plan *) __asm__("r13") = child;
    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "mov %%r12, %%rdi\n\t"
                     "call *%%r13\n\t"
                     "hlt\n"
                     "1:"
                     : "=a"(result)
                     : "0"(number), "D"(first), "S"(second), "d"(0), "r"(third), "r"(fourth), "r"(given), "r"(run)
                     : "rcx", "r11", "memory");
    return result;
}

static uint64_t block_signals(void)
{
    uint64_t all = ~0ULL, before = 0;
    call(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)&before, sizeof all);
    return before;
}

static void unblock_signals(uint64_t before)
{
    call(SYS_rt_sigprocmask, SIG_SETMASK, (long)&before, 0, sizeof before);
}

static long start(struct plan *plan, char *stack, int cgroup)
{
    uint64_t before = block_signals();
    long pid = -ENOSYS;
    if (cgroup >= 0) {
        struct clone_arguments how = {
            .flags = CLONE_VM | INTO_CGROUP,
            .exit_signal = SIGCHLD,
            .stack = (uint64_t)stack,
            .stack_size = STACK_BYTES,
            .cgroup = (uint64_t)cgroup,
        };
        pid = fork_sharing(SYS_clone3, (long)&how, sizeof how, plan);
    }
    if (pid < 0) {
        /* Filters of container engines, and of systemd, do not have clone3. */
        plan->cgroup = cgroup;
        pid = fork_sharing(SYS_clone, CLONE_VM | SIGCHLD, (long)(stack + STACK_BYTES), plan);
    }
    unblock_signals(before);
    return pid;
}

static size_t room(PyObject *texts)
{
    Py_ssize_t count = PyTuple_Size(texts);
    size_t bytes = ((size_t)count + 1) * sizeof(char *);
    for (Py_ssize_t at = 0; at < count; at++)
        bytes += (size_t)PyBytes_Size(PyTuple_GetItem(texts, at)) + 1;
    return bytes;
}

static char *text_into(char **free_bytes, PyObject *text)
{
    size_t bytes = (size_t)PyBytes_Size(text) + 1;
    char *copy = *free_bytes;
    memcpy(copy, PyBytes_AsString(text), bytes);
    *free_bytes += bytes;
    return copy;
}

static char **texts_into(char ***free_pointers, char **free_bytes, PyObject *texts)
{
    char **list = *free_pointers;
    Py_ssize_t count = PyTuple_Size(texts);
    for (Py_ssize_t at = 0; at < count; at++)
        list[at] = text_into(free_bytes, PyTuple_GetItem(texts, at));
    list[count] = NULL;
    *free_pointers += count + 1;
    return list;
}

/* Whether it is bytes, without a null byte in them. */
static int is_text(PyObject *text)
{
    char *unused;
    return PyBytes_AsStringAndSize(text, &unused, NULL) == 0;
}

static int are_texts(PyObject *texts)
{
    for (Py_ssize_t at = 0; at < PyTuple_Size(texts); at++)
        if (!is_text(PyTuple_GetItem(texts, at)))
            return 0;
    return 1;
}

static void release(PyObject *memory)
{
    free(PyCapsule_GetPointer(memory, NULL));
}

static PyObject *spawn(PyObject *self, PyObject *arguments)
{
    (void)self;
    PyObject *argv, *env, *candidates, *cwd, *cwd_report, *exec_report;
    int descriptors[3], status, launcher_pid, no_new_privileges, cgroup;
    unsigned long long soft, hard;
    if (!PyArg_ParseTuple(arguments, "O!O!O!SSS(iii)iipKKi", &PyTuple_Type, &argv, &PyTuple_Type, &env, &PyTuple_Type,
                          &candidates, &cwd, &cwd_report, &exec_report, &descriptors[0], &descriptors[1],
                          &descriptors[2], &status, &launcher_pid, &no_new_privileges, &soft, &hard, &cgroup))
        return NULL;
    if (!are_texts(argv) || !are_texts(env) || !are_texts(candidates) || !is_text(cwd))
        return NULL;

    size_t bytes = STACK_BYTES + sizeof(struct plan) + room(argv) + room(env) + room(candidates) +
                   (size_t)(PyBytes_Size(cwd) + PyBytes_Size(cwd_report) + PyBytes_Size(exec_report)) + 3;
    char *block = malloc(bytes);
    if (block == NULL)
        return PyErr_NoMemory();
    PyObject *memory = PyCapsule_New(block, NULL, release);
    if (memory == NULL) {
        free(block);
        return NULL;
    }
    struct plan *plan = (struct plan *)(block + STACK_BYTES);
    char **free_pointers = (char **)(plan + 1);
    char *free_bytes =
        (char *)(free_pointers + PyTuple_Size(argv) + PyTuple_Size(env) + PyTuple_Size(candidates) + 3);
    plan->argv = texts_into(&free_pointers, &free_bytes, argv);
    plan->env = texts_into(&free_pointers, &free_bytes, env);
    plan->candidates = texts_into(&free_pointers, &free_bytes, candidates);
    plan->cwd = text_into(&free_bytes, cwd);
    plan->cwd_report = text_into(&free_bytes, cwd_report);
    plan->exec_report = text_into(&free_bytes, exec_report);
    memcpy(plan->descriptors, descriptors, sizeof descriptors);
    plan->status = status;
    plan->cgroup = -1;
    plan->launcher_pid = launcher_pid;
    plan->no_new_privileges = no_new_privileges;
    plan->open_files.rlim_cur = soft;
    plan->open_files.rlim_max = hard;

    long pid = start(plan, block, cgroup);
    if (pid < 0) {
        Py_DECREF(memory);
        errno = (int)-pid;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    PyObject *number = PyLong_FromLong(pid);
    /* Should there be no memory for a number, the block is lost: the child is using it. */
    return number == NULL ? NULL : Py_BuildValue("NN", number, memory);
}

/* What comes of the process between this one and its grandchild. */
struct birth {
    long between, grandchild; /* of the latter also -errno; 0 where the process between was killed */
};

/* In the process between, which ends here; only the grandchild comes back. It comes of the C library's own fork, which
   tells all libraries that want to know. */
static void bear(struct birth *birth)
{
    birth->between = call(SYS_getpid, 0, 0, 0, 0);
    birth->grandchild = call(SYS_setpgid, 0, 0, 0, 0);
    if (birth->grandchild < 0)
        end();
    pid_t pid = fork();
    if (pid != 0) {
        birth->grandchild = pid < 0 ? -errno : pid;
        end();
    }
#ifdef RSEQ_SIG
    /* Lost with the process between, which to the kernel looked like a new thread. */
    if (__rseq_size > 0) {
        char *thread;
        __asm__("mov %%fs:0, %0" : "=r"(thread));
        struct rseq *area = (struct rseq *)(thread + __rseq_offset);
        if (call(SYS_rseq, (long)area, RSEQ_BYTES, 0, RSEQ_SIG) < 0)
            area->cpu_id = (uint32_t)RSEQ_CPU_ID_REGISTRATION_FAILED;
    }
#endif
}

/* As vfork(2): this process stands still until the other has ended, which runs on the same stack, below all that is in
   use. The grandchild has a copy of it and goes up again. */
__attribute__((noinline)) static long fork_between(long number, long first, long second, struct birth *birth)
{
    long result, parent_tid = 0;
    register long third __asm__("r10") = 0;
    register long fourth __asm__("r8") = 0;
    register struct birth *given __asm__("r12") = birth;
    register void (*run)(struct birth *) __asm__("r13") = bear;
    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "mov %%rsp, %%r14\n\t"
                     "sub $512, %%rsp\n\t"
                     "and $-16, %%rsp\n\t"
                     "mov %%r12, %%rdi\n\t"
                     "call *%%r13\n\t"
                     "mov %%r14, %%rsp\n\t"
                     "xor %%eax, %%eax\n"
                     "1:"
                     : "=a"(result), "+D"(first), "+S"(second), "+d"(parent_tid), "+r"(third), "+r"(fourth)
                     : "0"(number), "r"(given), "r"(run)
                     : "rcx", "r9", "r11", "r14", "cc", "memory");
    return result;
}

static long fork_into(int cgroup, struct birth *birth)
{
    struct clone_arguments how = {
        .flags = CLONE_VM | CLONE_VFORK | INTO_CGROUP,
        .exit_signal = SIGCHLD,
        .cgroup = (uint64_t)cgroup,
    };
    return fork_between(SYS_clone3, (long)&how, sizeof how, birth);
}

static PyObject *fork_away(PyObject *self, PyObject *arguments)
{
    (void)self;
    int cgroup;
    if (!PyArg_ParseTuple(arguments, "i", &cgroup))
        return NULL;
    struct birth birth = {0, 0};
    PyOS_BeforeFork();
    /* Handlers of this process would be carried out in the one between, in the same memory. */
    uint64_t before = block_signals();
    long between = cgroup < 0 ? -ENOSYS : fork_into(cgroup, &birth);
    int in_cgroup = between >= 0;
    if (between < 0)
        between = fork_between(SYS_clone, CLONE_VM | CLONE_VFORK | SIGCHLD, 0, &birth);
    if (between == 0) {
        unblock_signals(before);
        PyOS_AfterFork_Child();
        return Py_BuildValue("(lO)", birth.between, in_cgroup ? Py_True : Py_False);
    }
    if (between > 0)
        call(SYS_wait4, between, 0, 0, 0); /* it has ended */
    unblock_signals(before);
    PyOS_AfterFork_Parent();
    long result = between < 0 ? between : birth.grandchild;
    if (result <= 0) {
        errno = result < 0 ? (int)-result : EINTR;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"spawn", spawn, METH_VARARGS, NULL},
    {"fork_away", fork_away, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_vfork", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__vfork(void)
{
    return PyModule_Create(&module);
}
