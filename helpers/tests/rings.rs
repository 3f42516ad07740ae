//! Event rings, read as libbpf reads them (`ringbuf.c`, `perf_buffer__process_records`).

use std::cell::Cell;
use std::ptr::NonNull;

use abi::layout::guest_ptr;
use abi::map_types::MapType;
use abi::traps::Trap;
use wprobe_helpers::calls::{Nested, Run, Work, implementation};
use wprobe_helpers::guest::{GuestMemory, GuestSlice};
use wprobe_helpers::host::{Errno, Host};
use wprobe_helpers::maps::{MapSpec, PerfRing};
use wprobe_helpers::space::Space;

const PAGE: u32 = 4096;

/// A host that counts how often it is told to wake somebody.
#[derive(Default)]
struct CountingHost {
    woken: Cell<u32>,
}

impl Host for CountingHost {
    fn ktime_ns(&self) -> u64 {
        0
    }
    fn boottime_ns(&self) -> u64 {
        0
    }
    fn tai_ns(&self) -> u64 {
        0
    }
    fn jiffies(&self) -> u64 {
        0
    }
    fn cpu(&self) -> u32 {
        0
    }
    fn pid_tgid(&self) -> u64 {
        0
    }
    fn uid_gid(&self) -> u64 {
        0
    }
    fn task(&self) -> u64 {
        0
    }
    fn comm(&self) -> [u8; 16] {
        [0; 16]
    }
    fn random_u32(&self) -> u32 {
        0
    }
    fn read_kernel(&self, _: GuestSlice<'_>, _: u64) -> Result<(), Errno> {
        Err(Errno::EFAULT)
    }
    fn load_kernel(&self, _: u32, _: u64) -> Result<u64, Errno> {
        Err(Errno::EFAULT)
    }
    fn load_user(&self, _: u32, _: u64) -> Result<u64, Errno> {
        Err(Errno::EFAULT)
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
    fn wake(&self, waker: usize) {
        assert_eq!(waker, 77);
        self.woken.set(self.woken.get() + 1);
    }
    fn trace(&self, _: &[u8]) {}
}

fn memory(size: u32) -> GuestMemory {
    let words = vec![0u64; size as usize / 8].into_boxed_slice();
    let base = NonNull::new(Box::into_raw(words).cast::<u8>()).unwrap();
    // SAFETY: freshly leaked, so valid for ever, aligned to 8, and nobody else knows it.
    unsafe { GuestMemory::new(base, size) }
}

fn word(memory: &GuestMemory, at: u32) -> u64 {
    memory.at(at, 8).unwrap().word_at(0)
}

fn set(memory: &GuestMemory, at: u32, value: u64) {
    memory.at(at, 8).unwrap().write(&value.to_ne_bytes());
}

struct Scene {
    host: CountingHost,
    space: Space,
    handle: u64,
}

impl Scene {
    fn new(map_type: MapType, max_entries: u32) -> Self {
        let size = if map_type == MapType::Ringbuf { 0 } else { 4 };
        let spec = MapSpec {
            map_type,
            key_size: size,
            value_size: size,
            max_entries,
            flags: 0,
            inner: None,
        };
        let space = Space::new(memory(1 << 20), 1);
        let handle = space.create_map(&spec).unwrap().handle;
        Scene {
            host: CountingHost::default(),
            space,
            handle,
        }
    }

