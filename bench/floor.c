/*
 * The physical floor of `run`: the namespaces, mounts, cgroups and exec that the kernel has to make for the bundle of
 * `nconform bench`, and nothing else. It reads no config.json, writes no state and no device rules, drops no capability,
 * compiles no filter and defends itself against nothing, so no runtime can do the same work for less.
 *
 *     floor --version
 *     floor --root DIR run --bundle DIR ID
 *     floor --root DIR run --filter FILE --bundle DIR ID
 *
 * FILE has the instructions of a seccomp filter as the kernel takes them.
 *
 * The words are those of a runtime, so that the benchmark treats it as one. The bundle's program is always `true` of
 * busybox. On v1 a directory is made in each mounted hierarchy, on v2 in the one there is.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/mount.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

/* <sys/mount.h> cannot stand beside <linux/mount.h> in every C library. */
#define BIND 4096ul
#define RECURSIVE 16384ul
#define SLAVE (1ul << 19)
#define RDONLY 1ul
#define NOSUID 2ul
#define NODEV 4ul
#define NOEXEC 8ul
#define DETACH 2

#define CGROUPS "/sys/fs/cgroup"
#define MOST_HIERARCHIES 24

static const char *id;
static const char *hierarchies[MOST_HIERARCHIES];
static int hierarchy_count;
static int unified;
static struct sock_filter instructions[BPF_MAXINSNS];
static struct sock_fprog filter = {.filter = instructions};

/* struct clone_args of linux/sched.h, which older headers have without `cgroup`. */
struct clone_arguments {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};

static void fail(const char *what)
{
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    _exit(1);
}

static int must(int result, const char *what)
{
    if (result < 0)
        fail(what);
    return result;
}

static void make_mount(const char *source, const char *target, const char *type, unsigned long flags, const char *options)
{
    must(syscall(SYS_mount, source, target, type, flags, options), target);
}

static void make_readonly(const char *path, unsigned long flags, int recursive)
{
    struct mount_attr attributes = {.attr_set = MOUNT_ATTR_RDONLY | flags};
    must(syscall(SYS_mount_setattr, AT_FDCWD, path, recursive ? AT_RECURSIVE : 0, &attributes, sizeof attributes), path);
}

/* The hierarchies that are mounted, by the names of their directories. */
static void find_hierarchies(void)
{
    static char text[8192];
    int file = must(open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC), "/proc/self/cgroup");
    must(read(file, text, sizeof text - 1), "/proc/self/cgroup");
    close(file);
    char *rest = text;
    for (char *line; (line = strsep(&rest, "\n")) && *line && hierarchy_count < MOST_HIERARCHIES;) {
        strsep(&line, ":");
        char *name = strsep(&line, ":");
        if (!strncmp(name, "name=", 5))
            name += 5;
        if (*name)
            hierarchies[hierarchy_count++] = name;
    }
    unified = hierarchy_count == 0;
    if (unified)
        hierarchies[hierarchy_count++] = ".";
}

static const char *cgroup(int index, const char *file)
{
    static char path[512];
    snprintf(path, sizeof path, CGROUPS "/%s/%s%s", hierarchies[index], id, file);
    return path;
}

/* A new cpuset of v1 is empty, and takes no process before it has what its parent has. */
static void fill_cpuset(int index, const char *name)
{
    char path[512], text[1024];
    snprintf(path, sizeof path, CGROUPS "/%s/%s", hierarchies[index], name + 1);
    int from = must(open(path, O_RDONLY | O_CLOEXEC), path);
    int length = must(read(from, text, sizeof text), path);
    int to = must(open(cgroup(index, name), O_WRONLY | O_CLOEXEC), name);
    must(write(to, text, length), name);
    close(from);
    close(to);
}

static void make_cgroups(void)
{
    for (int i = 0; i < hierarchy_count; i++) {
        must(mkdir(cgroup(i, ""), 0755), "make a cgroup");
        if (!strcmp(hierarchies[i], "cpuset")) {
            fill_cpuset(i, "/cpuset.cpus");
            fill_cpuset(i, "/cpuset.mems");
        }
    }
}

static void join_cgroups(void)
{
    for (int i = 0; i < hierarchy_count; i++) {
        /* Not `cgroup.procs`, for which the kernel stops all forks and exits of the machine. */
        int file = must(open(cgroup(i, "/tasks"), O_WRONLY | O_CLOEXEC), "tasks");
        must(write(file, "0", 1), "join a cgroup");
        close(file);
    }
}

