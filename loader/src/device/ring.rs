//! Events of a map, read from the rings they lie in: the layouts that libbpf's `perf_buffer` and
//! `ring_buffer` read (`struct perf_event_mmap_page`; `kernel/bpf/ringbuf.c`).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::Duration;

use abi::uapi::{self, RingOpen};

use super::ioctl::{Log, call};
use super::mapping::{Mapping, PAGE};
use super::{Error, Map, Object, Result, owned};

/// What a reader finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// An event. Of a perf event array it is padded so that its length plus 4 is a multiple of 8.
    Event(&'a [u8]),
    /// So many events of this CPU did not fit.
    Lost(u64),
}

/// The rings of a perf event array, one a CPU.
#[derive(Debug)]
pub struct PerfBuffer {
    rings: Vec<PerfRing>,
    epoll: Epoll,
}

impl PerfBuffer {
    /// Opens a ring of `pages` pages of data, a power of two, for each of `cpus` CPUs.
    pub fn open(map: &Map, cpus: u32, pages: u32) -> Result<Self> {
        let mut buffer = PerfBuffer {
            rings: Vec::new(),
            epoll: Epoll::new(&map.name())?,
        };
        for cpu in 0..cpus {
            let ring = PerfRing::open(map, cpu, pages)?;
            buffer.epoll.add(ring.fd.as_fd(), cpu, &map.name())?;
            buffer.rings.push(ring);
        }
        Ok(buffer)
    }

