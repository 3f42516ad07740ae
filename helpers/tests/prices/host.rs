//! A host whose primitives cost nothing, and never fail: what is counted is this crate's own. What a kernel's take is counted
//! in a guest.

use wprobe_helpers::guest::GuestSlice;
use wprobe_helpers::host::{Errno, From, Host, PathLayout, Walk};

/// See above.
pub(crate) struct Free;

/// Addresses below are the user's.
pub(crate) const KERNEL: u64 = 0xffff_8880_0000_0000;

impl Host for Free {
    fn ktime_ns(&self) -> u64 {
        1
    }
    fn boottime_ns(&self) -> u64 {
        1
    }
    fn tai_ns(&self) -> u64 {
        1
    }
    fn jiffies(&self) -> u64 {
        1
    }
    fn cpu(&self) -> u32 {
        0
    }
    fn pid_tgid(&self) -> u64 {
        1
    }
    fn uid_gid(&self) -> u64 {
        1
    }
    fn task(&self) -> u64 {
        KERNEL
    }
    fn comm(&self) -> [u8; 16] {
        *b"123456789abcdefg"
    }
    fn random_u32(&self) -> u32 {
        1
    }
    fn read_kernel(&self, _: GuestSlice<'_>, _: u64) -> Result<(), Errno> {
        Ok(())
    }
    /// Whatever is asked for is text; each entry of a path has another for its parent.
    fn load_kernel(&self, width: u32, address: u64) -> Result<u64, Errno> {
        match width {
            1 => Ok(u64::from(b'x')),
            4 => Ok(16),
            _ => Ok(address ^ 0x100),
        }
    }
    fn load_user(&self, _: u32, _: u64) -> Result<u64, Errno> {
        Ok(u64::from(b'x'))
    }
    fn read_user(&self, _: GuestSlice<'_>, _: u64) -> Result<(), Errno> {
        Err(Errno::EFAULT)
    }
    fn read_kernel_str(&self, _: GuestSlice<'_>, _: u64) -> Result<usize, Errno> {
        Err(Errno::EFAULT)
    }
    fn read_user_str(&self, _: GuestSlice<'_>, _: u64) -> Result<usize, Errno> {
        Err(Errno::EFAULT)
    }
    fn path_layout(&self) -> Option<PathLayout> {
        Some(PathLayout {
            entry_name: 8,
            entry_length: 16,
            entry_hashed: 24,
            entry_operations: 0x108,
            operations_name: 0,
            ..PathLayout::default()
        })
    }
    fn stack(&self, walk: Walk, to: GuestSlice<'_>) -> Result<usize, Errno> {
        match walk.from {
            From::Context(_) | From::Task(_) => Ok(to.len() / 8),
        }
    }
    fn namespace_ids(&self, _: u32, _: u64) -> Result<(u32, u32), Errno> {
        Ok((1, 1))
    }
    fn task_start(&self, task: u64) -> Option<u64> {
        Some(task)
    }
    fn wake(&self, _: usize) {}
    fn trace(&self, _: &[u8]) {}
}
