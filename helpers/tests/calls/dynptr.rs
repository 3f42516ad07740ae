//! Dynptrs: pointers whose length is checked at each use.

use super::iter::kfunc;
use wprobe_helpers::work::price::{BYTES, DYNPTR};

use super::*;

const PLACE: u32 = 4096;
const DATA: u32 = 8192;
const BUFFER: u32 = 12288;
const EINVAL: u64 = -22i64 as u64;
const E2BIG: u64 = -7i64 as u64;

fn function(space: &Space, name: &str, args: &[u64]) -> Result<u64, Trap> {
    kfunc(space, name, args, u64::MAX).0
}

/// A space with a dynptr at [`PLACE`] to `size` bytes at [`DATA`], which count up.
fn with_dynptr(size: u64) -> Space {
    let space = space();
    let numbers: Vec<u8> = (0..=255).collect();
    space.memory().at(DATA, 256).unwrap().write(&numbers);
    let args = [guest_ptr(DATA), size, 0, guest_ptr(PLACE)];
    assert_eq!(call(&space, "dynptr_from_mem", &args), Ok(0));
    space
}

fn read(space: &Space, length: u64, offset: u64, flags: u64) -> Result<u64, Trap> {
    let args = [guest_ptr(BUFFER), length, guest_ptr(PLACE), offset, flags];
    call(space, "dynptr_read", &args)
}

fn write(space: &Space, length: u64, offset: u64, flags: u64) -> Result<u64, Trap> {
    let args = [guest_ptr(PLACE), offset, guest_ptr(BUFFER), length, flags];
    call(space, "dynptr_write", &args)
}

#[test]
fn a_dynptr_leads_to_its_bytes_and_no_further() {
    let space = with_dynptr(100);
    assert_eq!(read(&space, 10, 90, 0), Ok(0));
    assert_eq!(
        bytes(&space, BUFFER, 11),
        [90, 91, 92, 93, 94, 95, 96, 97, 98, 99, 0]
    );
    assert_eq!(write(&space, 4, 0, 0), Ok(0));
    assert_eq!(bytes(&space, DATA, 5), [90, 91, 92, 93, 4]);
    for (length, offset) in [
        (10, 91),
        (101, 0),
        (0, 101),
        (1, u32::MAX.into()),
        (u32::MAX.into(), 1),
    ] {
        // The buffer is looked at first.
        let expected = if length > PAGE.into() {
            Err(Trap::BadPointer)
        } else {
            Ok(E2BIG)
        };
        assert_eq!(
            read(&space, length, offset, 0),
            expected,
            "{length} {offset}"
        );
        assert_eq!(
            write(&space, length, offset, 0),
            expected,
            "{length} {offset}"
        );
        let data = call(&space, "dynptr_data", &[guest_ptr(PLACE), offset, length]);
        assert_eq!(data, Ok(0));
    }
    assert_eq!(
        (read(&space, 1, 0, 1), write(&space, 1, 0, 1)),
        (Ok(EINVAL), Ok(EINVAL))
    );
    let data = |offset, length| call(&space, "dynptr_data", &[guest_ptr(PLACE), offset, length]);
    assert_eq!(data(10, 90), Ok(guest_ptr(DATA + 10)));
    assert_eq!(data(1 << 32 | 10, 1), Ok(guest_ptr(DATA + 10)), "a u32");
}

