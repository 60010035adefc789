/*
 * Reads a profile as lines of words, builds the filter with libseccomp as runc does, and writes the program to standard
 * output. Values are decimal.
 *
 *     default ACTION TOKEN
 *     arch TOKEN
 *     rule ACTION NAME COUNT (INDEX OPERATOR VALUE VALUE_TWO)*
 *
 * TOKEN is an architecture's, with "default" that of the machine. "number TOKEN NAME" instead prints a system call's number on an architecture.
 */
#include <errno.h>
#include <inttypes.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void die(const char *what, int rc)
{
	fprintf(stderr, "%s: %s\n", what, strerror(-rc));
	exit(1);
}

static void rule(scmp_filter_ctx filter)
{
	uint32_t action;
	unsigned int count;
	char name[128];
	struct scmp_arg_cmp args[6];

	if (scanf("%" SCNu32 " %127s %u", &action, name, &count) != 3 || count > 6)
		die("rule", -EINVAL);
	for (unsigned int i = 0; i < count; i++) {
		unsigned int index, op;
		uint64_t a, b;

		if (scanf("%u %u %" SCNu64 " %" SCNu64, &index, &op, &a, &b) != 4)
			die("argument", -EINVAL);
		args[i] = (struct scmp_arg_cmp){ index, op, a, b };
	}
	int number = seccomp_syscall_resolve_name(name);
	if (number == __NR_SCMP_ERROR)
		return;
	int rc = seccomp_rule_add_array(filter, action, number, count, args);
	if (rc < 0)
		die(name, rc);
}

/* What is native is not the machine that this runs on, but that which the filter is for. */
static void machine(scmp_filter_ctx filter, uint32_t token)
{
	int rc = seccomp_arch_add(filter, token);
	if (rc == 0 && token != seccomp_arch_native())
		rc = seccomp_arch_remove(filter, seccomp_arch_native());
	if (rc < 0 && rc != -EEXIST)
		die("machine", rc);
}

int main(void)
{
	scmp_filter_ctx filter = NULL;
	char word[128];

	while (scanf("%127s", word) == 1) {
		uint32_t token;

		if (strcmp(word, "rule") == 0) {
			rule(filter);
			continue;
		}
		if (scanf("%" SCNu32, &token) != 1)
			die(word, -EINVAL);
		if (strcmp(word, "number") == 0) {
			if (scanf("%127s", word) != 1)
				die(word, -EINVAL);
			printf("%d\n", seccomp_syscall_resolve_name_arch(token, word));
		} else if (strcmp(word, "default") == 0) {
			filter = seccomp_init(token);
			if (scanf("%" SCNu32, &token) != 1)
				die(word, -EINVAL);
			machine(filter, token);
		} else {
			int rc = seccomp_arch_add(filter, token);
			if (rc < 0 && rc != -EEXIST)
				die("architecture", rc);
		}
	}
	if (filter != NULL) {
		int rc = seccomp_export_bpf(filter, STDOUT_FILENO);
		if (rc < 0)
			die("export", rc);
	}
	return 0;
}