    /// Waits until there is something to read, and gives it to `each` with its CPU. How many records.
    pub fn poll(&mut self, wait: Duration, mut each: impl FnMut(u32, Record<'_>)) -> Result<usize> {
        let mut count = 0;
        for cpu in self.epoll.wait(wait)? {
            if let Some(ring) = self.rings.get_mut(cpu as usize) {
                count += ring.read(|record| each(cpu, record));
            }
        }
        Ok(count)
    }

    /// Reads what there is, without waiting.
    pub fn read(&mut self, mut each: impl FnMut(u32, Record<'_>)) -> usize {
        let rings = (0..).zip(&mut self.rings);
        rings
            .map(|(cpu, ring)| ring.read(|record| each(cpu, record)))
            .sum()
    }
}

impl AsFd for PerfBuffer {
    /// Readable while one of the rings is.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }
}

/// A ring of a perf event array. It is in the map until it is dropped.
#[derive(Debug)]
pub struct PerfRing {
    fd: OwnedFd,
    memory: Mapping,
    /// Bytes of data, a power of two.
    size: usize,
    record: Vec<u8>,
}

/// Offsets of `data_head` and `data_tail` in the first page.
const DATA_HEAD: usize = 1024;
const DATA_TAIL: usize = 1032;
/// Bytes of `struct perf_event_header`: type, misc, size.
const HEADER: usize = 8;
/// `PERF_RECORD_LOST`: id, count.
const RECORD_LOST: u32 = 2;
/// `PERF_RECORD_SAMPLE`: length, bytes.
const RECORD_SAMPLE: u32 = 9;

impl PerfRing {
    /// Opens the ring for `cpu`, at that index of `map`.
    pub fn open(map: &Map, cpu: u32, pages: u32) -> Result<Self> {
        PerfRing::open_at(map, cpu, cpu, pages)
    }

    /// Opens a ring for `cpu` at another index.
    pub fn open_at(map: &Map, index: u32, cpu: u32, pages: u32) -> Result<Self> {
        let mut log = Log::new();
        let mut arg = RingOpen {
            index,
            cpu,
            pages,
            reserved: 0,
            log: log.address(),
            log_size: log.size(),
        };
        let about = format!("ring of {} for CPU {cpu}", map.name());
        let fd = call(&map.fd(), "RING_OPEN", uapi::RING_OPEN, &mut arg, &about);
        let fd = owned(log.explain(fd)?);
        let size = pages as usize * PAGE;
        let memory = Mapping::new(fd.as_fd(), 0, PAGE + size, true);
        Ok(PerfRing {
            fd,
            memory: memory.map_err(|e| failed("mmap", &about, e))?,
            size,
            record: Vec::new(),
        })
    }

    /// Gives every record there is to `each`. How many.
    pub fn read(&mut self, mut each: impl FnMut(Record<'_>)) -> usize {
        let mut tail = self.memory.word(DATA_TAIL).load(Acquire);
        let head = self.memory.word(DATA_HEAD).load(Acquire);
        let mut count = 0;
        while tail != head {
            let length = self.copy(tail, head);
            if length < HEADER {
                // No writer makes such a record: what is left makes no sense.
                tail = head;
                break;
            }
            count += usize::from(self.parse(&mut each));
            tail += length as u64;
        }
        self.memory.word(DATA_TAIL).store(tail, Release);
        count
    }

    /// Copies the record at position `at`, which ends at `end` at the latest; its length.
    fn copy(&mut self, at: u64, end: u64) -> usize {
        let offset = (at & (self.size as u64 - 1)) as usize;
        let header = self.memory.word(PAGE + offset).load(Acquire);
        let most = end.wrapping_sub(at).min(self.size as u64) as usize;
        let length = ((header >> 48) as usize).min(most);
        let first = length.min(self.size - offset);
        self.record.clear();
        self.memory.copy(PAGE + offset, first, &mut self.record);
        self.memory.copy(PAGE, length - first, &mut self.record);
        length
    }

    /// Gives the copied record to `each`; whether it is one of those known here.
    fn parse(&self, each: &mut impl FnMut(Record<'_>)) -> bool {
        let (header, body) = self.record.split_at(HEADER);
        let kind = header.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes));
        let record = match (kind, body) {
            (Some(RECORD_SAMPLE), [a, b, c, d, bytes @ ..]) => {
                let length = u32::from_ne_bytes([*a, *b, *c, *d]) as usize;
                Record::Event(&bytes[..length.min(bytes.len())])
            }
            (Some(RECORD_LOST), [.., a, b, c, d, e, f, g, h]) => {
                Record::Lost(u64::from_ne_bytes([*a, *b, *c, *d, *e, *f, *g, *h]))
            }
            _ => return false,
        };
        each(record);
        true
    }
}

/// The records of a ring buffer map.
#[derive(Debug)]
pub struct RingBuffer {
    consumer: Mapping,
    producer: Mapping,
    epoll: Epoll,
    /// Bytes of data, a power of two.
    size: usize,
    record: Vec<u8>,
}

/// `BPF_RINGBUF_BUSY_BIT`, `BPF_RINGBUF_DISCARD_BIT`.
const BUSY: u32 = 1 << 31;
const DISCARD: u32 = 1 << 30;

impl RingBuffer {
    /// Opens the ring of `map`.
    pub fn open(map: &Map) -> Result<Self> {
        let name = map.name();
        let size = map.info().max_entries as usize;
        let mapping = |from, size, writable| {
            Mapping::new(map.fd(), from, size, writable).map_err(|e| failed("mmap", &name, e))
        };
        let epoll = Epoll::new(&name)?;
        epoll.add(map.fd(), 0, &name)?;
        Ok(RingBuffer {
            consumer: mapping(0, PAGE, true)?,
            // The data is there twice in a row, so that every record is in one piece.
            producer: mapping(PAGE, PAGE + 2 * size, false)?,
            epoll,
            size,
            record: Vec::new(),
        })
    }

    /// Waits until there is something to read, and gives it to `each`. How many records.
    pub fn poll(&mut self, wait: Duration, each: impl FnMut(&[u8])) -> Result<usize> {
        Ok(match self.epoll.wait(wait)?.is_empty() {
            true => 0,
            false => self.read(each),
        })
    }

    /// Reads what there is, without waiting. What comes meanwhile is for the next time: writers may be as fast as this reader.
    pub fn read(&mut self, mut each: impl FnMut(&[u8])) -> usize {
        let mut position = self.consumer.word(0).load(Acquire);
        let end = self.producer.word(0).load(Acquire);
        let mut count = 0;
        while position < end {
            let at = PAGE + (position & (self.size as u64 - 1)) as usize;
            let header = self.producer.half(at).load(Acquire);
            if header & BUSY != 0 {
                break;
            }
            // No writer makes a longer one; a hostile one must not lead out of the mapping.
            let length = ((header & !DISCARD) as usize).min(self.size - HEADER);
            if header & DISCARD == 0 {
                self.record.clear();
                self.producer.copy(at + HEADER, length, &mut self.record);
                each(&self.record);
                count += 1;
            }
            position += (length + HEADER).next_multiple_of(8) as u64;
            self.consumer.word(0).store(position, Release);
        }
        count
    }
}

impl AsFd for RingBuffer {
    /// Readable while the ring is.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }
}

/// Waits for several descriptors.
#[derive(Debug)]
struct Epoll(OwnedFd);

/// Descriptors that one wait reports; others come with the next.
const READY: usize = 64;

impl Epoll {
    fn new(about: &str) -> Result<Self> {
        // SAFETY: no memory is handed over.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(failed("epoll_create1", about, io::Error::last_os_error()));
        }
        // SAFETY: just made, so nobody else owns it.
        Ok(Epoll(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    fn add(&self, fd: BorrowedFd<'_>, number: u32, about: &str) -> Result<()> {
        let mut event = libc::epoll_event {
            events: libc::EPOLLIN as u32,
            u64: number.into(),
        };
        let (epoll, fd) = (self.0.as_raw_fd(), fd.as_raw_fd());
        // SAFETY: the event is read during the call only.
        let result = unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &mut event) };
        match result {
            0 => Ok(()),
            _ => Err(failed("epoll_ctl", about, io::Error::last_os_error())),
        }
    }

    /// The numbers of those that are ready. A signal ends the wait, too.
    fn wait(&self, wait: Duration) -> Result<Vec<u32>> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; READY];
        let wait = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: there is room for as many events as are asked for.
        let ready = unsafe {
            libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), READY as i32, wait)
        };
        if ready < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::Interrupted => Ok(Vec::new()),
                _ => Err(failed("epoll_wait", "events", error)),
            };
        }
        let ready = events.iter().take(ready as usize);
        Ok(ready.map(|event| event.u64 as u32).collect())
    }
}

