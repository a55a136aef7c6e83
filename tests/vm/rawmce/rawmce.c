// SPDX-License-Identifier: GPL-2.0-only
/*
 * Test aid: machine-check records of any content, through the kernel's own log path.
 *
 * What is written to debugfs' "rawmce" (one or more whole struct mce, back to back) goes verbatim into
 * mce_log(), so /dev/mcelog and the mce_record trace event carry every field as given: banks, sockets and
 * vendor registers this machine does not have included. The kernel's own injectors overwrite most of them.
 */
#include <linux/debugfs.h>
#include <linux/module.h>
#include <linux/uaccess.h>
#include <linux/version.h>
#include <asm/mce.h>

static struct dentry *node;

static int log_one(const char __user *from)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
	struct mce_hw_err record = {};
	struct mce *m = &record.m;
#else
	struct mce record = {};
	struct mce *m = &record;
#endif
	if (copy_from_user(m, from, sizeof(*m)))
		return -EFAULT;
	mce_log(&record);
	return 0;
}

static ssize_t rawmce_write(struct file *file, const char __user *from, size_t len, loff_t *pos)
{
	size_t done;
	int err;

	if (len == 0 || len % sizeof(struct mce))
		return -EINVAL;
	for (done = 0; done < len; done += sizeof(struct mce)) {
		err = log_one(from + done);
		if (err)
			return done ? done : err;
	}
	return done;
}

static const struct file_operations rawmce_fops = {
	.owner = THIS_MODULE,
	.write = rawmce_write,
};

static int __init rawmce_init(void)
{
	node = debugfs_create_file("rawmce", 0200, NULL, NULL, &rawmce_fops);
	return PTR_ERR_OR_ZERO(node);
}

static void __exit rawmce_exit(void)
{
	debugfs_remove(node);
}

module_init(rawmce_init);
module_exit(rawmce_exit);
MODULE_DESCRIPTION("Feeds whole machine-check records into the kernel's log path");
MODULE_LICENSE("GPL");
