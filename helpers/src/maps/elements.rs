//! Where a map's values lie in guest memory: element after element, each padded to 8 bytes. In per-CPU maps each CPU has all of its
//! values on cache lines of its own, which no other CPU writes; user space sees an element's values CPU after CPU.

use super::Value;
use crate::guest::{GuestMemory, GuestSlice};
use crate::host::Errno;

/// Bytes that CPUs own at a time.
const LINE: u32 = 64;

/// The values of a map.
#[derive(Clone, Copy, Debug)]
pub(super) struct Elements {
    area: u32,
    value_size: u32,
    /// Values of an element: 1, or one a CPU.
    copies: u32,
    /// Bytes from a CPU's values to the next one's; 0 where all CPUs have the same.
    apart: u32,
}

impl Elements {
    /// Values of `value_size` bytes from offset `area` on, which is where a line begins; `copies` of each of `count`.
    pub(super) fn new(area: u32, value_size: u32, copies: u32, count: u32) -> Self {
        Self {
            area,
            value_size,
            copies,
            apart: match copies {
                1 => 0,
                // Of a map with room for it, it fits.
                _ => apart(value_size, count) as u32,
            },
        }
    }

    /// Bytes that `count` elements take.
    pub(super) fn bytes(value_size: u32, copies: u32, count: u32) -> u64 {
        match copies {
            1 => u64::from(value_size).next_multiple_of(8) * u64::from(count),
            copies => apart(value_size, count).saturating_mul(copies.into()),
        }
    }

    /// Bytes of all values of an element.
    pub(super) fn all(&self) -> u64 {
        u64::from(self.stride()) * u64::from(self.copies)
    }

    /// Offset of `element`'s value for `cpu`.
    pub(super) fn offset(&self, element: u32, cpu: u32) -> u32 {
        self.area + cpu * self.apart + element * self.stride()
    }

    fn stride(&self) -> u32 {
        self.value_size.next_multiple_of(8)
    }

    /// `element`'s value for `cpu`, with its padding where there is one a CPU.
    fn padded<'m>(
        &self,
        memory: &'m GuestMemory,
        element: u32,
        cpu: u32,
    ) -> Result<GuestSlice<'m>, Errno> {
        let bytes = match self.copies {
            1 => self.value_size,
            _ => self.stride(),
        };
        let slice = memory.at(self.offset(element, cpu), u64::from(bytes));
        slice.ok_or(Errno::EFAULT)
    }

    /// All of `element`'s values, padding included.
    pub(super) fn read(
        &self,
        memory: &GuestMemory,
        element: u32,
        values: &mut [u8],
    ) -> Result<(), Errno> {
        let each = values.chunks_mut(self.stride() as usize);
        for (cpu, value) in (0..self.copies).zip(each) {
            self.padded(memory, element, cpu)?.read(value);
        }
        Ok(())
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
    #[inline]
    pub(super) fn store(
        &self,
        memory: &GuestMemory,
        element: u32,
        cpu: u32,
        value: Value<'_>,
    ) -> Result<(), Errno> {
        match value {
            Value::Guest(from) => self.one(memory, element, cpu)?.copy_from(from),
            Value::Host(from) => self.store_all(memory, element, from)?,
            Value::Zero => self.clear(memory, element)?,
        }
        Ok(())
    }

    /// Stores one value for each CPU.
    #[cold]
    fn store_all(&self, memory: &GuestMemory, element: u32, values: &[u8]) -> Result<(), Errno> {
        let each = values.chunks(self.stride() as usize);
        for (cpu, value) in (0..self.copies).zip(each) {
            self.padded(memory, element, cpu)?.write(value);
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
            self.clear(memory, element)?;
        }
        self.store(memory, element, cpu, value)
    }

    #[cold]
    fn clear(&self, memory: &GuestMemory, element: u32) -> Result<(), Errno> {
        (0..self.copies).try_for_each(|cpu| {
            self.padded(memory, element, cpu)?.clear();
            Ok(())
        })
    }
}

/// Bytes from a CPU's values to the next one's, in a per-CPU map of `count` elements.
pub fn apart(value_size: u32, count: u32) -> u64 {
    let bytes = u64::from(value_size).next_multiple_of(8) * u64::from(count);
    bytes.next_multiple_of(LINE.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_cpus_have_values_on_one_line() {
        let elements = Elements::new(128, 4, 3, 5);
        let lines = |cpu| [0, 4].map(|element| elements.offset(element, cpu) / LINE);
        assert_eq!([lines(0), lines(1), lines(2)], [[2, 2], [3, 3], [4, 4]]);
        assert_eq!(Elements::bytes(4, 3, 5), 3 * 64);
        assert_eq!(Elements::bytes(4, 1, 5), 40);
    }
}