fn failed(call: &'static str, about: &str, source: io::Error) -> Error {
    Error::Request {
        ioctl: call,
        about: about.to_owned(),
        source,
        log: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A mapping of `words`, with a descriptor of its own.
    fn mapping(words: &[(usize, u64)], size: usize) -> (OwnedFd, Mapping) {
        // SAFETY: the name is a constant NUL-terminated string.
        let fd = owned(unsafe { libc::memfd_create(c"ring".as_ptr(), 0) });
        // SAFETY: no memory is handed over.
        let sized = unsafe { libc::ftruncate(fd.as_raw_fd(), size as libc::off_t) };
        assert_eq!(sized, 0);
        let memory = Mapping::new(fd.as_fd(), 0, size, true).unwrap();
        for (at, word) in words {
            memory.word(*at).store(*word, Release);
        }
        (fd, memory)
    }

    fn read_perf(words: &[(usize, u64)]) -> Vec<String> {
        let (fd, memory) = mapping(words, 2 * PAGE);
        let mut ring = PerfRing {
            fd,
            memory,
            size: PAGE,
            record: Vec::new(),
        };
        let mut seen = Vec::new();
        ring.read(|record| seen.push(format!("{record:?}")));
        assert_eq!(ring.read(|_| ()), 0, "all is read");
        seen
    }

    fn header(kind: u32, size: u64) -> u64 {
        u64::from(kind) | size << 48
    }

    #[test]
    fn records_go_around_the_end() {
        let at = PAGE as u64 - 8;
        let seen = read_perf(&[
            (DATA_TAIL, at),
            (DATA_HEAD, at + 16 + 24),
            (PAGE + PAGE - 8, header(RECORD_SAMPLE, 16)),
            (PAGE, 0x0403_0201_0000_0004),
            (PAGE + 8, header(RECORD_LOST, 24)),
            (PAGE + 24, 7),
        ]);
        assert_eq!(seen, ["Event([1, 2, 3, 4])", "Lost(7)"]);
    }

    #[test]
    fn records_without_sense_end_the_reading() {
        for record in [0, header(RECORD_SAMPLE, 4), header(77, 0xffff), u64::MAX] {
            let seen = read_perf(&[(DATA_HEAD, 64), (PAGE, record)]);
            assert!(seen.is_empty(), "{seen:?}");
        }
        // Longer than it is.
        let seen = read_perf(&[
            (DATA_HEAD, 16),
            (PAGE, header(RECORD_SAMPLE, 0xffff)),
            (PAGE + 8, u64::MAX),
        ]);
        assert_eq!(seen, ["Event([255, 255, 255, 255])"]);
    }
}
