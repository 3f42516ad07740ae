//! Where a map's values lie in guest memory: element after element, and in per-CPU maps within an
//! element CPU after CPU, each value padded to 8 bytes, as user space sees them too.

use super::Value;
use crate::guest::{GuestMemory, GuestSlice};
use crate::host::Errno;

/// The values of a map.
#[derive(Clone, Copy, Debug)]
pub(super) struct Elements {
    area: u32,
    value_size: u32,
    /// Values of an element: 1, or one a CPU.
    copies: u32,
}

impl Elements {
    /// Values of `value_size` bytes from offset `area` on, `copies` an element.
    pub(super) fn new(area: u32, value_size: u32, copies: u32) -> Self {
        Self {
            area,
            value_size,
            copies,
        }
    }

    /// Bytes that `count` elements take.
    pub(super) fn bytes(value_size: u32, copies: u32, count: u32) -> u64 {
        u64::from(value_size).next_multiple_of(8) * u64::from(copies) * u64::from(count)
    }

    /// Offset of `element`'s value for `cpu`.
    pub(super) fn offset(&self, element: u32, cpu: u32) -> u32 {
        let copy = if self.copies == 1 { 0 } else { cpu };
        self.area + (element * self.copies + copy) * self.stride()
    }

    fn stride(&self) -> u32 {
        self.value_size.next_multiple_of(8)
    }

    /// All of `element`'s values, padding included (a lone value has none).
    pub(super) fn all<'m>(
        &self,
        memory: &'m GuestMemory,
        element: u32,
    ) -> Result<GuestSlice<'m>, Errno> {
        let bytes = match self.copies {
            1 => self.value_size,
            copies => self.stride() * copies,
        };
        let slice = memory.at(self.offset(element, 0), u64::from(bytes));
        slice.ok_or(Errno::EFAULT)
    }

    /// `element`'s value for `cpu`.
    pub(super) fn one<'m>(
        &self,
        memory: &'m GuestMemory,
        element: u32,
        cpu: u32,
    ) -> Result<GuestSlice<'m>, Errno> {
        let slice = memory.at(self.offset(element, cpu), u64::from(self.value_size));
        slice.ok_or(Errno::EFAULT)
    }

    /// Stores a guest's value for its CPU, or the control path's for all CPUs.
    pub(super) fn store(
        &self,
        memory: &GuestMemory,
        element: u32,
        cpu: u32,
        value: Value<'_>,
    ) -> Result<(), Errno> {
        match value {
            Value::Guest(from) => self.one(memory, element, cpu)?.copy_from(from),
            Value::Host(from) => self.all(memory, element)?.write(from),
            Value::Zero => self.all(memory, element)?.clear(),
        }
        Ok(())
    }

    /// As [`Self::store`] for an element just come into being: other CPUs' values become zero.
    pub(super) fn store_new(
        &self,
        memory: &GuestMemory,
        element: u32,
        cpu: u32,
        value: Value<'_>,
    ) -> Result<(), Errno> {
        if self.copies > 1 {
            self.all(memory, element)?.clear();
        }
        self.store(memory, element, cpu, value)
    }
}