    fn call(&self, name: &str, args: [u64; 5]) -> Result<u64, Trap> {
        let run = Run {
            host: &self.host,
            space: &self.space,
            cpu: self.host.cpu(),
            context: 0,
            tail_calls: 0,
            depth: 0,
            nested: Nested::default(),
            work: &Work::new(u64::MAX),
        };
        let row = abi::helpers::by_name(name).unwrap();
        implementation(row.id).unwrap()(&run, args)
    }
}

/// libbpf's loop over a ring buffer: every submitted record up to the first busy one.
fn consume(scene: &Scene) -> Vec<Vec<u8>> {
    let ring = scene.space.map(0).unwrap().as_ringbuf().unwrap();
    let memory = scene.space.memory();
    let (consumer_page, data) = (ring.pages(), ring.pages() + 2 * PAGE);
    let mut consumer = word(memory, consumer_page);
    let mut records = Vec::new();
    while consumer < word(memory, consumer_page + PAGE) {
        let at = data + (consumer & u64::from(ring.size() - 1)) as u32;
        let length = word(memory, at) as u32;
        if length & 1 << 31 != 0 {
            break;
        }
        let bytes = length << 2 >> 2;
        if length & 1 << 30 == 0 {
            let mut record = vec![0; bytes as usize];
            memory
                .at(at + 8, u64::from(bytes))
                .unwrap()
                .read(&mut record);
            records.push(record);
        }
        consumer += u64::from((bytes + 8).next_multiple_of(8));
        set(memory, consumer_page, consumer);
    }
    records
}

#[test]
fn records_come_out_as_they_went_in_also_around_the_end() {
    let scene = Scene::new(MapType::Ringbuf, PAGE);
    let from = guest_ptr(64);
    for round in 0..1_000u64 {
        let size = round * 37 % 600;
        let bytes: Vec<u8> = (0..size).map(|at| (at + round) as u8).collect();
        scene.space.memory().at(64, size).unwrap().write(&bytes);
        let sent = scene.call("ringbuf_output", [scene.handle, from, size, 0, 0]);
        assert_eq!(sent, Ok(0), "round {round}");
        assert_eq!(consume(&scene), [bytes], "round {round}");
    }
}

#[test]
fn a_reader_sees_nothing_behind_a_record_that_is_not_submitted() {
    let scene = Scene::new(MapType::Ringbuf, PAGE);
    let reserve = |size| {
        scene
            .call("ringbuf_reserve", [scene.handle, size, 0, 0, 0])
            .unwrap()
    };
    let [first, second, third] = [reserve(8), reserve(3), reserve(8)];
    scene
        .space
        .memory()
        .at(second as u32, 3)
        .unwrap()
        .write(b"abc");
    scene.call("ringbuf_submit", [second, 0, 0, 0, 0]).unwrap();
    assert!(consume(&scene).is_empty());
    scene.call("ringbuf_discard", [first, 0, 0, 0, 0]).unwrap();
    assert_eq!(consume(&scene), [b"abc"]);
    scene.call("ringbuf_submit", [third, 0, 0, 0, 0]).unwrap();
    assert_eq!(consume(&scene), [[0; 8]]);
}

#[test]
fn a_full_ring_refuses_and_recovers() {
    let scene = Scene::new(MapType::Ringbuf, PAGE);
    let reserve = |size| {
        scene
            .call("ringbuf_reserve", [scene.handle, size, 0, 0, 0])
            .unwrap()
    };
    assert_eq!(reserve(u64::from(PAGE)), 0, "larger than the ring");
    assert_eq!(reserve(u64::MAX), 0);
    let mut records = Vec::new();
    loop {
        match reserve(120) {
            0 => break,
            record => records.push(record),
        }
    }
    assert_eq!(records.len() as u32, (PAGE - 1) / 128);
    let sent = scene.call("ringbuf_output", [scene.handle, guest_ptr(0), 120, 0, 0]);
    assert_eq!(sent, Ok(Errno::EAGAIN.as_r0()));
    for record in &records {
        scene.call("ringbuf_submit", [*record, 0, 0, 0, 0]).unwrap();
    }
    assert_eq!(consume(&scene).len(), records.len());
    assert_ne!(reserve(120), 0);
}

#[test]
fn a_waiting_reader_is_woken_and_a_busy_one_is_not() {
    let scene = Scene::new(MapType::Ringbuf, PAGE);
    scene
        .space
        .map(0)
        .unwrap()
        .as_ringbuf()
        .unwrap()
        .set_waker(77);
    let send = |flags| scene.call("ringbuf_output", [scene.handle, guest_ptr(0), 8, flags, 0]);
    let mut expected = 0;
    for (flags, read_before, wakes) in [
        (0, true, 1),  // the reader waits for this one
        (0, false, 0), // it has not read the last
        (2, false, 1), // forced
        (1, true, 0),  // not wanted
        (0, true, 1),
    ] {
        if read_before {
            consume(&scene);
        }
        assert_eq!(send(flags), Ok(0));
        expected += wakes;
        assert_eq!(scene.host.woken.get(), expected);
    }
    assert_eq!(send(4), Ok(Errno::EINVAL.as_r0()));
}

#[test]
fn a_reader_that_waits_before_a_discarded_end_is_woken() {
    let scene = Scene::new(MapType::Ringbuf, PAGE);
    let ring = scene.space.map(0).unwrap().as_ringbuf().unwrap();
    ring.set_waker(77);
    // Of 24 bytes each: the end of the page falls into one.
    for sent in 1..=400 {
        let result = scene.call("ringbuf_output", [scene.handle, guest_ptr(0), 16, 0, 0]);
        assert_eq!((result, scene.host.woken.get()), (Ok(0), sent));
        consume(&scene);
    }
}

#[test]
fn only_records_can_be_submitted() {
    let scene = Scene::new(MapType::Ringbuf, PAGE);
    let ring = scene.space.map(0).unwrap().as_ringbuf().unwrap();
    let data = ring.pages() + 2 * PAGE;
    for bad in [
        0,
        1,
        guest_ptr(0),
        guest_ptr(data),
        guest_ptr(data + 12),
        guest_ptr(data + PAGE),
    ] {
        let submitted = scene.call("ringbuf_submit", [bad, 0, 0, 0, 0]);
        assert_eq!(submitted, Err(Trap::BadPointer), "{bad:#x}");
    }
    let wrong = scene.call("perf_event_output", [0, scene.handle, 0, guest_ptr(0), 8]);
    assert_eq!(wrong, Err(Trap::BadMap));
}

#[test]
fn a_guest_that_scribbles_over_its_ring_harms_only_its_reader() {
    let scene = Scene::new(MapType::Ringbuf, PAGE);
    let ring = scene.space.map(0).unwrap().as_ringbuf().unwrap();
    let whole = scene
        .space
        .memory()
        .at(ring.pages(), u64::from(3 * PAGE))
        .unwrap();
    for fill in [0x00, 0xff, 0x7f, 0x80] {
        whole.write(&vec![fill; 3 * PAGE as usize]);
        for size in [0, 8, 100, 5_000] {
            let record = scene
                .call("ringbuf_reserve", [scene.handle, size, 0, 0, 0])
                .unwrap();
            if record != 0 {
                assert!(ring.owns(record as u32));
                scene.call("ringbuf_submit", [record, 0, 0, 0, 0]).unwrap();
            }
        }
    }
}

/// libbpf's loop over a perf ring: (type, payload) of every record.
fn consume_perf(memory: &GuestMemory, size: u32) -> Vec<(u32, Vec<u8>)> {
    let byte = |at: u64| {
        let at = PAGE + (at & u64::from(size - 1)) as u32;
        memory.at(at, 1).unwrap().word_at(0) as u8
    };
    let mut tail = word(memory, 1032);
    let mut records = Vec::new();
    while tail < word(memory, 1024) {
        let header: Vec<u8> = (0..8).map(|i| byte(tail + i)).collect();
        let kind = u32::from_ne_bytes(*header.first_chunk().unwrap());
        let length = u64::from(u16::from_ne_bytes([header[6], header[7]]));
        records.push((kind, (8..length).map(|i| byte(tail + i)).collect()));
        tail += length;
        set(memory, 1032, tail);
    }
    records
}

struct PerfScene {
    scene: Scene,
    ring: &'static PerfRing,
    shared: GuestMemory,
}

impl PerfScene {
    fn new(pages: u32) -> Self {
        let scene = Scene::new(MapType::PerfEventArray, 1);
        let words = vec![0u64; ((pages + 1) * PAGE / 8) as usize].into_boxed_slice();
        let base = NonNull::new(Box::into_raw(words).cast::<u8>()).unwrap();
        // SAFETY: freshly leaked; both views only touch it atomically.
        let view = || unsafe { GuestMemory::new(base, (pages + 1) * PAGE) };
        let ring: &PerfRing = Box::leak(Box::new(PerfRing::new(view(), 0, 77).unwrap()));
        let rings = scene.space.map(0).unwrap().as_perf_event_array().unwrap();
        // SAFETY: the ring is leaked.
        let put = || unsafe { rings.put(0, NonNull::from(ring)) };
        assert_eq!(put(), Ok(()));
        assert_eq!(put(), Err(Errno::EBUSY));
        Self {
            ring,
            shared: view(),
            scene,
        }
    }