#[test]
fn what_is_no_memory_or_too_long_makes_none() {
    let space = with_dynptr(8);
    let make = |data, size, flags| {
        let made = call(
            &space,
            "dynptr_from_mem",
            &[data, size, flags, guest_ptr(PLACE)],
        );
        (made, bytes(&space, PLACE, 16) == [0; 16])
    };
    assert_eq!(make(guest_ptr(DATA), 8, 1), (Ok(EINVAL), true));
    assert_eq!(make(guest_ptr(DATA), 8, 0), (Ok(0), false));
    assert_eq!(make(guest_ptr(DATA), 1 << 24, 0), (Ok(E2BIG), true));
    assert_eq!(
        make(guest_ptr(DATA), 1 << 32 | 8, 0),
        (Ok(0), false),
        "a u32"
    );
    assert_eq!(make(KERNEL, 8, 0).0, Err(Trap::BadPointer));
    assert_eq!(make(guest_ptr(PAGE - 7), 8, 0).0, Err(Trap::BadPointer));
    space.memory().at(PLACE, 16).unwrap().clear();
    assert_eq!(
        (read(&space, 1, 0, 0), write(&space, 1, 0, 0)),
        (Ok(EINVAL), Ok(EINVAL))
    );
    assert_eq!(
        call(&space, "dynptr_data", &[guest_ptr(PLACE), 0, 0]),
        Ok(0)
    );
    assert_eq!(
        function(&space, "bpf_dynptr_is_null", &[guest_ptr(PLACE)]),
        Ok(1)
    );
    assert_eq!(
        function(&space, "bpf_dynptr_size", &[guest_ptr(PLACE)]),
        Ok(0xffff_ffea)
    );
    for name in ["ringbuf_submit_dynptr", "ringbuf_discard_dynptr"] {
        assert_eq!(call(&space, name, &[guest_ptr(PLACE), 0]), Ok(0));
    }
}

/// Its bytes are the program's to write: whatever they say, it reaches guest memory or the run ends.
#[test]
fn a_forged_dynptr_reaches_nothing_else() {
    let space = with_dynptr(8);
    let forge = |data: u64, size: u32, offset: u32| {
        let place = space.memory().at(PLACE, 16).unwrap();
        place.write(&data.to_le_bytes());
        place.from(8).write(&size.to_le_bytes());
        place.from(12).write(&offset.to_le_bytes());
    };
    let kinds = [0, 1 << 28, 2 << 28, 3 << 28, 7 << 28];
    for (data, offset) in [
        (KERNEL, 0),
        (1, 0),
        (USER, 0),
        (u64::MAX, 0),
        (guest_ptr(PAGE - 4), 0),
        (guest_ptr(u32::MAX), 0),
        (guest_ptr(DATA), u32::MAX),
        (guest_ptr(u32::MAX), u32::MAX),
    ] {
        for kind in kinds {
            forge(data, 100 | kind, offset);
            assert_eq!(
                read(&space, 8, 0, 0),
                Err(Trap::BadPointer),
                "{data:#x} {kind:#x}"
            );
            assert_eq!(
                write(&space, 8, 0, 0),
                Err(Trap::BadPointer),
                "{data:#x} {kind:#x}"
            );
            for name in ["ringbuf_submit_dynptr", "ringbuf_discard_dynptr"] {
                let ended = call(&space, name, &[guest_ptr(PLACE), 0]);
                assert_eq!(ended, Err(Trap::BadPointer), "{name} {data:#x}");
            }
        }
    }
    forge(guest_ptr(DATA), 8 | 1 << 31, 0);
    assert_eq!(
        (read(&space, 8, 0, 0), write(&space, 8, 0, 0)),
        (Ok(0), Ok(EINVAL))
    );
    assert_eq!(
        function(&space, "bpf_dynptr_is_rdonly", &[guest_ptr(PLACE)]),
        Ok(1)
    );
    let slice = function(&space, "bpf_dynptr_slice", &[guest_ptr(PLACE), 2, 0, 6]);
    assert_eq!(slice, Ok(guest_ptr(DATA + 2)));
    let data = call(&space, "dynptr_data", &[guest_ptr(PLACE), 2, 6]);
    assert_eq!(data, Ok(0), "to be written");
    for place in [KERNEL, 0, guest_ptr(PAGE - 15)] {
        assert_eq!(
            call(&space, "dynptr_data", &[place, 0, 0]),
            Err(Trap::BadPointer)
        );
        for name in abi::helpers::KFUNCS
            .iter()
            .filter(|name| name.contains("dynptr"))
        {
            assert_eq!(
                function(&space, name, &[place, place]),
                Err(Trap::BadPointer),
                "{name}"
            );
        }
    }
}

