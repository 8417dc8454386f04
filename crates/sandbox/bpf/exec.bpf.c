// SPDX-License-Identifier: MIT OR GPL-2.0-only
//
// Exec control in the kernel: a program or library is judged by the SHA-256 of its bytes, taken by the
// kernel itself (IMA) at the moment they are about to execute. Only processes in enrolled cgroups are
// judged; for them, whatever cannot be judged is refused.
//
// The kernel only lets programs under a licence compatible with the GPL use these helpers.

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

// The few kernel structures used, by the fields used; libbpf finds their places in the running kernel.
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
typedef struct {
	int counter;
} atomic_t;
struct inode {
	atomic_t i_writecount;
	unsigned int i_nlink;
};
struct file {
	struct inode *f_inode;
	unsigned int f_mode;
};
struct linux_binprm {
	struct file *file;
};
struct vm_area_struct {
	unsigned long vm_flags;
	struct file *vm_file;
};
#pragma clang attribute pop

#define PROT_WRITE 2UL
#define PROT_EXEC 4UL
#define VM_EXEC 4UL
#define EPERM 1
// Of include/linux/fs.h.
#define FMODE_WRITE 2U
// enum hash_algo of include/uapi/linux/hash_info.h.
#define HASH_ALGO_SHA256 4
#define DIGEST 32
// Cgroups above a process that are looked at.
#define MAX_LEVELS 10

// The numbers below are also in src/lsm/mod.rs.
enum mode { OBSERVE = 1, DENY_LIST = 2, ALLOW_LIST = 3, STRICT = 4 };
enum verdict { DENY = 1, ALLOW = 2, REPORT = 3 };
enum hook { HOOK_EXEC = 1, HOOK_MMAP = 2, HOOK_MPROTECT = 3, HOOK_OPEN = 4 };
enum reason {
	LISTED = 1,      // its digest is to be denied, or reported
	UNKNOWN = 2,     // its digest is on no list
	UNREADABLE = 3,  // no digest could be taken
	MADE_EXECUTABLE = 4, // a mapping of a file becomes executable after it was checked
	WRITABLE = 5,    // memory that is executable and writable, or anonymous
	CHANGING = 6,    // a file that is mapped executable and can be written
};

struct denial {
	__u8 digest[DIGEST];
	__u64 cgroup;
	__u32 process;
	__u8 hook;
	__u8 reason;
	__u8 mode;
	__u8 refused;
	__u8 name[16];
};

// What one policy says of one content.
struct subject {
	__u32 policy;
	__u8 digest[DIGEST];
};

// The policy of a cgroup and how strictly it is applied.
struct rule {
	__u32 policy;
	__u32 mode;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 131072);
	__type(key, struct subject);
	__type(value, __u8);
} verdicts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, struct rule);
} rules SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} denials SEC(".maps");

// Files that were mapped executable where unknown ones are refused: they must not change any more.
struct {
	__uint(type, BPF_MAP_TYPE_INODE_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u32);
} mapped SEC(".maps");

// Denials that found the ring full.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} lost SEC(".maps");

char LICENSE[] SEC("license") = "Dual MIT/GPL";

// A process under judgement.
struct subjects {
	__u64 cgroup;
	__u32 policy;
	__u32 mode;
};

// Finds the nearest enrolled cgroup of this process; false when there is none.
static __always_inline _Bool judged(struct subjects *who)
{
	who->cgroup = bpf_get_current_cgroup_id();
	struct rule *rule = bpf_map_lookup_elem(&rules, &who->cgroup);
	for (int level = MAX_LEVELS; !rule && level > 0; level--) {
		__u64 above = bpf_get_current_ancestor_cgroup_id(level);
		if (!above)
			continue;
		rule = bpf_map_lookup_elem(&rules, &above);
		if (rule)
			who->cgroup = above;
	}
	if (!rule)
		return 0;
	who->policy = rule->policy;
	who->mode = rule->mode;
	return 1;
}

static __always_inline void report(const struct subjects *who, __u8 hook, __u8 reason, _Bool refused,
				   const __u8 *digest)
{
	struct denial *denial = bpf_ringbuf_reserve(&denials, sizeof(*denial), 0);
	if (!denial) {
		__u32 zero = 0;
		__u64 *count = bpf_map_lookup_elem(&lost, &zero);
		if (count)
			__sync_fetch_and_add(count, 1);
		return;
	}
	if (digest)
		__builtin_memcpy(denial->digest, digest, DIGEST);
	else
		__builtin_memset(denial->digest, 0, DIGEST);
	denial->cgroup = who->cgroup;
	denial->process = bpf_get_current_pid_tgid() >> 32;
	denial->hook = hook;
	denial->reason = reason;
	denial->mode = who->mode;
	denial->refused = refused;
	bpf_get_current_comm(denial->name, sizeof(denial->name));
	bpf_ringbuf_submit(denial, 0);
}