static void mount_devices(void)
{
    static const struct { const char *name; int major, minor; } nodes[] = {
        {"dev/null", 1, 3}, {"dev/zero", 1, 5}, {"dev/full", 1, 7}, {"dev/random", 1, 8}, {"dev/urandom", 1, 9}, {"dev/tty", 5, 0},
    };
    static const char *const links[][2] = {
        {"/proc/self/fd", "dev/fd"}, {"/proc/self/fd/0", "dev/stdin"}, {"/proc/self/fd/1", "dev/stdout"},
        {"/proc/self/fd/2", "dev/stderr"}, {"pts/ptmx", "dev/ptmx"}, {"/proc/kcore", "dev/core"},
    };
    make_mount("tmpfs", "dev", "tmpfs", NOSUID, "mode=755,size=65536k");
    must(mkdir("dev/pts", 0755), "dev/pts");
    must(mkdir("dev/shm", 0755), "dev/shm");
    must(mkdir("dev/mqueue", 0755), "dev/mqueue");
    make_mount("devpts", "dev/pts", "devpts", NOSUID | NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5");
    make_mount("shm", "dev/shm", "tmpfs", NOSUID | NOEXEC | NODEV, "mode=1777,size=65536k");
    make_mount("mqueue", "dev/mqueue", "mqueue", NOSUID | NOEXEC | NODEV, NULL);
    for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++)
        must(mknod(nodes[i].name, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)), nodes[i].name);
    for (size_t i = 0; i < sizeof links / sizeof *links; i++)
        must(symlink(links[i][0], links[i][1]), links[i][1]);
}

static void mount_cgroups(void)
{
    if (unified) {
        make_mount(cgroup(0, ""), "sys/fs/cgroup", NULL, BIND, NULL);
    } else {
        make_mount("cgroup", "sys/fs/cgroup", "tmpfs", NOSUID | NOEXEC | NODEV, "mode=755");
        for (int i = 0; i < hierarchy_count; i++) {
            char target[128];
            snprintf(target, sizeof target, "sys/fs/cgroup/%s", hierarchies[i]);
            must(mkdir(target, 0755), target);
            make_mount(cgroup(i, ""), target, NULL, BIND, NULL);
        }
    }
    make_readonly("sys/fs/cgroup", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, 1);
}

/* What a path that does not exist would show needs no hiding. */
static void hide_paths(void)
{
    static const char *const masked[] = {
        "proc/acpi", "proc/asound", "proc/kcore", "proc/keys", "proc/latency_stats", "proc/timer_list",
        "proc/timer_stats", "proc/sched_debug", "sys/firmware", "proc/scsi",
    };
    static const char *const readonly[] = {"proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"};
    for (size_t i = 0; i < sizeof masked / sizeof *masked; i++) {
        if (syscall(SYS_mount, "dev/null", masked[i], NULL, BIND, NULL) == 0 || errno == ENOENT)
            continue;
        make_mount("tmpfs", masked[i], "tmpfs", RDONLY, NULL);
    }
    for (size_t i = 0; i < sizeof readonly / sizeof *readonly; i++) {
        if (syscall(SYS_mount, readonly[i], readonly[i], NULL, BIND | RECURSIVE, NULL) == 0)
            make_readonly(readonly[i], 0, 1);
        else if (errno != ENOENT)
            fail(readonly[i]);
    }
}

static void read_filter(const char *path)
{
    int file = must(open(path, O_RDONLY | O_CLOEXEC), path);
    filter.len = must(read(file, instructions, sizeof instructions), path) / sizeof *instructions;
    close(file);
}

static void install_filter(void)
{
    must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
    must(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &filter), "install the filter");
}

static void become_container(const char *bundle)
{
    if (!unified)
        join_cgroups();
    make_mount(NULL, "/", NULL, SLAVE | RECURSIVE, NULL);
    must(chdir(bundle), bundle);
    make_mount("rootfs", "rootfs", NULL, BIND | RECURSIVE, NULL);
    must(chdir("rootfs"), "rootfs");
    make_mount("proc", "proc", "proc", 0, NULL);
    mount_devices();
    make_mount("sysfs", "sys", "sysfs", NOSUID | NOEXEC | NODEV | RDONLY, NULL);
    mount_cgroups();
    hide_paths();
    must(syscall(SYS_pivot_root, ".", "."), "pivot_root");
    must(syscall(SYS_umount2, ".", DETACH), "leave the old root");
    must(chdir("/"), "/");
    must(sethostname("sandbox", 7), "sethostname");
    char *const arguments[] = {"true", NULL};
    char *const environment[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm", NULL};
    if (filter.len)
        install_filter();
    execve("/bin/true", arguments, environment);
    fail("/bin/true");
}

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "--version")) {
        puts("floor: what the kernel itself costs");
        return 0;
    }
    int filtered = argc == 9 && !strcmp(argv[4], "--filter");
    char **bundle = argv + (filtered ? 6 : 4);
    if (argc != (filtered ? 9 : 7) || strcmp(argv[3], "run") || strcmp(bundle[0], "--bundle")) {
        fputs("usage: floor --root DIR run [--filter FILE] --bundle DIR ID\n", stderr);
        return 1;
    }
    if (filtered)
        read_filter(argv[5]);
    id = bundle[2];
    find_hierarchies();
    make_cgroups();
    struct clone_arguments arguments = {
        .flags = CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNS,
        .exit_signal = SIGCHLD,
    };
    if (unified) {
        arguments.flags |= 0x200000000ull; /* CLONE_INTO_CGROUP */
        arguments.cgroup = must(open(cgroup(0, ""), O_PATH | O_DIRECTORY | O_CLOEXEC), "open the cgroup");
    }
    int child = must(syscall(SYS_clone3, &arguments, sizeof arguments), "clone3");
    if (child == 0)
        become_container(bundle[1]);
    int status;
    must(waitpid(child, &status, 0), "wait");
    for (int i = 0; i < hierarchy_count; i++)
        must(rmdir(cgroup(i, "")), "remove a cgroup");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
