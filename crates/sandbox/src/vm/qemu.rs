//! What QEMU and virtiofsd are told. Every path is one of the keeper's own root.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use super::keeper::{KERNEL, SHARED};
use super::machine::Order;

/// Tags of the shared folders, as the guest mounts them.
pub(super) const TAGS: [&str; 2] = ["root", "work"];
/// Name of the port the guest is spoken to through.
pub(super) const PORT: &str = "nightcrew";

/// Arguments of QEMU for a machine with a console, a port, shared folders, and no network.
pub(super) fn arguments(order: &Order, channel: &OwnedFd, initramfs: &OwnedFd) -> Vec<String> {
    let memory = order.memory_mib;
    let machine = if order.kvm {
        "q35,accel=kvm"
    } else {
        "q35,accel=tcg"
    };
    let cpu = if order.kvm { "host" } else { "max" };
    let mut words: Vec<String> = [
        "-nodefaults",
        "-no-user-config",
        "-no-reboot",
        "-display",
        "none",
        "-nic",
        "none",
        "-sandbox",
        "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        "-chardev",
        "stdio,id=console,signal=off",
        "-serial",
        "chardev:console",
        "-device",
        "virtio-serial-pci",
        "-device",
        "virtio-rng-pci",
    ]
    .map(str::to_owned)
    .to_vec();
    words.extend(["-name".to_owned(), format!("guest={}", order.name)]);
    words.extend(["-cpu".to_owned(), cpu.to_owned()]);
    words.extend(["-smp".to_owned(), order.cpus.to_string()]);
    words.extend(["-m".to_owned(), format!("{memory}M")]);
    words.extend([
        "-chardev".to_owned(),
        format!("socket,id=channel,fd={}", channel.as_raw_fd()),
    ]);
    words.extend([
        "-device".to_owned(),
        format!("virtserialport,chardev=channel,name={PORT}"),
    ]);
    words.extend(["-kernel".to_owned(), format!("/{KERNEL}")]);
    words.extend([
        "-initrd".to_owned(),
        format!("/proc/self/fd/{}", initramfs.as_raw_fd()),
    ]);
    words.extend(["-append".to_owned(), kernel_line()]);
    let mut machine = machine.to_owned();
    if order.virtiofs {
        // virtiofsd reads and writes the guest's memory.
        machine.push_str(",memory-backend=memory");
        words.extend([
            "-object".to_owned(),
            format!("memory-backend-memfd,id=memory,size={memory}M,share=on"),
        ]);
        for tag in TAGS {
            words.extend([
                "-chardev".to_owned(),
                format!("socket,id={tag},path=/run/{tag}"),
            ]);
            words.extend([
                "-device".to_owned(),
                format!("vhost-user-fs-pci,chardev={tag},tag={tag}"),
            ]);
        }
    } else if order.shares {
        for (tag, share) in TAGS.iter().zip(SHARED) {
            words.extend([
                "-fsdev".to_owned(),
                format!("local,id={tag},path=/{share},security_model=passthrough,multidevs=remap"),
            ]);
            words.extend([
                "-device".to_owned(),
                format!("virtio-9p-pci,fsdev={tag},mount_tag={tag}"),
            ]);
        }
    }
    words.extend(["-machine".to_owned(), machine]);
    words
}

/// The kernel's command line: a console, an end at the first panic, our first process.
fn kernel_line() -> String {
    format!(
        "console=ttyS0 loglevel=5 panic=-1 rdinit=/init -- {}",
        super::guest::ARGUMENT
    )
}

/// Arguments of virtiofsd. The C program of QEMU 7 and the Rust program of later times name some
/// options differently.
pub(super) fn virtiofsd_arguments(program: &Path, share: &str, listener: i32) -> Vec<String> {
    let old = program.starts_with("/usr/lib/qemu");
    // Nothing changes in the root while a machine runs; the work folder is the host's too.
    let cache = if share == SHARED[0] { "always" } else { "auto" };
    let mut words = vec![format!("--fd={listener}")];
    if old {
        words.extend(["-f".to_owned(), "-o".to_owned()]);
        words.push(format!(
            "source=/{share},cache={cache},xattr,announce_submounts,log_level=warn"
        ));
    } else {
        words.extend([
            format!("--shared-dir=/{share}"),
            format!("--cache={cache}"),
            "--xattr".to_owned(),
            "--announce-submounts".to_owned(),
            "--log-level=warn".to_owned(),
            "--sandbox=namespace".to_owned(),
        ]);
    }
    words
}