#[test]
fn a_record_is_reserved_written_and_ended_once() {
    let space = space();
    let ring = space
        .create_map(&MapSpec {
            map_type: MapType::Ringbuf,
            key_size: 0,
            value_size: 0,
            max_entries: 4096,
            flags: 0,
            inner: None,
        })
        .unwrap();
    let reserve = |size, flags| {
        let args = [ring.handle, size, flags, guest_ptr(PLACE)];
        call(&space, "ringbuf_reserve_dynptr", &args)
    };
    let queued = || call(&space, "ringbuf_query", &[ring.handle, 0]);
    assert_eq!(reserve(100, 0), Ok(0));
    space.memory().at(BUFFER, 4).unwrap().write(b"text");
    assert_eq!(
        (write(&space, 4, 96, 0), write(&space, 4, 97, 0)),
        (Ok(0), Ok(E2BIG))
    );
    let record = call(&space, "dynptr_data", &[guest_ptr(PLACE), 96, 4]).unwrap();
    assert_eq!(
        space.memory().slice(record, 4).unwrap().word_at(0) as u32,
        u32::from_le_bytes(*b"text")
    );
    assert_eq!(queued(), Ok(112));
    assert_eq!(
        call(&space, "ringbuf_submit_dynptr", &[guest_ptr(PLACE), 0]),
        Ok(0)
    );
    assert_eq!(bytes(&space, PLACE, 16), [0; 16]);
    for (size, flags, error) in [(8192, 0, EINVAL), (8, 1, EINVAL), (1 << 24, 0, E2BIG)] {
        assert_eq!(
            (reserve(size, flags), bytes(&space, PLACE, 16)),
            (Ok(error), vec![0; 16])
        );
    }
    assert_eq!(queued(), Ok(112), "what failed has taken nothing");
}

#[test]
fn adjusted_and_cloned_ones_are_narrower_and_equal() {
    let space = with_dynptr(100);
    let other = guest_ptr(PLACE + 64);
    let at = guest_ptr(PLACE);
    let adjust = |start, end| function(&space, "bpf_dynptr_adjust", &[at, start, end]);
    assert_eq!(function(&space, "bpf_dynptr_clone", &[at, other]), Ok(0));
    assert_eq!(
        (adjust(10, 50), adjust(5, 4), adjust(0, 41)),
        (Ok(0), Ok(EINVAL), Ok(-34i64 as u64))
    );
    assert_eq!(
        (adjust(10, 40), function(&space, "bpf_dynptr_size", &[at])),
        (Ok(0), Ok(30))
    );
    assert_eq!(function(&space, "bpf_dynptr_size", &[other]), Ok(100));
    assert_eq!(
        call(&space, "dynptr_data", &[at, 1, 29]),
        Ok(guest_ptr(DATA + 21))
    );
    assert_eq!(
        call(&space, "dynptr_data", &[other, 1, 99]),
        Ok(guest_ptr(DATA + 1))
    );
    space.memory().at(PLACE, 16).unwrap().clear();
    assert_eq!(
        function(&space, "bpf_dynptr_clone", &[at, other]),
        Ok(EINVAL)
    );
    assert_eq!(bytes(&space, PLACE + 64, 16), [0; 16]);
}

/// Into itself, in either direction.
#[test]
fn overlapping_bytes_are_moved() {
    for (to, from) in [(0u32, 3u32), (3, 0), (64, 0), (0, 64), (100, 1)] {
        let space = with_dynptr(256);
        let args = [guest_ptr(DATA + to), 150, guest_ptr(PLACE), from.into(), 0];
        assert_eq!(call(&space, "dynptr_read", &args), Ok(0));
        let expected: Vec<u8> = (0..150).map(|n| n + from as u8).collect();
        assert_eq!(bytes(&space, DATA + to, 150), expected, "{from} to {to}");
    }
}

#[test]
fn what_a_dynptr_copies_is_paid_for() {
    let space = with_dynptr(0xff_fff0 & 0x1000);
    let args = [guest_ptr(BUFFER), 4096, guest_ptr(PLACE), 0, 0];
    let row = abi::helpers::by_name("dynptr_read").unwrap();
    let read = |units| {
        let work = Work::new(units);
        let run = Run {
            work: &work,
            ..run(&space)
        };
        implementation::<KnownHost>(row.id).unwrap()(&run, args)
    };
    let price = (4096 + 16 + 4096) / BYTES + 2 * DYNPTR;
    assert_eq!(read(price - 1), Err(Trap::Budget));
    assert_eq!(read(price), Ok(0));
}