    fn send(&self, bytes: &[u8]) -> u64 {
        self.scene
            .space
            .memory()
            .at(64, bytes.len() as u64)
            .unwrap()
            .write(bytes);
        let args = [
            0,
            self.scene.handle,
            0xffff_ffff,
            guest_ptr(64),
            bytes.len() as u64,
        ];
        self.scene.call("perf_event_output", args).unwrap()
    }
}

#[test]
fn samples_come_out_padded_as_the_kernel_pads_them() {
    let perf = PerfScene::new(1);
    for round in 0..2_000u64 {
        let bytes: Vec<u8> = (0..round * 31 % 300).map(|at| (at + round) as u8).collect();
        assert_eq!(perf.send(&bytes), 0, "round {round}");
        let records = consume_perf(&perf.shared, PAGE);
        let [(9, raw)] = &records[..] else {
            panic!("round {round}: {records:?}")
        };
        let told = u32::from_ne_bytes(*raw.first_chunk().unwrap()) as usize;
        assert_eq!(told, (bytes.len() + 4).next_multiple_of(8) - 4);
        assert_eq!(raw.len(), told + 4);
        assert_eq!(raw[4..][..bytes.len()], bytes, "round {round}");
    }
    assert_eq!(
        perf.scene.host.woken.get(),
        2_000,
        "the reader had always read all"
    );
}

#[test]
fn what_does_not_fit_is_counted_and_reported_once() {
    let perf = PerfScene::new(1);
    let (mut sent, mut lost) = (0, 0);
    for _ in 0..100 {
        match perf.send(&[7; 100]) {
            0 => sent += 1,
            errno => {
                assert_eq!(errno, Errno::ENOSPC.as_r0());
                lost += 1;
            }
        }
    }
    assert_eq!((sent, perf.ring.lost()), (4095 / 112, lost));
    assert!(perf.ring.is_readable());
    assert_eq!(consume_perf(&perf.shared, PAGE).len(), sent);
    assert!(!perf.ring.is_readable());
    assert_eq!(perf.send(&[8; 4]), 0);
    let records = consume_perf(&perf.shared, PAGE);
    assert_eq!(records[0].0, 2);
    assert_eq!(records[0].1[8..], lost.to_ne_bytes());
    assert_eq!((records.len(), records[1].0), (2, 9));
    assert_eq!(perf.ring.lost(), 0);
}

#[test]
fn outputs_to_no_ring_are_refused_as_the_kernel_refuses_them() {
    let perf = PerfScene::new(1);
    let output = |flags| {
        perf.scene
            .call("perf_event_output", [0, perf.scene.handle, flags, 0, 0])
    };
    assert_eq!(output(1 << 40), Ok(Errno::EINVAL.as_r0()));
    assert_eq!(output(1), Ok(Errno::E2BIG.as_r0()));
    let rings = perf
        .scene
        .space
        .map(0)
        .unwrap()
        .as_perf_event_array()
        .unwrap();
    let other = PerfScene::new(1);
    rings.remove(0, NonNull::from(other.ring));
    assert_eq!(output(0), Ok(0), "another one's stays");
    rings.remove(0, NonNull::from(perf.ring));
    assert_eq!(output(0), Ok(Errno::ENOENT.as_r0()));
    // SAFETY: the ring is leaked.
    let beyond = unsafe { rings.put(1, NonNull::from(perf.ring)) };
    assert_eq!(beyond, Err(Errno::E2BIG));
}