// Reports, and returns what the hook returns.
static __always_inline int deny(const struct subjects *who, __u8 hook, __u8 reason, const __u8 *digest)
{
	_Bool refused = who->mode != OBSERVE;
	report(who, hook, reason, refused, digest);
	return refused ? -EPERM : 0;
}

static __always_inline int judge(const struct subjects *who, __u8 hook, struct file *file)
{
	struct subject subject = { .policy = who->policy };
	long algorithm = bpf_ima_file_hash(file, subject.digest, sizeof(subject.digest));
	if (algorithm != HASH_ALGO_SHA256)
		return deny(who, hook, UNREADABLE, 0);
	__u8 *verdict = bpf_map_lookup_elem(&verdicts, &subject);
	if (verdict && *verdict == DENY)
		return deny(who, hook, LISTED, subject.digest);
	if (verdict && *verdict == REPORT)
		report(who, hook, LISTED, 0, subject.digest);
	// Unknown content is what a deny-list lets pass. Observing reports it.
	if (verdict || who->mode == DENY_LIST)
		return 0;
	return deny(who, hook, UNKNOWN, subject.digest);
}

// Whether a file may change under its mapping. Here the file is marked before its writers are counted,
// and who opens it for writing is counted before the mark is looked at (below): one sees the other.
static __always_inline _Bool may_change(struct file *file)
{
	struct inode *inode = file->f_inode;
	__u32 *mark = bpf_inode_storage_get(&mapped, inode, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!mark)
		return 1;
	__sync_fetch_and_add(mark, 1);
	// Files in memory only have no name and do not count their writers.
	return (file->f_mode & FMODE_WRITE) || inode->i_writecount.counter > 0 || inode->i_nlink == 0;
}

// A program, a script, and then its interpreter.
SEC("lsm.s/bprm_check_security")
int BPF_PROG(check_program, struct linux_binprm *bprm)
{
	struct subjects who;
	if (!judged(&who))
		return 0;
	return judge(&who, HOOK_EXEC, bprm->file);
}

// Whatever is mapped to be executed: libraries, and programs given to the dynamic linker.
SEC("lsm.s/mmap_file")
int BPF_PROG(check_mapping, struct file *file, unsigned long wanted, unsigned long protection)
{
	struct subjects who;
	if (!(protection & PROT_EXEC))
		return 0;
	if (!judged(&who))
		return 0;
	if (who.mode == STRICT && (!file || (protection & PROT_WRITE)))
		return deny(&who, HOOK_MMAP, WRITABLE, 0);
	if (!file)
		return 0;
	if ((who.mode == ALLOW_LIST || who.mode == STRICT) && may_change(file))
		return deny(&who, HOOK_MMAP, CHANGING, 0);
	return judge(&who, HOOK_MMAP, file);
}

// A file that is mapped executable is to be opened for writing.
SEC("lsm/file_open")
int BPF_PROG(check_open, struct file *file)
{
	struct subjects who;
	if (!(file->f_mode & FMODE_WRITE))
		return 0;
	if (!judged(&who) || (who.mode != ALLOW_LIST && who.mode != STRICT))
		return 0;
	if (!bpf_inode_storage_get(&mapped, file->f_inode, 0, 0))
		return 0;
	return deny(&who, HOOK_OPEN, CHANGING, 0);
}

// A mapping that becomes executable. Here the kernel holds a lock under which nothing can be read, so
// there is no digest: mapped files must be mapped executable from the start, where they are judged.
SEC("lsm/file_mprotect")
int BPF_PROG(check_protection, struct vm_area_struct *area, unsigned long wanted, unsigned long protection)
{
	struct subjects who;
	if (!(protection & PROT_EXEC))
		return 0;
	if (!judged(&who))
		return 0;
	_Bool was = area->vm_flags & VM_EXEC;
	if (who.mode == STRICT && ((protection & PROT_WRITE) || (!was && !area->vm_file)))
		return deny(&who, HOOK_MPROTECT, WRITABLE, 0);
	if (!was && area->vm_file)
		return deny(&who, HOOK_MPROTECT, MADE_EXECUTABLE, 0);
	return 0;
}
