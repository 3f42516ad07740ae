//! What maps send.

use std::cell::RefCell;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Result, bail};
use libbpf_rs::{
    Map, MapCore, MapType, PerfBuffer, PerfBufferBuilder, RingBuffer, RingBufferBuilder,
};

use super::super::{PERF_PAGES, Sent};

/// Keeps what a map sends.
pub(super) struct Listener {
    rings: Rings,
    sent: Rc<RefCell<Sent>>,
}

enum Rings {
    Perf(PerfBuffer<'static>),
    Ring(RingBuffer<'static>),
}

impl Listener {
    pub(super) fn new(map: &Map<'_>) -> Result<Self> {
        let sent = Rc::new(RefCell::new(Sent::default()));
        let (events, lost) = (Rc::clone(&sent), Rc::clone(&sent));
        let rings = match map.map_type() {
            MapType::PerfEventArray => Rings::Perf(
                PerfBufferBuilder::new(map)
                    .pages(PERF_PAGES as usize)
                    .sample_cb(move |cpu, event: &[u8]| {
                        let event = (cpu as u32, event.to_vec());
                        events.borrow_mut().events.push(event);
                    })
                    .lost_cb(move |_, count| lost.borrow_mut().lost += count)
                    .build()?,
            ),
            MapType::RingBuf => {
                let mut builder = RingBufferBuilder::new();
                builder.add(map, move |event| {
                    events.borrow_mut().events.push((0, event.to_vec()));
                    0
                })?;
                Rings::Ring(builder.build()?)
            }
            other => bail!("{}: {other:?} sends no events", map.name().display()),
        };
        Ok(Listener { rings, sent })
    }

    pub(super) fn take(&self) -> Result<Sent> {
        match &self.rings {
            Rings::Perf(perf) => perf.consume()?,
            Rings::Ring(ring) => ring.poll(Duration::ZERO)?,
        }
        Ok(self.sent.take())
    }
}

impl AsFd for Listener {
    /// libbpf's own epoll instance over the rings.
    fn as_fd(&self) -> BorrowedFd<'_> {
        let fd = match &self.rings {
            Rings::Perf(perf) => perf.epoll_fd(),
            Rings::Ring(ring) => ring.epoll_fd(),
        };
        // SAFETY: libbpf keeps it open until the buffer is freed, which this value owns.
        unsafe { BorrowedFd::borrow_raw(fd) }
    }
}
